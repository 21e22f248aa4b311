// SPDX-License-Identifier: LGPL-2.1-or-later

// Package guard tells whether what a client works on is still what it was: its base, the mounts
// below that, and the path of a run. What it finds wrong would lose or delete something at the
// destination.
//
// A [Base] is the base path of a source or a destination, judged whenever something is about to be
// sent from or into it, with --delete and without.
//
// # The base as a whole
//
// What the base is when it is first looked at, it has to remain: the mount it lies on, the file system, the
// inode. If that is unmounted, or something is mounted over it, the base is away: its client waits, says
// so once ([Base.Await]), and goes on when it is back. A file system that was unmounted and mounted again
// is the same, whatever its mount is called now (pathbuilder.Place says by what it is known). [Base.Turns]
// counts how often that happened: what was seen between two looks that give the same number was seen of the
// base, and anything else means nothing. So paths in hand are given back, no attempt at them counts, and
// none is taken for vanished.
//
// A client that starts where nothing is mounted cannot know by itself. So the leader publishes what its
// base is ([Base.Describe]), and a worker compares its own with it until they agree ([Base.Expect]).
// It waits if its base is empty and the leader's is not, or has neither the inode nor any of the names;
// or if it is empty where a file system is mounted below the leader's. Other inodes or other names
// alone are no reason.
//
// [Room] and [TryWrite] say whether something can be written into a base, and leave no trace in it.
//
// Of two bases on one machine [Overlap] tells whether one is in the other.
//
// # Below the base
//
// A [Source] knows what is left out of the base. What was mounted below it when the client started has to
// be as it was: a path that lies on something else is not sent. Of a path that has something like
// that in it, all else is sent: rsync's filters keep that directory from being sent, and from being
// deleted at the destination. Where a mount is new that is all. Where one has gone the path counts
// as failed in the end, as not all of it has arrived. New mounts count only where rsync may delete; else
// what is mounted on demand is sent as any directory is.
//
// What the walk excludes in a directory is kept from being made or deleted by rsync's filters.
package guard
