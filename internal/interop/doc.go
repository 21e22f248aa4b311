// SPDX-License-Identifier: LGPL-2.1-or-later

// Package interop holds the tests of one session, two implementations: that this program's clients and
// Python clients on kazoo are the same thing to ZooKeeper, recipe by recipe and in whole sessions. Nothing
// but tests is in it, and nothing imports it but tests.
//
// The other side is peer.py, a Python client written from the wire contract and resting on kazoo's own Lock,
// Party, LockingQueue, Counter and DataWatch: what kazoo does with a znode is the judge of what this program
// does with it. It runs under /usr/bin/python3 with Debian's python3-kazoo; where one of them is missing the
// tests fail and say what to install.
//
// StartPeer starts it. A test then steps it (Do, Begin) or lets it play a role of a session and follows the
// events it prints (Await, All):
//
//	p := interop.StartPeer(t, server.Addr(), "step")
//	p.Do("queue put", interop.Fields{"path": "/q", "values": []interop.Raw{"1_/data"}})
//
//	m := interop.StartPeer(t, server.Addr(), "--session", "s", "--path", src, "role", "master")
//	queued := m.Await("queued").Count
//
// Whole sessions mix peers with the real zkrsync, built by the go command once per run of the tests, and with
// the real rsync; a gate is an rsync that holds a slave of either kind in the middle of a path for as long as
// a test needs it there. What the original itself does in such a session is tried by hand.
//
// A peer is a process group of its own. It ends with the test at the latest, and with the test binary if that
// dies first.
package interop
