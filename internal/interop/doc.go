// SPDX-License-Identifier: LGPL-2.1-or-later

// Package interop holds the tests of one session with two implementations. To ZooKeeper this
// program's clients and Python clients on kazoo must be the same thing, recipe by recipe and in
// whole sessions. Nothing but tests is in it.
//
// The other side is peer.py, a Python client written from the wire contract. It rests on kazoo's
// own Lock, Party, LockingQueue, Counter and DataWatch: what kazoo does with a znode is the judge
// of what this program does with it. It runs under /usr/bin/python3 with Debian's python3-kazoo.
// Where one of them is missing the tests fail and say what to install.
//
// StartPeer starts it. A test then leads it step by step (Do, Begin), or lets it play a role of a
// session and follows the events that it prints (Await, All):
//
//	p := StartPeer(t, server.Addr(), "step")
//	p.Do("queue put", Fields{"path": "/q", "values": []Raw{"1_/data"}})
//
//	m := StartPeer(t, server.Addr(), "--session", "s", "--path", src, "role", "master")
//	queued := m.Await("queued").Count
//
// Whole sessions mix peers with the real zkrsync and the real rsync. The go command builds zkrsync
// once in each run of the tests. A gate is an rsync that holds a slave of either kind in the middle
// of a path for as long as a test needs it there. What the original does in such a session is tried
// by hand.
//
// A peer is a process group of its own. It ends with the test at the latest, and with the test
// binary if that dies first.
package interop
