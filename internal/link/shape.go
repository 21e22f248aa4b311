// SPDX-License-Identifier: LGPL-2.1-or-later

package link

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// shaper bounds what many connections move together. A change of the bound counts at once, also for those
// that wait.
type shaper struct {
	mu      sync.Mutex
	limit   *rate.Limiter // nil: no bound
	changed chan struct{} // closed and replaced when the bound changes
	waits   time.Duration // that connections have spent waiting
}

func newShaper() *shaper { return &shaper{changed: make(chan struct{})} }

// set changes the bound, in bytes a second; 0: none.
func (s *shaper) set(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = nil
	if bytes > 0 {
		s.limit = rate.NewLimiter(rate.Limit(bytes), int(min(max(bytes/10, 4<<10), chunk))) // a tenth of a second
		s.limit.AllowN(time.Now(), s.limit.Burst())                                         // changing it again and again gives nothing
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// most is how much may be moved at once.
func (s *shaper) most() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit == nil {
		return chunk
	}
	return int64(s.limit.Burst())
}

// wait returns when so many bytes, which have been moved, are within the bound.
func (s *shaper) wait(ctx context.Context, bytes int64) error {
	began, waited := time.Now(), false
	defer func() {
		if waited {
			s.mu.Lock()
			s.waits += time.Since(began)
			s.mu.Unlock()
		}
	}()
	for bytes > 0 {
		s.mu.Lock()
		limit, changed := s.limit, s.changed
		s.mu.Unlock()
		if limit == nil {
			return nil
		}
		some := min(bytes, int64(limit.Burst()))
		reserved := limit.ReserveN(time.Now(), int(some))
		delay := reserved.Delay()
		if delay == 0 {
			bytes -= some
			continue
		}
		waited = true
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			bytes -= some
		case <-changed: // by the new bound
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return nil
}

// waited is for how long connections have waited since the last call, all together.
func (s *shaper) waited() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := s.waits
	s.waits = 0
	return waits
}
