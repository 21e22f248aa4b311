// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"vsc-zk/internal/status"
)

// feed is the one reader that all who look share.
type feed struct {
	look func(context.Context) ([]*status.Snapshot, error)
	busy time.Duration // between two looks while somebody wants to see something
	idle time.Duration // and while nobody does

	wake chan struct{} // holds one when somebody wants to see something now

	mu      sync.Mutex
	now     view
	changed chan struct{} // closed when now is replaced
	viewers int
}

// view is what is known of all sessions. It is not changed any more once it is published.
type view struct {
	at       time.Time // of the last look that worked; zero: there was none
	err      error     // of the look after that
	sessions []seen    // by name
}

// seen is what is known of one session.
type seen struct {
	name    string
	now     *status.Snapshot // nil: there is no run of it any more
	last    *status.Snapshot // the last one of a run; nil: none was seen
	over    time.Time        // when last was found to be over; zero: it is not
	history []point
}

// point is what was done in a second, in the mean over some time.
type point struct {
	at    time.Time
	bytes float64
	files float64
	looks int
}

const (
	grain   = 10 * time.Second // that a point stands for
	longest = time.Hour        // that a history goes back
	maxOver = 20               // sessions that are over and are still shown
)

func newFeed(look func(context.Context) ([]*status.Snapshot, error)) *feed {
	return &feed{look: look, busy: 2 * time.Second, idle: 15 * time.Second, wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

// run looks again and again until ctx ends.
func (f *feed) run(ctx context.Context) {
	for {
		found, err := f.look(ctx)
		if ctx.Err() != nil {
			return
		}
		f.mu.Lock()
		f.now = f.now.next(time.Now(), found, err)
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
		if !f.pause(ctx) {
			return
		}
	}
}

// pause waits for the next look; false: ctx has ended.
func (f *feed) pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(f.busy):
	}
	f.mu.Lock()
	wanted := f.viewers > 0
	f.mu.Unlock()
	if wanted {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-f.wake:
	case <-time.After(f.idle - f.busy):
	}
	return true
}

// current is what is known now, and what tells of the next.
func (f *feed) current() (view, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.changed
}

// latest is what is known now; what is not fresh is read once more, unless ctx ends first.
func (f *feed) latest(ctx context.Context) view {
	now, changed := f.current()
	if time.Since(now.at) < 2*f.busy {
		return now
	}
	f.hurry()
	select {
	case <-changed:
		now, _ = f.current()
	case <-ctx.Done():
	}
	return now
}

func (f *feed) hurry() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// follow has the feed look often until done is called; it is false if there are most who do so already.
func (f *feed) follow(most int) (done func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.viewers >= most {
		return nil, false
	}
	f.viewers++
	f.hurry()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.viewers--
	}, true
}

// next is what is known after one more look.
func (v view) next(now time.Time, found []*status.Snapshot, err error) view {
	if err != nil {
		return view{at: v.at, err: err, sessions: v.sessions}
	}
	next := view{at: now}
	for _, s := range v.sessions {
		if slices.ContainsFunc(found, func(f *status.Snapshot) bool { return f.Session == s.name }) || s.last == nil {
			continue
		}
		s.now = nil
		if s.over.IsZero() {
			s.over = now
		}
		next.sessions = append(next.sessions, s)
	}
	slices.SortStableFunc(next.sessions, func(a, b seen) int { return b.over.Compare(a.over) })
	next.sessions = next.sessions[:min(len(next.sessions), maxOver)]
	for _, snapshot := range found {
		s, _ := v.session(snapshot.Session)
		next.sessions = append(next.sessions, s.next(now, snapshot))
	}
	slices.SortFunc(next.sessions, func(a, b seen) int { return cmp.Compare(a.name, b.name) })
	return next
}

// session finds one by its name.
func (v view) session(name string) (seen, bool) {
	for _, s := range v.sessions {
		if s.name == name {
			return s, true
		}
	}
	return seen{}, false
}

// next is what is known of a session after one more look. A run that has the name of one that is over begins anew.
func (s seen) next(now time.Time, snapshot *status.Snapshot) seen {
	n := seen{name: snapshot.Session, now: snapshot, last: s.last, over: s.over, history: s.history}
	if snapshot.State == status.None {
		if n.last != nil && n.over.IsZero() {
			n.over = now
		}
		return n
	}
	if !s.over.IsZero() || s.last != nil && !s.last.Began.Equal(snapshot.Began) {
		n.history = nil
	}
	n.last, n.over = snapshot, time.Time{}
	n.history = extend(n.history, point{at: now.Truncate(grain), bytes: float64(snapshot.Rates.Now), files: snapshot.Rates.Files, looks: 1})
	return n
}

// extend adds a look to a copy of a history.
func extend(history []point, p point) []point {
	from, _ := slices.BinarySearchFunc(history, p.at.Add(-longest), func(p point, t time.Time) int { return p.at.Compare(t) })
	history = slices.Clone(history[from:])
	if n := len(history); n > 0 && history[n-1].at.Equal(p.at) {
		last := &history[n-1]
		last.looks++
		last.bytes += (p.bytes - last.bytes) / float64(last.looks)
		last.files += (p.files - last.files) / float64(last.looks)
		return history
	}
	return append(history, p)
}
