// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"vsc-zk/internal/session/wire"
)

// underway are the runs of a worker, for its client to say what they do.
type underway struct {
	mu    sync.Mutex
	runs  map[*run]*pulse
	ended pulse // of all that are over
	all   pulse // at the last look
}

// pulse is how much was sent at the last look at it.
type pulse struct {
	sent int64
	at   time.Time
}

// beat notes how much was sent by now, and gives the bytes in a second since the last look.
func (p *pulse) beat(sent int64, now time.Time) int64 {
	took := now.Sub(p.at).Seconds()
	rate := int64(float64(sent-p.sent) / max(took, 0.001))
	p.sent, p.at = sent, now
	return max(rate, 0)
}

// begin notes a run until the function that it gives is called.
func (u *underway) begin(r *run) (end func()) {
	r.began = time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.runs == nil {
		u.runs = map[*run]*pulse{}
	}
	if u.all.at.IsZero() {
		u.all.at = r.began
	}
	u.runs[r] = &pulse{at: r.began}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.runs, r)
		u.ended.sent += r.sent()
	}
}

// sent is how much has gone over the link of a run.
func (r *run) sent() int64 {
	if conn := r.conn.Load(); conn != nil {
		return conn.Sent.Load()
	}
	return 0
}

// tell adds to what this client says of itself.
func (w *Worker) tell(s *wire.Status) {
	u, now := &w.underway, time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	source := &wire.SourceStatus{Jobs: int(w.jobs.Load()), Sent: u.ended.sent}
	for r, p := range u.runs {
		sent := r.sent()
		source.Sent += sent
		source.Runs = append(source.Runs, wire.RunStatus{
			Path: r.parts[0].held.task.Value, Paths: len(r.parts), Destination: r.dest.Dest.Whoami, Began: r.began.Unix(), Attempt: r.attempt,
			Sent: sent, Rate: p.beat(sent, now),
		})
	}
	slices.SortFunc(source.Runs, func(a, b wire.RunStatus) int {
		return cmp.Or(cmp.Compare(a.Began, b.Began), cmp.Compare(a.Path, b.Path))
	})
	source.Rate = u.all.beat(source.Sent, now)
	s.Source = source
}
