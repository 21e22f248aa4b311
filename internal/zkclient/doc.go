// SPDX-License-Identifier: LGPL-2.1-or-later

// Package zkclient is the program's only way to ZooKeeper: one connection, its liveness, and the
// recipes of kazoo (lock, queue, party, counter, data watch), byte for byte, so that Python clients
// can share them.
//
// # One Client is one session
//
// A Client never lives on in a new session. Its Context ends, with a cause that matches
// [ErrSessionLost], when
//
//   - the server says that the session has expired, or refuses its credentials, or
//   - the own clock runs out: 5/6 of the negotiated session timeout after the sending of the last
//     request that the server has answered, or
//   - Close is called.
//
// From then on every call returns that cause and no connection is ever made again. A request that
// still waits in a queue can therefore not run in a later session, where it could delete what
// belongs to another client. Whoever wants to go on makes a new Client.
//
// The server counts the timeout from the arrival of a request, which is never earlier than its
// sending. So, in the server's time, at least a sixth of the timeout is left when the Context ends.
// This margin is for a timer that fires late, for clocks of different speed, for the half tick by
// which a server of an ensemble reports its sessions late to the leader, and for the caller, who
// kills what the session was protecting. It is no larger because a mute server is given up after
// 2/3 of the timeout: what lies between the two, another sixth, is left to reach another server and
// save the session.
//
// Seen with three servers, sessions of 10 s and the default ticks: no session is lost when a server
// is killed, be it the leader, or when a follower goes mute. When the leader goes mute all sessions
// are lost, because the other servers wait for it longer (syncLimit, 10 s) than the sessions may
// last. A longer SessionTimeout bridges that.
//
// # TLS
//
// With Config.TLS every connection begins with a TLS handshake, at least version 1.2, within the limit of
// the attempt. The server's certificate must be signed by an authority that is trusted, and be for the host
// as it stands in Config.Servers, name or address. The files are read by Connect, once for a session. Without
// TLS digest credentials, and all data, go over the network in clear, and nobody knows who the server is.
//
// # Calls
//
// A call returns as soon as its context ends, even when the connection is stuck. What it was about
// to own then (a lock, a queue entry, an ephemeral node) is given back in the background.
//
// Errors begin with "cannot", name the znode, and match one of the Err variables with errors.Is.
// When the context of the call or the session has ended they match its cause. No error and no line
// of the log holds the password.
//
// # Lost replies
//
// A connection that breaks takes replies with it: the server may or may not have carried out their
// requests. The comment of every call that changes something says, after "Lost reply:", what it
// does about that. A call that only reads asks again.
//
//   - settled: the call looks for its effect and tries again if it is not there. Success means that
//     the change was made once; an error means that it was not made.
//   - repeated: the change may be made more than once, which comes to the same.
//   - open: nobody can tell. The error matches [ErrConnectionLoss], and beside that what else is
//     known: one that matches [ErrBadVersion] too says that others have changed the znode, perhaps
//     after this call has.
//
// What a call had on its way when its context or the session ended remains open, unless it is given
// back. So does what a call has no right to look for. An equal persistent node, or equal data, that
// another client has made or written meanwhile counts as the call's own.
//
// After a loss a refusal too is doubtful: the lost request may arrive late and cause it. A call
// that settles looks once more before it believes one.
//
// # Queues
//
// A Queue works from a local copy of the free names. It reads the queue when the copy has none
// left, is as old as PollInterval, or has been wrong too often. A take reads the values first and
// then makes the taken nodes, in one transaction with a check that the entries are there. So one
// entry costs one read and one transaction; n entries cost n reads side by side and one
// transaction, and one read of who has taken what, if that has changed. Completing entries is one
// transaction too. Before it, the servers are asked whether the entries are still ours, unless the
// client has a fence, which proves it (see entry.go).
//
// # Log
//
// The logger "ZooKeeper" says at WARN that a connection broke, at INFO that one stands, and at
// DEBUG what the library has to say.
//
// # Paths and data
//
// Paths are absolute. A chroot that is given with the servers is put in front of them here and
// appears in errors only. Data is never absent, because kazoo fails on a null: nil is written as
// the empty string. A request may have at most 1,048,575 bytes. A larger one is refused here,
// because the server would drop the connection.
//
// # Wire format of the recipes
//
//	lock    <path>/<32 hex>__lock__<10 digits>          ephemeral sequential; data: identifier
//	party   <path>/<32 hex>__party__                    ephemeral; data: identifier
//	queue   <path>/entries/entry-<3 digits>-<10 digits> persistent sequential; data: the value
//	        <path>/taken/<entry name>                   ephemeral; data: 32 hex, a Queue's id
//	counter <base>/<name>                               decimal ASCII, empty is 0
//
// Parents that are made on the way are persistent and empty. All nodes get the ACL of the client's
// user.
//
// Source of the facts: kazoo 2.8 to 2.11 and ZooKeeper 3.8.
package zkclient
