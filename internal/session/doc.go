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
// it in a single transaction: its result into S/results, the entry out of
// S/pathQueue. The order matters: the work is removed in the transaction that
// records its end, so a crash repeats work and never loses it. The master drains
// the results, tells them to the log and the report, and counts them in S/meta in
// the transaction that removes them.
//
// When the walk is over, the queues are empty and all results are drained, the
// master walks again and queues what has changed since, at most three times, and
// then the groups of hard links that lie in several paths. Then it sets
// S/watch/ready to "stop", waits until it is the only client left, names what is
// unfinished and removes the session's znodes.
//
// # Runs, jobs, slots
//
// A slave has one or several jobs, and each of them holds a destination: one entry
// of S/destQueue, where a destination stands as often as it has slots. A master
// that is given jobs works like a slave beside leading. One run of rsync carries
// several entries of one kind (pace.go), taken in one transaction and ended in
// another. If it fails they are tried one by one.
//
// The master keeps at most a window of entries in the queues and adds to it while
// the walk goes on (feed.go). S/meta says how far it is.
//
// At the end of an uneven tree some jobs would wait for others. Those say so in
// S/idle, and the master cuts paths one level deeper: one that waits, or, through
// S/wanted, one that a Go slave works on (split.go, wanted.go). A directory with
// very many files is sent in ranges of names (flat.go). With a depth that is
// found by looking at the tree, all of that is what makes the pieces small enough.
//
// While an rsync runs, its source looks at the same names a little earlier, many
// at once (prefetch.go, pathbuilder.Prefetcher). What comes of that is of no
// interest: rsync finds it in the kernel's caches, or meets what is wrong itself.
//
// # The account
//
// Every path queued ends in exactly one class: completed; failed, after three
// attempts; vanished, it or files in it were gone before they could be sent;
// changed, it is no directory any more or lies below a symbolic link, and the
// directory above, queued again by the next walk, sends what stands there now;
// unfinished, nobody has ended it. The sum is the number queued. A path that
// failed and was queued again by a later walk counts once, as it ended last.
// What has left the queue without a result counts as unfinished.
//
// # Passes
//
// A walk stamps each directory with its place, inode and ctime
// (pathbuilder.WalkStamped). The next one queues the directories whose stamp it
// has not seen: those that are new, were moved here, or in which a name was made,
// removed or changed. A directory made after its parent was listed would else
// arrive empty; one that vanished would stay at the destination. Below the depth
// rsync lists directories itself, when it comes to them.
//
// # Guards
//
// Before each run the slave looks at the base path (there, not empty if rsync may
// delete, with the file that --sentinel names) and waits if it is not as it
// should be; at every component of the path, without following links; and, if
// rsync may delete, whether the same file systems are mounted there as when the
// client started, before and after. What the walk excludes in a directory is kept
// from being made or deleted by filters. Deletions come out of a budget, S/deletes,
// by compare and set; a run gives back what it has not used.
//
// rsync's exit status decides how to go on (rsyncrunner.Class): a destination at
// fault is given up, and set aside for a while if it does not answer or failed at
// three paths in a row; options that rsync refuses end the client; anything else is
// tried three times, with growing pauses. A run ends at once when its destination
// leaves the session.
//
// # Wire format
//
// All znodes, their data and the order of operations are those of vsc-zk 2.0.7
// on kazoo (https://github.com/hpcugent/vsc-zk), so Python clients can take part
// in any role. S is /admin/rsync/<session>; tree.go names the znodes. These are
// extensions that Python clients never look at:
//
//   - S/meta: JSON (ledger.go): the numbers of the run. Only the master writes it,
//     in the transactions that queue entries and remove results, so that after a
//     lost connection it knows what was applied. Void when its epoch, the czxid of
//     S/watch/ready, is another.
//   - S/results: sequential nodes, JSON (result.go): what became of the paths of
//     one rsync run. Used once S/meta is valid; else S/completedQueue and
//     S/failedQueue, as a Python master reads them.
//   - S/extQueue: entries whose names a Python slave would misread, groups of hard
//     links, ranges of names and the deletions after them (task.go). A slave takes from it once S/meta is valid, so what an earlier
//     run left there is never sent by this one.
//   - S/split: paths to be cut, on their way between the queue and their pieces.
//     Only the master takes them out.
//   - S/wanted: JSON (wanted.go): entries in work that idle jobs should have a share
//     of. Only the master writes it.
//   - S/idle: an ephemeral node for each job that has a destination and no work.
//   - S/slots/<whoami>: ephemeral, decimal: how often a destination should be in
//     S/destQueue; missing: once.
//   - S/links: notes of slaves about hard links that lead out of their path
//     (links.go).
//   - S/deletes: decimal, what --max-delete leaves.
//   - S/parties/ext: the clients that know all this.
//
// # Mixed sessions
//
// With a Python master a Go client relies on no extension and takes part as a
// Python one does: a path that was not completed has failed, also one that
// vanished. Only S/deletes is used then, too; what is in it from before this
// run is void.
//
// A Go master says once what a Python source does not know of what was asked for.
// With --verify the paths that one has sent count as failed.
//
// A Go master with paths in S/extQueue, sources connected, and no Go source among
// them (the members of S/parties/ext) warns of that after Timing.NeedGo, at any
// time of the run. When nothing else has been left for Timing.GiveUp, the run ends
// with those paths unfinished (ErrIncomplete): a Go source could still come, but
// sources that can do nothing must not hold a run up for ever. With no source
// connected at all they wait without a limit, as every other path does.
//
// A Python client that dies between putting a path into its last queue and taking
// it out of S/pathQueue makes it end twice. The master counts and logs a path once.
//
// # Losing ZooKeeper
//
// A role runs inside one ZooKeeper session (zkclient.Client). When that is lost,
// the role's context ends: children are stopped before anybody else can have
// been given their path (the receiver of a stopped rsync is ended by its
// destination, rsyncrunner.Daemon), and the role starts again in a new session. The first
// connection has to succeed within the connect time-out; later ones are tried
// until they do, because a long run should outlive a restart of ZooKeeper.
//
// # Errors
//
// ErrIncomplete: the run ended with failed or unfinished paths, deletions stopped
// at their bound, or a comparison found differences. ErrUnclean: an
// earlier run of this session was not finished. ErrLocked: --pathsonly found a
// master. Everything else says what failed and on what. When the context given
// to a role ends, the role returns an error that wraps the context's cause.
//
// Times are in seconds where a znode or an option holds them, time.Duration in
// Go; sizes are in bytes.
package session
