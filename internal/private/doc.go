// SPDX-License-Identifier: LGPL-2.1-or-later

// Package private opens this client's own files so that no other user of the machine decides where
// they are or what is in them.
//
// "Others" are all users but root and the one that this process runs as. Others control a directory
// when it is theirs, when all may write there, or when a group may that is neither root's (0) nor the
// one this process runs as: there they can lay links and make files in advance, the sticky bit or not.
// Access control lists are not looked at.
//
//   - [OpenFile] writes a file: log, report. In a directory that others control the last component of
//     the path must be no link, and a file that exists must be a regular one with one name that belongs
//     to this user or to root. Elsewhere links are followed: there only root or this user can have made
//     them. The directories above are taken as they are.
//   - [TempDir] makes a directory for temporary files, of mode 0700, below os.TempDir or another one. That, and
//     every directory above it, must be root's or this user's, and have the sticky bit where others may
//     write. Else what is in it could be exchanged. In a user namespace, as containers have them, one of a
//     user without a number there will do: it is the host's root's, as a rule.
//   - [ReadSecret] reads a file that holds a password or a key. It must be this user's or root's, others
//     must not be able to read or write it, and its group must not be able to write it.
//
// Errors say what is wrong and what to type; they do not begin with "cannot", and name no option.
package private
