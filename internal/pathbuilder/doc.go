// SPDX-License-Identifier: LGPL-2.1-or-later

// Package pathbuilder cuts a directory tree into the entries that are spread over the rsync runs of
// a session.
//
// # Entries
//
// An [Entry] names one directory. A recursive entry stands for the directory and everything below
// it. A shallow one stands for the directory's own content alone: its files, its links, and its
// subdirectories as empty ones. On ZooKeeper an entry is "1_<path>" or "0_<path>", split at the
// first underscore. Paths are absolute. They are the file system's bytes, which need not be UTF-8
// and may hold a newline; [Printable] makes a line of a log of them.
//
// # The walk
//
// [Walk] hands out the entries of one tree, so that together they cover it once. A directory at
// exactly the wanted depth below the base is recursive, those above it are shallow; with depth 0
// the base itself is recursive.
//
// The order is fixed: depth first, a directory before what is below it, the children of one
// directory sorted by the bytes of their names. So two walks over the same tree give the same list,
// and the last entry handed out says how far a walk got. Paths have to be compared component by
// component: "a/z" comes before "a-b", although "/" sorts after "-".
//
// With Options.After it begins behind such an entry. Directories before it are not read again, but for
// those above it.
//
// Directories are read ahead in parallel, nearest first, into a bounded buffer. emit is called in
// the caller's goroutine, for one entry at a time, and an emit that is slow stops the reading
// ahead. No goroutine outlives Walk.
//
// Memory does not grow with the tree: at most 65,536 directories and children are read ahead,
// besides one directory for each walker and for each level that the walk is at. The subdirectories
// of one directory have to be sorted, so all of them are held, about 85 bytes each. Files are not
// held.
//
// A directory is opened, read to its end and closed: four system calls, more where it has thousands
// of names, and one for its stamp. A recursive entry costs nothing, or one call for its stamp; many
// of these are made at once. Walk looks at what is in a directory only where the file system does
// not tell which names are directories, for the owners of what a pattern excludes, and for links
// where the log says which were left out (slog.LevelInfo).
//
// # What is left out
//
// A symbolic link to a directory is no entry: the entry of the directory that holds the link copies
// the link. The base may be a link.
//
// A directory is excluded, with everything below it, when the pattern is found anywhere in its full
// path and, if a user is given, that user owns it. An excluded base gives its own entry and nothing
// else, as in the original. Options.LeaveOut and Options.OneFileSystem exclude further directories,
// as filter rules of rsync's and its --one-file-system do. Trees of one file system are for all that
// reads below an entry: [Tree.OneFileSystem]. As for rsync, a file system is what has a device number
// of its own; a directory that is mounted a second time is on the same.
//
// rsync knows nothing of this. A shallow run of a directory would make an excluded child of it as
// an empty directory, or delete it at the destination: [Excluder.Children] names those children. A
// recursive run sends everything below its directory, unless [Excluder.Below] looks up the excluded
// directories there. [FilterRule] makes an rsync pattern of such a path, anchored at the base,
// which is the root of a transfer whose list names "./a/b". [ProtectRule] keeps what only the
// destination has, for patterns that [ProtectName] understands; they say nothing of owners.
//
// # Subpaths
//
// A subpath "<depth>_<path>" makes the walk go <depth> levels below that directory instead. The
// path is relative to the base, or absolute and below it. As in the original a subpath must be a
// directory that the walk reaches with the base's depth and the subpaths before it, and must end at
// least as deep as those. The depth at a directory is that of the last subpath at or above it,
// which by this rule is the deepest. All subpaths are checked before anything is emitted.
//
// # Splitting
//
// An entry that turns out to be too large can be cut when it is already queued. [Split] replaces a
// recursive entry by the shallow one of its directory and the recursive ones of its child
// directories. Exclude rules then apply to those children too, so an excluded base is left with its
// own entry alone. Options.Deeper makes a walk give what such splits have left, so that a later
// walk agrees with an earlier one and with what was split from it: the stamps of the pieces are
// those of such a walk.
//
// Split follows no link below the base. Walk does follow a link that has taken the place of a
// directory between the base and the directory that it reads.
//
// [Ranges] cuts the names of one directory that are no directories, which Found.Names counts. All
// ranges together hold every name that the directory has or will have, each name in one range; only
// their sizes depend on what was there. From and To are bytes, which need not be UTF-8, and a JSON
// string would change them. [Tree.NamesIn] lists what a range holds at that moment.
//
// [AutoDepth] looks for a depth to begin with.
//
// # Trouble
//
// Nothing is lost silently. A directory whose content cannot be read is logged as an error and
// emitted as recursive, so that whoever runs it takes what is below or fails visibly. A directory
// that vanished after its parent was read, or is no directory any more, is logged as a warning and
// not emitted. A base that is not a readable directory ends the walk with an error.
//
// # Stamps
//
// [WalkStamped] gives each entry a stamp, a hash of its directory's path and ctime, and the directory's
// inode and ctime, all taken before its content is read. Stamps of a later walk tell what has changed since an
// earlier one. A stamp that was not there before belongs to a directory that is new, moved or
// replaced, or in which names were added, removed or renamed, be it while the earlier walk was
// reading it. Where only the inode differs it has been replaced by one of the same time, or its file
// system gives out new inodes whenever it likes. Stamps need no seed, so those of two processes can be
// compared.
//
// A stamp says nothing of the content of files, nor of what happens below the subdirectories of a
// recursive entry.
//
// A directory may change once more in the same tick of the clock that gives the ctimes, and so
// without a new stamp. Whoever works on an entry must not begin before [Settle] has passed since
// its emission: then that change is part of what is read. The clock need not be this machine's.
//
// That is not enough where a ctime is a whole number of milliseconds, as on file systems that keep
// whole seconds. If such a ctime may still be the file system's present time the entry is Young: it
// counts as changing, whatever its stamp. The local clock decides. On file systems that are known
// to use it (ext4, xfs, btrfs, f2fs, zfs, tmpfs, overlay) a ctime within 2 s of it is young; on all
// others a minute more, as a file server's clock may be off, and a server does not tell its time
// without being written to. What cannot be looked at has a stamp that says just this.
//
// Not seen are changes on a server with coarse times whose clock is off by more than that, changes
// after a clock was set back during the walk, and changes that a client has not heard of because it
// caches attributes (NFS: up to a minute) and shows an older state of a directory, names and ctime
// alike.
//
// # Checking again
//
// Between the walk and a run a directory may have become something else. A [Tree] resolves the base
// once and follows no link at all from then on, neither in the base's path nor below it. File
// systems mounted below are entered. [Tree.Check] tells whether a directory is still there. Names
// may hold any byte, and paths may be longer than a system call takes. Nothing stays open.
//
// [Tree.Fixed] tells whether somebody else could swap a component of a path for a link: its directory has to
// be root's or one's own, and nobody else may write in it, or only under the sticky bit beside what is root's or
// one's own. It knows that of file systems of which a mode tells it: those of this machine, and Lustre.
//
// A [Place] notes what the base is: its mount, the id of its file system, its inode, some names in it.
// The mount is known by its unique id on Linux 6.8 and later, before that by its id, device, place, type,
// source and file system. On another mount the base is what it was if the file system is the same (type and
// id; the source where it has no id, or one that is but its device's number) and so is the inode, unless it
// has become empty. With another inode it has to have one of the names. So it is on the same mount, where
// the directory may have been exchanged.
//
// [Mounts] notes what is mounted below the base when it is made, and tells later whether a directory
// still lies on the same mount, or on one of the same directory of the same file system, and what
// below it does not. Where rsync may delete, what is mounted on demand (autofs, exports nested in an
// NFS export) has to be mounted when the process starts: else it counts as new. [Tree.Sign] and
// [Tree.Seems] compare directories of two nodes, [Tree.Position] finds where a base stands on its
// machine, behind links and bind mounts.
//
// # Hard links
//
// rsync keeps the names of one file together only within one run. [ScanLinks] finds the names in an
// entry of files that have several, and [LinkGroups] those files of which some names are not in the
// entry. Device and inode tell files apart. A file that gets a new name during the scan may come
// out with that name alone; the directory of the name then has a new stamp.
//
// # Attributes
//
// [ScanAttributes] finds access control lists and extended attributes, so that somebody can tell
// that they are not sent. One system call for each of the first names, then for one in eight, of which the kernel of most file systems knows the
// answer when it has just been asked for the inode: twice as much as for its mode on ext4.
//
// # Looking ahead
//
// rsync asks for one name after the other. On a large shared file system each answer takes a while,
// and most of a run is waiting. A [Prefetcher] looks at the same names, many at once and a little
// earlier, and keeps nothing: the kernel then has the answers (names and attributes in its caches,
// for as long as the file system allows) when rsync asks. Contents are not read.
//
// Where the kernel has the answers already that only costs. So one that works [Prefetcher.WhereItPays] times its
// looks, and when they are quick passes the next runs over, until it tries again.
//
// It looks at the first 10,000 names of a run. By the time rsync comes to later ones the kernel has
// forgotten them again, as the rules of the file system demand (attributes on NFS: after 3 s), and
// to ask twice would only burden the server.
//
// # Errors
//
// They begin with "cannot", name the path in one line, and wrap the system's own error.
package pathbuilder
