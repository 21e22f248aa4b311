// SPDX-License-Identifier: LGPL-2.1-or-later

// Package differential holds tests only. They prove that splitting one rsync into thousands loses nothing
// silently: what a session leaves at a destination is compared with what one single
//
//	rsync -a [-H] --numeric-ids [--delete] [...] SRC/ REF/
//
// makes of the same source and the same earlier destination: names, content, types, modes, owners, times of
// files and directories, and which names are links to one file.
//
// # A round
//
// One seed decides everything but the timing: the tree, what the destination holds before, the options, how
// the work is spread, how many slaves and destinations there are, which of them is stopped or loses its ZooKeeper
// session in the middle, and, with an odd seed, what is changed in the source during the run. The clients are real and
// run in this process, against a real ZooKeeper and real rsync daemons. Changes and faults come when a slave is
// about to run rsync on an entry, hands one back or shares its list, or the master cuts one, or up to 100 ms later.
//
// How the work is spread may not be seen at the destination; the one rsync knows nothing of it:
//   - up to four jobs a slave, none to four of the master, which may be the only source; up to four slots a destination;
//   - how many paths a run carries, and for how long;
//   - a window of few entries; ranges of names where a directory has more than a few files, which some are given;
//   - a depth that is found by looking at the tree;
//   - rsyncs that are slow by their own bound, with large files to send, and jobs that are idle after some milliseconds, so
//     that paths which wait are cut, paths in work are handed back and cut, and lists are shared;
//   - a bound of deletions that is not reached, with which no run is stopped.
//
// What was made use of is counted. TestSpread has rounds in which each of these must be.
//
// The round fails if
//   - the destination differs from the reference and the master's error was nil;
//   - it differs, the master returned ErrIncomplete, and the entry that holds the difference is not among those
//     that it says have failed;
//   - with an even seed, the master says that something failed and the single rsync says that nothing did, or the
//     reverse; with an odd seed and --delete, the master says that something failed and the single rsync does not;
//   - the report does not have every path queued in exactly one class; a path that was cut has none, unless it had
//     failed before: then its pieces take the place of that failure;
//   - a client returns any other error, does not end in time, or leaves a znode of the run behind;
//   - anything outside of the source and the destination was changed.
//
// # Allowances
//
// In all rounds:
//
//   - Where the single rsync says that it does not manage all, what the session has made as it is in the source is right.
//     rsync, for example, makes none of the names of a file when it cannot make the first.
//   - Names at the destination that are excluded, or that the source has not, may be links to a file that is to be copied.
//     Whether they stay links to it depends on which of its other names rsync comes to first. The other names of that file
//     must be links to each other as they should.
//   - A directory that is not in the source, of which --delete has deleted a part and left what an exclude pattern protects,
//     has the time of that deletion.
//
// In rounds with changes, and only for what was changed:
//
//   - Deep changes. When names are added to, removed from or renamed in a directory that lies below a recursive
//     entry (deeper than the depth, subpaths counted in), the directory at the depth shows nothing of it. If its
//     run is over, nobody can know without reading all of the tree again. So what is new or gone at or below such a
//     directory may differ, and that directory's time. What stood there all the time must be right.
//   - Leftovers. Without --delete, what was sent and then removed or renamed in the source stays at the
//     destination as it was, where the reference has nothing, or what was there before.
//   - Links to either of these, as above.
//
// Left out, because no rule could tell right from wrong:
//   - Files are put into the source whole, by renaming: one that is written to during or after its run changes no
//     directory, and single rsync would have missed it likewise.
//   - Nothing is changed during the fourth walk, which is the last, or after it.
//   - Directories that an exclude pattern matches, and those that a subpath names, are not moved, made or removed during a
//     run: when it changes what the options mean, there is no "same options".
//   - Changed directories get an old modification time, because rsync leaves one alone that differs by less than
//     a second.
//   - With --hardlinks and without --checksum, no file of the earlier destination has the size and the time of the right one
//     and another content: rsync takes it for the right one and links the other names to it, or links it to one that it
//     has sent, depending on the order.
//   - With --inplace the earlier destination has no hard links: rsync writes through those that the source does not have, and
//     what is then in such a file depends on the order.
//
// # Running
//
// `make differential [ROUNDS=300] [SEED=n]` runs many rounds; n is the first seed. A failed round prints the line
// that repeats it.
package differential
