// SPDX-License-Identifier: LGPL-2.1-or-later

// Package pool is the protocol by which workers get destinations, both sides of it.
//
// A destination reserves a port, publishes it in S/portmap, says in S/dests that it is active, and puts
// itself into S/destQueue, or S/extDestQueue if it serves only Go sources, as often as it has slots ([Offer]).
// Go sources take from both. A job locks one of these entries and
// keeps it as long as that destination is fine ([Holder]): connected, on the port of the entry, and
// not paused. An entry whose destination is not fine is consumed; the destination adds what is missing
// when it is fine again.
//
// A destination that a worker does not want to use ([Judge]) it gives back for others, and says so once.
//
// A destination that fails is put behind the others, so that the next attempt meets another one if
// there is any. One that does not answer, or has failed at several paths in a row, is set aside by
// the worker: taken out of the queue with all its slots, and put back after a pause. [Record] has what
// a worker remembers of that over its ZooKeeper sessions.
//
// One that has no room for a path may have room for others, and looks after itself if it is full:
// nothing is held against it. The job gives it back and takes one that was not tried with that path, if
// one is free ([Holder.Exchange]).
package pool
