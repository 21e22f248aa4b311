// SPDX-License-Identifier: LGPL-2.1-or-later

// Package rsyncrunner runs rsync: the client that sends paths (Sender) and those that receive them, one for
// each connection (Daemon). In a test run without files LineSender and Netcat stand in for the two: they send
// and print a line for each path. The package knows nothing of ZooKeeper.
//
// # Child processes
//
// Programs are started from an argument list, never through a shell. Each one leads a session of
// its own, and so a process group of its own. It is a session rather than a mere group because a
// program without a controlling terminal can neither ask for a password there nor be stopped for
// trying.
//
// A child is ended by a signal to its group, a grace, and SIGKILL to the group; one that was stopped is
// continued. A sender gets SIGTERM, for which rsync takes 0.4 s. What receives gets SIGUSR1, with which
// rsync's processes end each other: temporary files are removed, and deletions stop at once. At SIGTERM
// the receiving side goes on deleting until it reads or writes. When the leader has gone the rest of
// the group is killed too, before the leader is reaped, so that the group's number cannot have passed
// to somebody else; of what receives it has signal and grace first. A call returns when all that is over.
//
// The kernel kills a child whose zkrsync was killed (PR_SET_PDEATHSIG). That signal is tied to the
// thread that made the child, so the goroutine that starts a child keeps its thread until the child
// has ended: one thread for a child. The signal does not reach the second process of an rsync that
// receives, which ends with the first.
//
// A child inherits no descriptors but 0, 1 and 2 (one that receives has its log as 3), and the
// environment with these changes:
//   - LC_ALL=C, and no other LC_ variable nor LANGUAGE: statistics and error lines can be read,
//     file names in them are escaped.
//   - Every RSYNC_ variable is dropped, so that all nodes of a session run the same command
//     (RSYNC_ICONV would rename files, RSYNC_CHECKSUM_LIST could switch verification off,
//     RSYNC_PARTIAL_DIR, RSYNC_OLD_ARGS and RSYNC_PROTECT_ARGS change what an option means,
//     RSYNC_PASSWORD is for daemons that are not ours, RSYNC_CONNECT_PROG is a command that
//     runs with a host's name in it). So is every ZKRSYNC_ and ZKINITREE_ one: passwords are among them.
//   - NOTIFY_SOCKET and every WATCHDOG_ variable are dropped: with them a child could tell systemd what is for
//     zkrsync to tell.
//   - Job.Environ is added: the RSYNC_PROXY of a link.
//
// # What a sender runs
//
//	rsync --stats --numeric-ids -lptgoD --sockopts=TCP_NODELAY --from0 --files-from=-
//	      [-r] [--filter=- PATTERN ...] [--filter=RULE ...]
//	      [--delete] [--checksum] [--drop-cache] [--hard-links] [--inplace]
//	      [--filter=-p .zkrsync-partial/ --partial-dir=.zkrsync-partial]
//	      [--acls] [--xattrs] [--one-file-system] [--usermap=MAP] [--groupmap=MAP]
//	      [--timeout=N] [--verbose] [-n] [--KEY[=VALUE] ...] [--no-inc-recursive] [-n --checksum]
//	      [--max-delete=N] [--out-format=... --8-bit-output --no-itemize-changes] -- BASE/ URL
//
// The list is written to rsync's standard input. Its entries end in NUL and begin with "./", so
// that no byte of a name has a meaning: a line "#x" would be a comment, "a\nb" two names. Standard
// input is better than a file because nothing stays behind after a kill, a full /tmp does not
// matter, and rsync 3.5 refuses list files below links that somebody else owns.
//
// rsync 3.5.0 goes from BASE to every name of a list, and to every name below it, component by component, and
// follows none that another user has made a link: three times a file, and most of what an unchanged tree
// costs. So where Job.Fixed says that nobody else can swap a component, they are arguments instead,
//
//	rsync --stats ... --from0 --relative --dirs [-r] ... -- ./a ./b URL
//
// in Job.Dir. They mean the same; but rsync opens each by its absolute path, follows links in that, and from
// there on goes without. It remains a list where that would be too long, where the command line has no room,
// and for a run that deletes without mounts of its own (see below).
//
// The "--" keeps an option of the user's that lacks its value ("exclude") from taking BASE for it:
// rsync would then list the destination and report success.
//
// With HardLinks the whole list is made first (--no-inc-recursive). Otherwise rsync 3.5.0 hangs,
// and no --timeout ends it, when it cannot make the first of the names that a file has, as where a
// directory that is not empty has that name.
//
// # The user's options
//
// One rsync over a tree has become many over pieces of it, and their output is read by a program.
// The table (table.go) has every option of rsync's, with what that does to it: most mean the same
// and are passed on; some are adapted, because a field of Options does the same, only some values
// will do, or only some kinds of runs get it; the others are refused with a sentence. Options.Ready
// goes by it at the start, and then has rsync itself read what is left. What the table does not know
// is refused: whoever adds a name to it has tried that many runs make of a destination what one makes
// of it (TestManyRunsAreOneRsync).
//
// Three things are adapted beyond a run. Rules of the user's do not keep rsync from sending a name
// that is in its list: Options.LeavesOut tells those who make lists. With OneFileSystem they have to
// stay on the base's file system themselves. And names of users and groups become numbers, because a
// destination's rsync, in its chroot, knows none, and says so with exit status 0.
//
// # Kinds of runs
//
// Job.Kind says what the names are, and with Options it decides on everything else:
//
//	Shallow     "./a/b/"    the directory's own entries
//	Recursive   "./a/b"     -r: everything below it
//	NameRange   "./a/b"     the file; --ignore-missing-args; --force instead of --delete
//	Listed      "./a/b"     the file, or the directory alone; --delete-missing-args --force instead of --delete, else
//	                        --ignore-missing-args
//	LinkGroups  "./a/b"     the file; no --delete; --existing if the user has rules
//	Leftovers   "./a/b/"    --existing --ignore-existing: deletions in the directory
//
// The base itself is "./" in every list. A recursive entry has no slash at its end, so that a
// directory which has been replaced by a symbolic link is sent as that link, not followed.
// Components above a listed name are followed where they are links, by rsync itself. Whoever calls
// Run checks them right before.
//
// The directories above a name get mode and time from the source in every run; nothing in them is
// deleted.
//
// A name of a file that has become a directory is sent without its content. A run of LinkGroups,
// with HardLinks and every member of a group among its names, makes links of the copies that the
// destination has, and sends no content.
//
// # Excluding
//
// Job.Filters are exclude patterns, relative to Base where they begin with a slash. What they match
// below a name is neither sent nor created empty nor deleted, whatever the kind of the run; a name
// in the list itself is sent although a pattern matches it. A directory that is to be deleted at
// the destination keeps what they match, and so itself; rsync says so and ends with 0. They are the
// first rules, and the first that matches counts, so none of the user's can undo them.
//
// Each pattern is an argument of its own. Run refuses a pattern of 4096 bytes or more, which rsync
// would leave out. When all are too much for a command line (about 2 MB with the environment) it
// returns an error that is E2BIG.
//
// # Deleting
//
// A run that deletes, from Job.Dir and where that is allowed (root), has mounts of its own: what is mounted or
// unmounted after its start it does not see, as it would take an empty mount point for an empty source.
//
// When rsync could not read a directory of the source, or could not stat something in it, it
// deletes nothing any more in that run, and never anything in that directory; the run ends with 23.
// Options that take this away, or delete what nobody asked to, are refused.
//
// Job.MaxDelete counts everything that is deleted because the source lacks it, each file of a
// directory singly, and the content of a directory that a file replaces. What is itself replaced by
// something of another type is not counted, neither by the limit nor in Result.Deleted.
//
// # Partial files
//
// With Options.Partial a receiver that ends by a signal other than SIGKILL, or because its connection has, puts what it
// has of a file into PartialDir, beside it. The next run over the file takes that for what is there, sends the
// rest, and removes it with the directory; so it does when the file has become complete in another way, but not when it
// is not sent any more. A rule before all of the user's keeps these directories from being sent, compared and deleted;
// one that lies in a directory that is deleted goes with it. A run that only compares gets the rule alone. rsync
// refuses --partial-dir with what writes into files in their place, and with --whole-file begins anew.
//
// [Running] tells what a sender is reading, DaemonConfig.Begun where something was being written when a transfer did not
// end well.
//
// # Changes
//
// Job.Changes gets each change when rsync reports it, however many there are, one after the other.
// A random word in front tells the lines from all others (--out-format=WORDcode|name). With Verbose
// they are also in Output and FileList, without the word. A Code is rsync's %i: "<f.st......" is a
// file with other size and time, "<f+++++++++" a new one, ".d...p....." a directory with another
// mode, "cL+++++++++" a link, "hf+++++++++" a hard link, "hf" one in place of an equal copy,
// "*deleting" a deletion. With DryRun or Verify they say what would be done.
//
// With Options.Verify nothing is written, and a change is a difference. rsync compares
//   - of files the content (by checksum, if the size is the same), mode, owner, group, and the time
//     in whole seconds;
//   - of directories, symbolic links and special files the same without content, of links also the
//     target;
//   - with HardLinks whether files are linked that the source has linked, but not whether the
//     destination links more;
//   - with Delete what the destination has and the source has not.
//
// Times in the same second are the same, unless the user gives modify-window:-1. The directories
// above a name are compared in each run that has a name below them, Base in every run. Options of
// the user's that make a run pass over files (update, existing, append, max-size, no-owner, ...)
// make the comparison pass over them. A destination's owners are compared only if its daemon runs
// as root. MaxDelete is left out.
//
// # What is read back
//
// The exit status is rsync's own, with one change: a client that pushes to a daemon ends with 0
// when --max-delete stopped the deletions; the runner sees the message and makes it 25. A child
// that a signal ended has Code -1 and Signal. Statistics are in the units that rsync prints:
// numbers of files, and bytes. Everything kept in memory is bounded, whatever the child prints.
//
// Result.Class says what the end means:
//
//	Fine            0
//	Vanished        24
//	Partial         23
//	DeletesStopped  25, and 24 when the limit was hit too
//	Destination     5, 10, 12, 30, 35
//	NoRoom          23, 11, 12, if the destination says so
//	Fatal           1, 2, 4
//	Failed          3, 11, 20 and all others, and signals
//
// Three things are known from rsync's error lines, which name the side they come from. A daemon that is
// stopped in the middle ends with 20, one that cannot write a file with 11, one that cannot enter its
// path with 3, and the rsync here takes that status over: it is Destination, not Failed, when the other
// side says that it ended. Of 23, and of 11 and 12, the number that the system gave at the other side
// says whose fault it is:
//   - EIO, ESTALE, ENOTCONN and other losses of a whole file system: Destination
//   - ENOSPC, EDQUOT, EROFS: NoRoom. They may be about one owner, one project or one mount below the base;
//     whether the whole base takes nothing any more the destination has to see for itself.
//   - all others, as a name too long, a file too large or busy, no permission: the path's own, Partial
//     or Failed
//
// 23 with the limit on deletions hit is Partial too; Result.DeletesStopped says the rest. And 2 or 4 is
// Partial, not Fatal, when the other side found a path in the list without the directory above it: that
// went, or became a link, while the list was made.
//
// Without Options.Timeout rsync waits for a silent destination for ever. Sender.Stall ends one in which
// nothing moves (ErrStalled); where Job.Far tells that bytes wait which the destination does not take, it
// is that which stands still, and the result is 30. DaemonConfig.Stall does the same at the other end.
//
// # What receives
//
// [Daemon.Serve] has one rsync --daemon serve one connection, a socket, as its standard input. The
// connection was accepted, and whose it is was found out, by others (package link). Serve ends the
// rsync with all its processes when its context ends: one that deletes looks at its connection only
// when it reads or writes, and while it deletes it does neither.
//
// Where that is allowed (root), the rsync sees the module's path mounted nosymfollow, in mounts of its own: it
// follows no link there, whoever swaps one in. What others mount and unmount meanwhile it sees. Not so with
// DaemonConfig.Looks: rsync --fuzzy opens each directory, and in a run that writes nothing a link may still be in its place.
//
// There is one module in a config file of mode 0600, in a directory of mode 0700 below TempDir, where
// nobody else can exchange it (package private). It is looked at before each connection, and written
// again, with a WARNING, if a cleaner of temporary files has removed it, or somebody has changed it.
// (No file without a name could take its place: rsync 3.5 resolves links to its config file by
// itself.) The module's path is handed over in the environment (path = %ZKRS_MODULE_PATH%), because
// the file's own syntax cannot carry every name: rsync has no way to write a percent sign there, and
// trims blanks.
//
// As root with CAP_SYS_CHROOT the module is served in a chroot, and symbolic links arrive
// unchanged. Otherwise rsync confines paths itself and rewrites absolute link targets and those
// that lead out of the module; one WARNING says so.
//
// [Enter] asks for the module as a transfer does, and leaves before anything is sent. [Probe] asks a
// daemon that others have started for its modules.
//
// # Errors
//
// They begin with "cannot" and name the program, path or port. A context that ended is wrapped
// (context.Cause), so errors.Is works.
//
// Sources: rsync(1) and rsyncd.conf(5) of 3.5.0, and trials with that version.
package rsyncrunner
