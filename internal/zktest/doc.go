// SPDX-License-Identifier: LGPL-2.1-or-later

// Package zktest is for tests, the demo and the benchmarks only: a real ZooKeeper on a free loopback port, a proxy that makes
// the faults of networks, and a reader of whole znode trees.
//
// The server is Debian's (packages zookeeper and a Java runtime): one process with its data in a directory of the
// caller's, a tick of 500 ms (so session timeouts from 1 s to 60 s are granted), no limit of connections per address, no admin
// server, no log. It runs in a process group of its own, which is killed with the process that started it, however
// that ends. A machine that lacks the packages is an error that holds the line to type, never a reason to skip.
//
// Ports are from 20000 to 31999, and are kept until the proxy or server is gone, also while it refuses or is stopped.
//
// A server takes about a second to start; tests of one package can share one:
//
//	var server *zktest.Server
//
//	func TestMain(m *testing.M) { os.Exit(zktest.Main(m, &server)) }
//
// Main also looks for goroutines that were left behind. Each test then works below a znode of its own.
package zktest
