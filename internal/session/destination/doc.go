// SPDX-License-Identifier: LGPL-2.1-or-later

// Package destination serves one base path to the workers of a session.
//
// A destination waits for the session to begin, publishes its key, reserves a port under S/portlock, listens
// on it (package link), and offers itself (package pool). While it listens it watches its base and keeps its
// state true: active when data can be received, paused when not. It ends when the session does.
//
// # Who gets in
//
// The clients whose keys are in S/keys, in nodes of ZooKeeper sessions that live. One that is not known is
// looked for before it is refused, as it may be new. When a key goes, its links are cut, and what served them
// is ended at once: its source has lost its ZooKeeper session, and others may have been given its path. A
// destination that is open serves any rsync beside these, and stands in S/destQueue, where Python sources
// look; any other in S/extDestQueue.
//
// # What it tests
//
// Every look (Timing.PathCheck) asks whether the base is what it was (package guard), and, in a
// session that writes, whether its file system is writable and has room. The first look, then one in
// each Timing.SelfTest, and all while something is wrong, also write a file without a name into the
// base and enter the daemon's own module over a link of its own, as a transfer does. What is found
// before the destination has offered itself ends it, so that who has started it hears of it, unless it
// is a base that is away: that may come back. Later the destination pauses, says so once, and goes on
// by itself. With --verifypath nothing of this is looked at. A listener that fails is started again;
// the third time within Timing.Unsteady ends the destination.
//
// # What it flushes
//
// If S/sync says so the destination flushes the file system of its base now and then, when the leader
// asks, and before it leaves, and publishes in S/synced of which results the data is on its disk: of those
// that were recorded before it began to flush. If its base was away since the flush before, nobody knows
// where the data lies, and the results are void: the leader has their paths sent again, which compares
// what is there. If the flush fails they have failed. A process that finds the node of an earlier one with
// its name declares void what that has not flushed.
//
// # What it tidies up
//
// In a session that keeps partial files the destination notes in which directories one was being written when a
// run did not end well. The next run over the directory removes it, but for a file that has vanished from the source.
// So when the session has ended and nothing has failed, the destination looks in the directories that it has noted, and
// nowhere else, and removes what it finds. After another end it stays for the next session.
package destination
