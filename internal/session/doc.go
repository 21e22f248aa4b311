// SPDX-License-Identifier: LGPL-2.1-or-later

// Package session holds the roles of a zkrsync session and joins the three
// packages below it: zkclient (coordination), pathbuilder (the walk) and
// rsyncrunner (the transfers).
//
// # The way of a path
//
// The master walks the source tree and puts entries such as "1_/data/a" into
// S/pathQueue. A slave that holds a destination (a locked entry of
// S/destQueue) takes one, runs rsync against that destination, and then moves
// it in a single transaction: into S/completedQueue (or S/failedQueue after the
// last attempt), out of S/pathQueue. The order matters: the work is removed in
// the transaction that records its end, so a crash repeats work and never loses
// it. When the walk is over and the queue is empty the master sets S/watch/ready
// to "stop", waits until it is the only client left, logs what became of every
// path and removes the session's znodes.
//
// # Wire format
//
// All znodes, their data and the order of operations are those of vsc-zk 2.0.7
// on kazoo (https://github.com/hpcugent/vsc-zk), so Python clients can take part
// in any role. S is /admin/rsync/<session>; tree.go names the znodes. Two are
// extensions that Python clients never look at:
//
//   - S/meta: JSON, written by the master only, always in the transaction that
//     queues entries, so that a master whose connection broke knows whether that
//     transaction was applied. Void when its epoch, the czxid of S/watch/ready,
//     is another.
//   - S/extQueue: entries whose names a Python slave would misread. A slave takes
//     from it once S/meta is valid, so what an earlier run left there is never
//     sent by this one.
//
// # Mixed sessions
//
// With a Python master a Go client relies on no extension and takes part as a
// Python one does.
//
// A Go master with paths in S/extQueue, sources connected, and no Go source among
// them (the members of S/parties/ext) warns of that after Timing.NeedGo, at any
// time of the run. When nothing else has been left for Timing.GiveUp, the run ends
// with those paths unfinished (ErrIncomplete): a Go source could still come, but
// sources that can do nothing must not hold a run up for ever. With no source
// connected at all they wait without a limit, as every other path does.
//
// A Python client that dies between putting a path into its last queue and taking
// it out of S/pathQueue makes it end twice. The master counts and logs a path once,
// as the worst it came to: unfinished, failed, completed.
//
// # Losing ZooKeeper
//
// A role runs inside one ZooKeeper session (zkclient.Client). When that is lost,
// the role's context ends: children are stopped before anybody else can have
// been given their path, and the role starts again in a new session. The first
// connection has to succeed within the connect time-out; later ones are tried
// until they do, because a long run should outlive a restart of ZooKeeper.
//
// # Errors
//
// ErrIncomplete: the run ended with failed or unfinished paths. ErrUnclean: an
// earlier run of this session was not finished. ErrLocked: --pathsonly found a
// master. Everything else says what failed and on what. When the context given
// to a role ends, the role returns an error that wraps the context's cause.
//
// Times are in seconds where a znode or an option holds them, time.Duration in
// Go; sizes are in bytes.
package session
