// SPDX-License-Identifier: LGPL-2.1-or-later

// Package member is a client's place in a session, whatever its role.
//
// A [Client] is one process over all its ZooKeeper sessions, a [Member] is that client in one of
// them: connected, in its parties, and fenced by its own party znode. Run plays a role in a Member.
// When the ZooKeeper session is lost, the role's context ends, so that children are stopped before
// anybody else can have been given their path; once the role has returned it is played again in a
// new one. The first connection has to succeed within the connect time-out; later ones are tried until
// they do, because a session of days should outlive a restart of ZooKeeper.
//
// A client's name, <host>:<pid>, is its own: one that finds an older client of that name in its first
// party takes another number, which no process of a host has.
//
// The rest is what several roles need: the watch on S/watch/ready, which also tells one session of
// the name from the next (the epoch), whether the leader knows the extensions, what users ask for while
// the run is under way ([Steering]), the budget of deletions, and S/status: what a client says of itself, from
// what its parts have to tell (Client.Tell).
package member
