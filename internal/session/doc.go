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
//   - S/extQueue: entries whose names a Python slave would misread.
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
