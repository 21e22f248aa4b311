// SPDX-License-Identifier: LGPL-2.1-or-later

// Package slowfs makes a local directory feel like a large shared file system. It is a FUSE file
// system that passes everything through to the directory, and adds a delay to each operation for
// which a client of such a file system has to ask its metadata server. It is for benchmarks and
// tests.
//
// Delayed are lookup, getattr, opendir, open and create. Each waits for itself, so operations that
// are under way together wait together. Everything else, reading and writing above all, costs what
// the directory and FUSE cost. The kernel keeps names and attributes for a time (1 s by default),
// absent names not at all. A directory is read without the attributes of what is in it (no
// readdirplus); types come with the names.
//
// # What is passed through
//
// All that rsync -aHAX run by root does at either end is passed through, as far as the directory
// below can do it: contents, types, devices, modes, owners, times to the nanosecond, symbolic and
// hard links, inode numbers, extended attributes. Not passed on are birth times, locks (they work
// on this machine), and, for as long as the kernel keeps what it knows, changes made behind the
// file system's back. What is created through it loses the permissions that the umask of the
// serving process takes. Absolute paths below the directory must be shorter than the system's limit
// of 4096 bytes.
//
// # Mounting
//
// Root mounts directly; anybody else needs fusermount3 (package fuse3). Other users can enter only
// root's mounts. [FS.Unmount] always unmounts: it takes the file system from processes that still
// use it, and they get errors. A process that is killed cannot unmount, so call [Isolate] first:
// the kernel then does it.
//
// Errors begin with "cannot" and wrap the system's own error.
package slowfs
