// SPDX-License-Identifier: LGPL-2.1-or-later

// Package leader is the source that leads a session: to users, the master.
//
// It walks the source tree into the queue (survey.go, feed.go), accounts for every path (account.go,
// report.go), cuts paths for idle jobs (split.go), does it again for what has changed meanwhile, and
// cleans up at the end (cleanup.go).
//
// # The account
//
// Every path queued ends in exactly one class: completed; failed, after the last attempt; vanished, it
// or files in it were gone before they could be sent; changed, it is no directory any more or lies below
// a symbolic link, and the directory above, queued again by the next walk, sends what stands there now;
// skipped, a user did not want it to be sent; unfinished, nobody has ended it. The sum is the number queued. A path that failed and was queued again
// by a later walk counts once, as it ended last. What has left the queue without a result counts as
// unfinished. The numbers are in S/meta and change in the transactions that they tell of (ledger.go), so
// that after a lost connection it is known what was applied.
//
// What a worker has not found, or found changed, the leader looks for itself before it believes that, as it
// may be the worker's node that does not see it. A path that is there is queued again, in the
// transaction that removes the result; after three such results it has failed. While its own base is away the
// leader leaves such results where they are.
//
// What was completed counts once its destination has it on disk (durable.go, package destination). Until
// then the result stays in S/results, and its paths count as remaining. Where that is not to be had, as
// the destination says so or has left, they are queued again. A pass is over when nothing waits.
//
// # Phases
//
// A session goes through phases (phases.go), each of which begins when all queues are empty: walks, the
// deletions that ranges have left over, a late round for what has failed, the groups of hard links that
// lie in several paths. A walk stamps each directory with its place, inode and ctime. The next one queues
// the directories whose stamp it has not seen: those that are new, were moved here, or in which a name
// was made, removed or changed. A directory made after its parent was listed would otherwise arrive
// empty; one that vanished would stay at the destination. Where most directories have but another inode,
// their file system gives inodes out as it likes, and they are left out of the stamps from then on. Below
// the depth rsync lists directories itself, when it comes to them. What was newly mounted is not walked
// where rsync may delete. There are at most three walks after the first. One over which the base was
// away is made again, and does not count.
//
// # Another leader
//
// Whatever a leader decides is in ZooKeeper before it is acted on: S/meta holds phase, cursor and numbers,
// the nodes beside it what has failed, was cut or is left over (ledger.go, notes.go). So another source
// can take over at any moment, also between any two writes (takeover.go); starting, resuming and taking
// over differ only in what is found. A leader that has lost its ZooKeeper session gives way to one that
// has taken over. The fence of zkclient keeps it from writing anything after that.
//
// # Bandwidth
//
// Who sends less than its share of S/bwlimit keeps what it needs, the others divide the rest by their links
// (bandwidth.go). The shares are never more than the bound together; a source without work has only what
// it takes to begin.
//
// # Steering
//
// What users ask for while the run is under way is in S/control (steer.go). While nothing is to be begun the leader
// queues nothing, but the rest of a path that it is just cutting, and begins no phase. A run that is to be stopped is suspended when no Go source has anything in
// work; that it is to be stopped is taken back in the same transaction. A path that is skipped ends as any other
// does: the leader takes it out of the queue, with the result of a worker; what lies within a path that is sent, or
// has failed and may be sent again, and is there, comes into the account as a path of its own, whatever
// phase or cut meets it first. Failed paths that are queued again count as they end. All
// of that is done once, in the order in which it was asked for, and S/meta says how far it is.
//
// # What it says of the run
//
// The leader looks at the run as anybody else can (package status), and says in its S/status what follows from several
// looks: what was done in the last minutes, how far the first walk has come, and what the run waits for (observe.go).
// Nothing depends on it. With the report of an earlier run each path that ends counts with what it took then, and those
// that took long have priorities by which they are taken first ([wire.Priority], history.go).
//
// # Other clients
//
// The leader's own jobs are a function that the session lends it: this package does not know the
// workers. It says once what a Python source does not know of what was asked for, and that Python sources
// wait where no destination is open. Paths in S/extQueue
// with sources connected, and no Go source among them, are warned of, and given up when nothing else has
// been left for long: sources that can do nothing must not hold a session up for ever. With no source
// connected at all they wait without a limit, as every other path does. A Python client that dies between
// putting a path into its last queue and taking it out of S/pathQueue makes it end twice; it is counted
// once.
package leader
