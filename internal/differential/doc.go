// SPDX-License-Identifier: LGPL-2.1-or-later

// Package differential holds tests only. They prove that splitting one rsync into thousands loses
// nothing silently. What a session leaves at a destination is compared with what one single
//
//	rsync -a [-H] [-A] [-X] [-x] --numeric-ids [--delete] [--usermap=MAP] [...] SRC/ REF/
//
// makes of the same source and the same earlier destination: names, content, types, modes, owners,
// times of files and directories, and which names are links to one file.
//
// # A round
//
// One seed decides everything but the timing: the tree, what the destination holds before, the
// options, how the work is spread, how many slaves and destinations there are, what goes wrong, and, if
// the seed is odd, what is changed in the source during the run. The clients are real, against a real
// ZooKeeper and real rsync daemons. They run in this process, or, in a third of the rounds, slaves and
// destinations are processes of their own, with mounts of their own. Changes and faults come at certain
// messages or up to 100 ms later: when a slave is about to run rsync on an entry, hands one back or shares
// its list, or when the master cuts one.
//
// Each thing has a file: the area and the trees in it (tree), the options (options), clients (client),
// where they find the trees (places), changes of the source (changes), faults (faults), the run (run), one
// round (random), the comparison (judge), false alarms (alarms), and what was made use of (features).
//
// # Faults
//
// In six of ten rounds something goes wrong once:
//   - a client loses ZooKeeper, or is stopped, and another comes;
//   - a slave or a destination is killed, and another comes, or is frozen until ZooKeeper has lost it;
//   - an rsync of a source or of a destination is killed;
//   - the base of a client is unmounted under its hands, which leaves an empty directory, and mounted
//     again, at once or when it says that it waits;
//   - the base of a destination is read-only, or its file system has no room, for a while;
//   - something is mounted over a directory of the source, for a while or until the end;
//   - a slave comes whose options are not the master's: it is refused and takes nothing.
//
// None of this may show at the destination or fail a path. TestFaults has a round with each.
//
// In rounds without a fault no client pauses, refuses or holds something for broken. If nothing is
// changed and the single rsync manages all, nothing is said at level WARN or above, but what the round's
// own tree and cast explain (alarms_test.go lists that).
//
// The destination must not show how the work is spread; the single rsync knows nothing of it:
//   - up to four jobs of a slave, none to four of the master, which may be the only source; up to
//     four slots of a destination;
//   - how many paths a run carries, and for how long;
//   - a window of few entries; ranges of names where a directory has more than a few files, which
//     some directories are given;
//   - a depth that is found by looking at the tree;
//   - rsyncs that their own bound makes slow, large files for them, and jobs that are idle after
//     some milliseconds. So paths that wait are cut, paths in work are handed back and cut, and
//     lists are shared;
//   - a bound of deletions that is not reached, and stops no run.
//
// What was made use of is counted. In the rounds of TestSpread each of these must be.
//
// A round fails if
//   - the destination differs from the reference and the master's error is nil;
//   - it differs, the master returns ErrIncomplete, and the entry that holds the difference is not
//     among those that have failed by the master's account;
//   - the seed is even, and of the master and the single rsync only one says that something failed;
//     or the seed is odd, --delete is given, and only the master says so;
//   - a path that was queued is not in exactly one class of the report. A path that was cut is in
//     none, unless it had failed before: then its pieces take the place of that failure;
//   - a client returns any other error, does not end in time, or leaves a znode of the run behind;
//   - there is a false alarm;
//   - anything outside of the source and the destination was changed.
//
// # Allowances
//
// In all rounds:
//
//   - Where the single rsync says that it does not manage all, the session's result is right if it
//     is as in the source. rsync, for example, makes none of the names of a file when it cannot
//     make the first.
//
//   - At the destination, excluded names and names that the source does not have may be links to a
//     file that is to be copied. Whether they stay links to it depends on which of its other names
//     rsync comes to first. The other names of that file must be links to each other as they
//     should.
//
//   - Where the single rsync leaves something with the time of its own run, so does the session: a
//     directory of which --delete has deleted a part while a rule protects the rest, for example.
//
//   - With --acls the single rsync complains of the missing default list of a file that stands in the
//     way of a directory. Then it is run again.
//
// In rounds with a fault:
//   - Without --delete, an rsync that was killed or had no room may leave a temporary file.
//   - What something was mounted over for a while is as it should be or, with --delete, as it was before;
//     without, it may have what was mounted. A directory there may have the time of a run.
//
// In rounds with changes, and only for what was changed:
//   - Deep changes. A name may be added, removed or renamed in a directory that lies below a
//     recursive entry (deeper than the depth, counted with subpaths). The directory at the depth
//     does not show that, and when its run is over nobody can know it without reading the whole
//     tree again. So what is new or gone at or below the changed directory may differ, and so may
//     that directory's time. What stood there all the time must be right.
//   - Leftovers. Without --delete, something that was sent and then removed or renamed in the
//     source stays at the destination as it was, where the reference has nothing, or what was there
//     before.
//   - Links to either of these, as above.
//
// Left out, because no rule could tell right from wrong:
//   - Files are put into the source whole, by renaming. One that is written to during or after its
//     run changes no directory, and a single rsync would miss it likewise.
//   - Nothing is changed during the fourth walk, which is the last, or after it.
//   - Directories that an exclude pattern matches, and those that a subpath names, are not moved,
//     made or removed during a run: that would change what the options mean, and there would be no
//     "same options".
//   - Changed directories get an old modification time, because rsync leaves a directory alone
//     whose time differs by less than a second.
//   - With --hardlinks and without --checksum, no file of the earlier destination has the size and
//     the time of the right one and another content. rsync would take it for the right one:
//     depending on the order it would link the other names to it, or link it to one that it has
//     sent.
//   - Attributes that are not asked for, and with --hardlinks options by which some files stay as they
//     are: which of a group of links stays depends on the order.
//   - Options that contradict each other, as no-owner and --usermap, and maps together with --acls: an
//     rsync with two processes on one machine and one with a daemon read them differently.
//   - A destination that is away with --no-sync: what was sent counts by then.
//   - A killed master. It is the next one's to take over, which is not there yet.
//   - With --inplace the earlier destination has no hard links. rsync writes through those that the
//     source does not have, and the order decides what is then in such a file.
//
// # Running
//
// `make differential [ROUNDS=300] [SEED=n]` runs many rounds; n is the first seed. A failed round
// prints the line that repeats it.
package differential
