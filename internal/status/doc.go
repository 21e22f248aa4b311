// SPDX-License-Identifier: LGPL-2.1-or-later

// Package status tells how far a session is, from what is in ZooKeeper alone: no client is asked over the network, and
// nothing is written. [Snapshot] is what all readers show: --state, the terminal of a run, package watch, and whatever
// else looks; format.go has the words in which they do.
//
// # What is read
//
// Whether there is a run, S/watch/ready says; how far it is, S/meta, the queues, the counters of S/stats and the notes
// of S/failures; who is there, the parties and S/status, in which each Go client says what it does. Clients of the
// Python program say nothing of themselves: they are known by their parties, and by what they have taken. A look reads
// the counts of the queues, never their entries, unless a Python source has taken some.
//
// A [Reader] keeps what does not change from one look to the next; the first look at a session of 50 clients takes
// 126 small reads, made many at a time, and each further one 76. The failures that it names, at most [MaxFailures], are
// read at each look, as what is said of one changes when its path fails once more.
//
// # States
//
// [Running]; [Still], when it says in Waits what the run waits for; [Leaderless], when no client is its master, so that
// nobody accounts for what becomes of the paths and nobody ends the run; [None]. That nothing moves its leader says
// once it has lasted a while; under a Python leader only missing sources and destinations are known.
//
// # Estimates
//
// What is done is known in paths; what that is of the whole is a guess, with a range (estimate.go), unless there is
// nothing left. A guess is never 100 percent with work left.
//
// # Form
//
// The JSON of a Snapshot is for programs; examples/state.schema.json has its schema. Fields are added to it, never changed
// or removed. Times are RFC 3339 in UTC, lengths of time in seconds, sizes in bytes. Paths
// are as wire.Text has them: a string, or {"base64": "..."} if they are no UTF-8. All else that others have written, and
// may hold what a terminal obeys, is printed quoted.
package status
