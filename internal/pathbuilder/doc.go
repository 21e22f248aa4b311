// SPDX-License-Identifier: LGPL-2.1-or-later

// Package pathbuilder cuts a directory tree into the entries that are spread
// over the rsync runs of a session.
//
// # Entries
//
// An [Entry] names one directory. A recursive entry stands for the directory
// and everything below it; any other entry stands for the directory's own
// content alone: its files, its links, and its subdirectories as empty ones.
// On ZooKeeper it is "1_<path>" or "0_<path>", split at the first underscore.
// Paths are absolute and are the file system's bytes, which need not be UTF-8
// and may hold a newline.
//
// # The walk
//
// [Walk] hands out the entries of one tree, so that together they cover it
// once. A directory at exactly the wanted depth below the base is recursive,
// the ones above are not; with depth 0 the base itself is recursive.
//
// Order is fixed: depth first, a directory before what is below it, the
// children of one directory sorted by the bytes of their names. Two walks over
// the same tree therefore give the same list, and the last entry handed out
// says how far a walk got. Paths have to be compared component by component:
// "a/z" comes before "a-b", although "/" sorts after "-".
//
// Directories are read ahead in parallel, nearest first, into a bounded
// buffer; emit is called by the caller's goroutine, one entry at a time.
// Emitting slowly stops the reading ahead. No goroutine outlives Walk.
//
// # What is left out
//
// Symbolic links to directories are no entries: the entry of the directory
// that holds the link copies the link. The base may be a link.
//
// A directory is excluded, with everything below it, when the pattern is found
// anywhere in its full path and, if a user is given, that user owns it. An
// excluded base gives its own entry and nothing else, as in the original.
//
// # Subpaths
//
// A subpath "<depth>_<path>" makes the walk go <depth> levels below that
// directory instead; path is relative to the base, or absolute and below it.
// As in the original a subpath must be a directory that the walk reaches with
// the base depth and the subpaths before it, and must end at least as deep as
// those. The depth at a directory is the one of the last subpath at or above
// it, which by that rule is the deepest. All subpaths are checked before
// anything is emitted.
//
// # Trouble
//
// Nothing is lost silently. A directory whose content cannot be read is logged
// as an error and emitted as recursive, so that whoever runs it takes what is
// below or fails visibly. A directory that vanished between its parent's
// reading and its own, or is no longer a directory, is logged as a warning and
// not emitted. A base that is not a readable directory ends the walk with an
// error.
package pathbuilder
