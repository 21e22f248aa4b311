// SPDX-License-Identifier: LGPL-2.1-or-later

// Package watch shows a session while it goes on: the snapshots of package status, one after the other. It writes
// nothing to ZooKeeper, unless the user has it pause the session, which is left to Config.Steer.
//
// # On a terminal
//
// [Run] takes the whole screen, and gives it back as it was: the totals with a graph of the rate, and below them the
// panels: running paths, sources, destinations, failures. The one that has the focus takes the room that the others
// leave; where there is none for those, they are the one line that is their title. Rows are made only as far as they
// are seen. Without a session it shows the list of all of which there is a run, to choose from.
//
// What others have written is printable, as wire.Text has it, before it becomes a cell, and is cut where a character
// ends, counted in columns of the terminal. No colour says anything that words do not say, too.
//
// # Elsewhere
//
// Without a terminal, or on one that cannot place its cursor (TERM=dumb), it writes a line a minute, and one when
// something has begun or ended, until there is no run any more.
//
// # ZooKeeper
//
// A look is taken every two seconds. One that fails, or gives no answer, leaves the last snapshot where it is, marked
// with its age; the feed connects again until it is answered.
//
// # Layers
//
// feed.go looks, and hands on what it sees. model.go holds what is shown, and does what the keys say; it is changed by
// messages alone, and knows the time from them. view.go, table.go, panels.go and graph.go make lines of text from it.
package watch
