// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"vsc-zk/internal/link"
	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
)

// Transport is how tasks get to a destination: [Rsync], or [Lines] for the netcat test of a session.
type Transport interface {
	// publish tells others what they have to know of this source before it sends anything.
	publish(context.Context, *member.Member) error
	// judge says what is known of destinations that the protocol does not tell.
	judge(*member.Member) pool.Judge
	// shape keeps what is sent within this source's share of the bandwidth until ctx ends. noted is told of what
	// bound of the session that is a share, 0 for none.
	shape(ctx context.Context, m *member.Member, noted func(limit int64))
	// skip has paths, by their names below the base, not sent from now on.
	skip([]wire.Text)
	// skips tells whether that is so of something in these parts, which it was not when they were looked at.
	skips([]part) bool
	// problem says why nothing can be sent now, nil if it can.
	problem() error
	// turns is an error if the source is away. Between two calls with the same number it was there all the
	// time.
	turns() (int, error)
	// await returns when something can be sent, or ctx ends; it looks every so often.
	await(ctx context.Context, every time.Duration) error
	// kind is the task's: tasks of one kind that joins may go into one run.
	kind(wire.Task) wire.Kind
	// look says what is to be sent of a task. An error ends this client.
	look(context.Context, held) (part, error)
	// hold keeps back, of a run that is about to be sent, what a later pass sends better.
	hold(context.Context, *member.Member, *run) error
	// send carries a run until it ends or ctx does, and adds to the result what was seen on the way.
	send(ctx context.Context, r *run, res *wire.Result) (rsyncrunner.Result, error)
	// begun tells whether a run that is ended now would lose more of a large file than is worth it: what another run
	// would begin anew. Files are large from so many bytes on.
	begun(r *run, large int64) bool
	// try reports whether a run that sends nothing ends well at a destination.
	try(context.Context, *pool.Held) (bool, error)
	// again is the second look at what was sent, directly after it; an error says why it cannot count.
	again([]part) error
	// gone is the outcome of a part that is not as it was queued any more, Unended if it is.
	gone(part) wire.Outcome
	// note records what later passes have to know of a run that was sent.
	note(context.Context, *member.Member, *run) error
}

// part is one task of a run.
type part struct {
	held     held
	rel      string              // of its directory, below the base
	excluded map[string]bool     // directories that are left out, below the base
	names    []string            // what the run has of it, below the base
	patterns []string            // that keep rsync from what is excluded
	skipped  []string            // what of it is not to be sent, below the base
	apart    []pathbuilder.Apart // what is kept back, as it is on another file system than it was

	fate    wire.Outcome // nothing is to be sent, and why; Unended: it is
	problem error        // why it cannot be sent now
}

// doing is what a run does with a part, in a log line.
func (p part) doing() string {
	switch dir, t := wire.Text(p.held.task.Dir), p.held.task; t.Kind {
	case wire.Links:
		return fmt.Sprintf("sending %d files that are linked", len(t.Files))
	case wire.Listed:
		return fmt.Sprintf("sending %d listed names, the first %s", len(t.Files), t.Files[0])
	case wire.Range:
		return fmt.Sprintf("sending files from %q on of path %s", t.From, dir)
	case wire.Leftovers:
		return fmt.Sprintf("sending deletions in path %s", dir)
	case wire.Unreadable:
		return fmt.Sprintf("sending %s", t.Value)
	default:
		return fmt.Sprintf("sending path %s", dir)
	}
}

// run is what goes to a destination at once: parts of one kind.
type run struct {
	parts     []part
	dest      *pool.Held
	name      string            // in log lines
	held      map[string]uint64 // files that are kept back, by their paths below the base, and their inodes
	maxDelete *int              // nil: any number
	grace     time.Duration     // between SIGTERM and SIGKILL when it is stopped
	refused   error             // why the destination could not be reached, or did not let it in; nil: it did

	began   time.Time
	attempt int                                 // from 1
	conn    atomic.Pointer[link.Conn]           // nil: it has no link
	rsync   atomic.Pointer[rsyncrunner.Running] // nil: it does not run yet
}

func (r *run) kind() wire.Kind { return r.parts[0].held.task.Kind }
