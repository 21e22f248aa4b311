// SPDX-License-Identifier: LGPL-2.1-or-later

// Package zkclient is the program's only way to ZooKeeper: one connection, its liveness, and the recipes of
// kazoo (lock, queue, party, counter, data watch), byte for byte, so that Python clients can share them.
//
// # One Client is one session
//
// A Client never lives on in a new session. Its Context ends, with a cause that matches [ErrSessionLost], when
//
//   - the server says that the session has expired, or refuses its credentials, or
//   - the own clock runs out: 5/6 of the negotiated session timeout after the sending of the last request that
//     the server has answered, or
//   - Close is called.
//
// From then on every call returns that cause and no connection is ever made again, so a request that still waits in
// a queue cannot run in a later session, where it could delete what belongs to another client. Whoever wants
// to go on makes a new Client.
//
// The server counts the timeout from the arrival of a request, which is never earlier than its sending; so in
// server time at least a sixth of the timeout is left when the Context ends. This margin is for a timer that fires
// late, for clocks of different speed, for the half tick by which a server of an ensemble reports its sessions late
// to the leader, and for the caller to kill what the session was protecting. It is no larger because a server
// that has gone mute is given up after 2/3 of the timeout: the sixth between the two is what is left to
// reach another server and save the session.
//
// Seen with three servers, 10 s and the default ticks: a server that is killed, the leader too, or a follower that goes
// mute, costs no session; a leader that goes mute costs all of them, because the others wait for it
// longer (syncLimit, 10 s) than the sessions may. A longer SessionTimeout bridges that.
//
// # Calls
//
// Every call gives up as soon as its context ends, even when the connection is stuck. Reads and repeatable
// writes are repeated through reconnects until then. A lost connection leaves open whether a change was
// made; each call finds out before it returns or repeats (see the method), only [Client.Multi] may say
// [ErrConnectionLoss]. What a call was about to own when it was abandoned (a lock, a queue entry) is given back in
// the background.
//
// # Queues
//
// A Queue works from a local copy of the free names: it is read when it has none left, or is as old as PollInterval, or has
// been wrong too often. A take reads the values first, then makes the taken nodes in one transaction with a check that the
// entries are there: one read and one transaction for an entry, n reads side by side and one transaction for n (and
// one read of who has taken what, if that has changed). Completing entries is one transaction too. Before it, the
// servers are asked if the entries are still ours, unless the client has a fence, which proves it (see entry.go).
//
// Errors begin with "cannot", name the znode, and match one of the Err variables with errors.Is; the end of the context
// matches its cause. No error or log line holds the password.
//
// A broken connection is logged at WARN, a standing one at INFO, what the library has to say at DEBUG, by the logger
// "ZooKeeper".
//
// # Paths and data
//
// Paths are absolute; a chroot given with the servers is put in front of them here and appears in errors only.
// Data is never absent (kazoo fails on a null): nil is written as the empty string. A request may have at
// most 1,048,575 bytes; what is larger is refused here, because the server would drop the connection.
//
// # Wire format of the recipes
//
//	lock    <path>/<32 hex>__lock__<10 digits>          ephemeral sequential; data: identifier
//	party   <path>/<32 hex>__party__                    ephemeral; data: identifier
//	queue   <path>/entries/entry-<3 digits>-<10 digits> persistent sequential; data: the value
//	        <path>/taken/<entry name>                   ephemeral; data: 32 hex digits, the queue object's id
//	counter <base>/<name>                               decimal ASCII, empty is 0
//
// Parents made on the way are persistent and empty; all nodes get the ACL of the client's user.
//
// Source of the facts: kazoo 2.8 to 2.11 and ZooKeeper 3.8.
package zkclient
