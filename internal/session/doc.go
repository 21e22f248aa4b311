// SPDX-License-Identifier: LGPL-2.1-or-later

// Package session joins a client to a session: it decides which role a client gets and puts together
// what runs around it.
//
//	wire         every znode's name and content; the glossary
//	member       one client in one ZooKeeper session: parties, watches, budget
//	guard        is this base, this mount, this path still what it was
//	pool         how workers get destinations, both sides of it
//	destination  serve one base
//	worker       take, look, run, judge, end
//	leader       walk, account, cut, walk again, clean up
//
// The first source of a session leads, the others work; a leader with jobs works too, by a function that
// this package lends it, so that leader and worker do not know each other. leader, worker and destination
// rest on pool and guard, these on member, and that on wire.
//
// # Losing ZooKeeper
//
// A role runs inside one ZooKeeper session. When that is lost, children are stopped before anybody else can
// have been given their path (the receiver of a stopped rsync is ended by its destination, when the link is
// closed, or when the source's key has gone from S/keys), and the role starts again in a new session.
//
// # Losing the leader
//
// Sources that work stand by on the leader's lock (standby.go). The first that gets it takes over, its jobs
// going on; the old leader works under it when it comes back. One that has met no leader alive does not
// take over, unless Config.Resume says so: it finds a run that nobody leads, and cleans up. A leader that
// is asked to end gives its place to one that stands by, or suspends the run.
//
// # Terms
//
// All sources have to send the same tree in the same way. The leader writes what it was asked for into
// S/meta, in the transaction that begins the session. A source that follows compares that with its own
// before it joins wire.PartySources and takes anything, in each ZooKeeper session anew, and ends if
// something differs; with Config.Inherit it takes the leader's instead, and begins no run. Options that
// change nothing in what arrives may differ. A Python leader has no terms.
//
// # Mixed sessions
//
// With a Python leader a Go client relies on no extension and takes part as a Python one does: a path that
// was not completed has failed, also one that vanished. Only S/deletes is used then, too. With a Go leader
// Python workers take what is in S/pathQueue; what only Go sources may take is in S/extQueue.
//
// # Errors
//
// wire.ErrIncomplete: the session ended with failed or unfinished paths, deletions stopped at their bound, or a
// comparison found differences. ErrUnclean: an earlier session of this name was not finished. ErrLocked:
// --pathsonly found a leader. Everything else says what failed and on what. When the context given to a role
// ends, the role returns an error that wraps the context's cause.
package session
