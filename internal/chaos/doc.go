// SPDX-License-Identifier: LGPL-2.1-or-later

// Package chaos holds tests only. They prove that whatever is killed, stopped, cut or restarted, no path is
// lost, none is reported as done that is not, and nobody hangs.
//
// # A round
//
// A round is one session over an ensemble of three ZooKeeper servers, with five sources, one of which becomes
// the master, and three destinations. All are processes of the real program, each behind proxies of its own to the
// servers. The seed decides all but the timing of the programs (plan_test.go): the tree, what the destination
// holds before, the options, and what goes wrong when, and for how long: sometimes shorter than a ZooKeeper session
// lasts, mostly longer.
//
//   - clients are killed, the master among them, or all sources, all destinations, or all clients at once;
//   - clients are asked to end, or are stopped and go on, or all of them are;
//   - rsyncs of sources and destinations are killed, or stopped and go on;
//   - servers are killed, or stopped and go on, the one among them that leads the others, or two at once;
//   - connections to one server or to all are cut, stall, or lose requests, replies or events;
//   - the file system of the destinations is full for a while.
//
// A supervisor (client_test.go) starts whoever has ended again: `zkrsync -S --resume` or `zkrsync -D`. When the
// first source has ended by itself the run is over: nothing goes wrong any more, and nobody is started. A source that
// was started too late to meet the run begins another; it is given destinations for it.
//
// # The judge
//
// A round fails (account_test.go) if
//   - source and destination differ, but for what the last master's account calls failed or unfinished, and, without
//     --delete, for temporary files of rsyncs that were killed;
//   - a name of the source belongs to no path of the reports, or a path is told as completed by who has not sent it;
//   - a path has failed, or is unfinished, in any part of the report, and neither done later nor in the last
//     master's list; or is in that list, and no report has it;
//   - the numbers of the last total do not add up, or fit the lines, the done-file, the list and the exit status;
//   - a path has vanished or changed, as nobody has changed the source;
//   - a process has ended in another way than the round wanted and the guide allows: with status 1, for example, only
//     if ZooKeeper was away when it started, or the destination full;
//   - a process or a znode is left, or somebody has not ended after four minutes.
//
// TestJudge has each of these done to what a good round has left, but for the four minutes.
//
// # Running
//
// `make chaos [ROUNDS=100] [SECONDS=n] [SEED=n]` runs many rounds; n is the first seed. A failed round leaves its
// files, tells where, and prints the line that repeats it.
package chaos
