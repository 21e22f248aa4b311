// SPDX-License-Identifier: LGPL-2.1-or-later

// Package worker is the part of a source that runs rsync: take, look, run, judge, end.
//
// A [Worker] has one or several jobs. Each holds a destination (package pool), takes tasks of one kind
// in one transaction, looks at what of them is to be sent, carries them to the destination in one run,
// and ends them in another transaction: their result into S/results, their entries out of the queue. The
// order matters: work is removed in the transaction that records its end, so a crash repeats work and
// never loses it.
//
// # One engine
//
// One path and many go the same way (engine.go): pursue tries them in one run until the fate of each is
// known, or until they cannot be worked on here and now; then they are for others again. After each
// attempt the facts are gathered (how rsync ended, how often it was tried, what a second look at the
// source says, whether the destination answers) and decide, a pure function of them, says how to go on.
// Paths that could not be sent together are tried one by one, so that a bad one costs only itself.
//
// A [Transport] is how tasks get to a destination: by rsync, or, in the netcat test of a session, as a
// line each.
//
// # Links
//
// To a Go destination an rsync is connected over a link (package link), with the keys of S/keys as
// proof of who both are; to a Python one it connects by itself. A link that cannot be made is the
// destination's fault. A run over which bytes move does not stand still; if one does, and bytes wait
// that the destination does not take, it is the destination that is blamed, otherwise the rsync here.
// Destinations look after their own. Together the links of a source send no more than its share of the
// session's bandwidth, which the leader gives it for what it says of its use (bandwidth.go).
//
// # How many at once
//
// pace.go finds how many paths a run should carry. While an rsync runs, its source looks at the same
// names a little earlier, many at once (prefetch.go). A job without work says so in S/idle; then the
// leader may want what others have in hand, which they see in S/wanted (heed.go). A run that is in the midst of a large
// file, which would be begun anew, goes on until that is through.
//
// # When it begins nothing
//
// Users ask for that in S/control, and for another number of jobs (gate.go): a job that is not let through gives its
// destination back and waits, one that is at work ends its run, and gives back what it would have to try again. What
// is skipped is not sent: a run that has something of it in hand is ended, and goes on without. What was noted stands
// in S/heeds.
//
// With a Python leader a worker relies on no extension: a path that was not completed has failed.
package worker
