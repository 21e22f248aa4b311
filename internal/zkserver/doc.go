// SPDX-License-Identifier: LGPL-2.1-or-later

// Package zkserver starts ZooKeeper servers on this machine: those of tests (package zktest adds what only
// these need), and the private one of "zkrsync --local".
//
// A server is Debian's (packages zookeeper and a Java runtime), or one unpacked from ZooKeeper's tarball. It
// is one Java process that leads a process group of its own, so that Ctrl-C at a terminal does not end it
// before its clients, and that the kernel kills when the process that started it ends, however that ends.
// Where something is missing the error says what to type.
//
// # Private servers
//
// [Private] gives one that nobody else uses: it listens on a free port of 127.0.0.1, and is not taken for
// started before the process that listens there is known to be its own. So a program of another user that
// takes the port first learns no password. What other users of the machine can still do is connect: whoever
// uses the server sets its rights.
//
// It keeps its data over a restart, but does not wait for the disk: a power cut may take back the last
// seconds, as a whole.
package zkserver
