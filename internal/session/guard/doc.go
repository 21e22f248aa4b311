// SPDX-License-Identifier: LGPL-2.1-or-later

// Package guard tells whether what a client works on is still what it was: its base, the mounts
// below that, and the path of a run. What it finds wrong would lose or delete something at the
// destination.
//
// A [Base] is the base path of a source or a destination, judged whenever something is about to be
// sent from or into it. A [Source] knows in addition what a source was when this client started: at
// every component of a path, without following links, it looks for what has changed, and, if rsync
// may delete, whether the same file systems are mounted as at the start, before and after each run.
// What the walk excludes in a directory is kept from being made or deleted by rsync's filters.
package guard
