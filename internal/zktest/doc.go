// SPDX-License-Identifier: LGPL-2.1-or-later

// Package zktest is for tests, the demo and the benchmarks only. It has a real ZooKeeper on a
// loopback port, a proxy that makes the faults of networks, ports that nobody else takes, and a
// reader of whole znode trees.
//
// The server is Debian's (packages zookeeper and a Java runtime): one process with its data in a
// directory of the caller's. It has a tick of 500 ms, so that it grants session timeouts from 1 s
// to 60 s, no limit of connections per address, no admin server, and no log. It runs in a process
// group of its own, which is killed with the process that started it, however that ends. Where the
// packages are missing there is an error with the line to type, and never a reason to skip.
//
// StartSecure has the server listen for TLS, too, with certificates that an [Authority] signs. Debian's jars can
// do that, with one that the server's manifest does not name.
//
// An [Ensemble] is three servers, each of which can be killed, paused and started again. It takes some three
// seconds to start.
//
// Ports are from 20000 to 31999. A proxy or a server keeps its port until it is gone, also while it
// refuses connections or is stopped.
//
// A server takes about a second to start. Tests of one package can share one:
//
//	var server *zktest.Server
//
//	func TestMain(m *testing.M) { os.Exit(zktest.Main(m, &server)) }
//
// Each test then works below a znode of its own. Main also looks for goroutines that were left
// behind. MainEnsemble is the same with an ensemble.
package zktest
