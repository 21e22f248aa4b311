// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"vsc-zk/internal/session/wire"
)

// errHeld ends what a job waits for when it is to begin nothing.
var errHeld = errors.New("nothing is to be begun now")

// gate lets so many jobs begin something, those with the lowest numbers.
type gate struct {
	mu      sync.Mutex
	open    int                             // jobs that it lets through
	changed chan struct{}                   // closed when open changes
	inside  map[int]context.CancelCauseFunc // ends what a job may begin, by number
	running int                             // jobs that have paths in hand
	limit   int64                           // of the session's bandwidth
	kick    chan struct{}                   // there is something new to be said of the jobs
}

func newGate() *gate {
	return &gate{changed: make(chan struct{}), inside: map[int]context.CancelCauseFunc{}, kick: make(chan struct{}, 1)}
}

// set lets so many jobs through, and keeps the others from beginning anything.
func (g *gate) set(open int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if open == g.open {
		return
	}
	g.open = open
	close(g.changed)
	g.changed = make(chan struct{})
	maps.DeleteFunc(g.inside, func(number int, end context.CancelCauseFunc) bool {
		if number >= open {
			end(errHeld)
		}
		return number >= open
	})
}

// lets tells whether a job is let through.
func (g *gate) lets(number int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return number < g.open
}

// enter waits until a job is let through. The context that it gives ends when the job is to begin nothing more;
// end is to be called when it has nothing in hand.
func (g *gate) enter(ctx context.Context, number int) (open context.Context, end func(), err error) {
	for {
		g.mu.Lock()
		if number < g.open {
			defer g.mu.Unlock()
			open, cancel := context.WithCancelCause(ctx)
			g.inside[number] = cancel
			return open, func() { cancel(nil) }, nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// work notes that a job has paths in hand, until the function that it gives is called.
func (g *gate) work() (end func()) {
	count := func(change int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running += change
		g.news()
	}
	count(1)
	return func() { count(-1) }
}

// bound notes of what bound of the session this source has a share.
func (g *gate) bound(limit int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	g.news()
}

// news has somebody look at what there is to be said. The caller holds mu.
func (g *gate) news() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// steer has jobs begin or begin nothing, as users ask for, and says what was noted of that. start begins one more
// job. It returns when the session is over.
func (s *shift) steer(ctx context.Context, start func(number int)) error {
	m, g := s.m, s.gate
	var said *wire.Heed
	for started := 0; ; {
		control, version, changed := s.steering.Now()
		jobs := control.JobsOf(m.Client.Whoami, s.worker.cfg.Jobs)
		s.worker.jobs.Store(int64(jobs))
		for ; started < jobs; started++ {
			start(started)
		}
		held := control.Held()
		if held {
			g.set(0)
		} else {
			g.set(jobs)
		}
		g.mu.Lock()
		heed := wire.Heed{Version: version, Jobs: jobs, BwLimit: g.limit}
		if held {
			heed.Running = g.running
		}
		g.mu.Unlock()
		if s.knowsExtensions() && (said == nil || heed != *said) {
			if said != nil && said.Jobs != jobs {
				m.Log.Warn(fmt.Sprintf("This source runs %d jobs from now on, as was asked for", jobs), "event", "jobs", "jobs", jobs)
			}
			if err := m.Publish(s.waiting, m.Tree.Heed(m.Client.Whoami), heed.Encode()); err != nil {
				if s.waiting.Err() != nil {
					return nil
				}
				return fmt.Errorf("cannot say what was noted of the control: %w", err)
			}
			said = &heed
		}
		extended := s.extended
		if said != nil {
			extended = nil
		}
		select {
		case <-changed:
		case <-g.kick:
		case <-extended:
		case <-s.waiting.Done():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
