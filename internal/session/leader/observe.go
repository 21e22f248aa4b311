// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
)

// What the leader says of the run follows from looks at it as anybody else has them (package status), one after the
// other: how much was done in the last minutes, and that nothing moves any more.

// lately is how far back rates go.
const lately = 5 * time.Minute

// observer looks at the run as long as there is work.
type observer struct {
	works bool // the leader's own jobs are a source too
	log   *slog.Logger

	totals status.Totals // at the last look

	looks   []look           // of the time that rates are about, the oldest first
	sent    int64            // over links, since the first look
	counted map[string]int64 // of that, by source

	wait  *waiting  // nil: the run goes on
	moved time.Time // when anything had changed at a look
	why   string    // the reason for standing still at the last look, see reason
	since time.Time // when it became that

	mu   sync.Mutex
	said *wire.LeaderStatus // nil: there was no look yet
}

// look is how much was done at one moment.
type look struct {
	at     time.Time
	queued int
	ended  int // paths that were sent, or have failed, also if their destination has not flushed them
	files  int64
	sent   int64
	walked float64
}

// same tells whether nothing has moved between two looks.
func (l look) same(m look) bool { l.at = m.at; return l == m }

// waiting is a reason for standing still.
type waiting struct {
	why   string
	since time.Time
	told  time.Time // zero: it has not been so for long enough
}

// observe looks at the run again and again until the function that it gives is called, or ctx ends.
func (l *Leader) observe(ctx context.Context, m *member.Member) (end func(), err error) {
	reader, err := status.NewReader(m.ZK, m.Tree.Name())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	forget := l.client.Tell(l.observer.tell)
	var looking sync.WaitGroup
	looking.Go(func() {
		most := m.Client.Timing.Status
		for pause := most / 5; zkclient.Sleep(ctx, pause) == nil; pause = min(pause+most/10, most) {
			s, err := reader.Read(ctx)
			if err != nil {
				if ctx.Err() == nil {
					l.log().Debug(err.Error(), "error", err)
				}
				continue
			}
			l.observer.take(ctx, s, l.lookAt(s), m.Client.Timing)
			l.observer.say(wire.LeaderStatus{Walked: l.walked(), Flushing: int(l.flushing.Load()), Foreseen: l.foresee()})
		}
	})
	return func() { cancel(); looking.Wait(); forget() }, nil
}

// lookAt is what the leader makes of a snapshot.
func (l *Leader) lookAt(s *status.Snapshot) look {
	now := l.ledger.now()
	return look{
		at: time.Now(), queued: now.Queued, ended: now.Ended.Ended() + int(l.flushing.Load()), files: s.Totals.Files, sent: l.observer.count(s), walked: l.walked(),
	}
}

// count is how much sources have sent over links since the first look. One that has gone stays counted.
func (o *observer) count(s *status.Snapshot) int64 {
	first := o.counted == nil
	if first {
		o.counted = map[string]int64{}
	}
	for _, c := range s.Clients {
		if c.Source == nil {
			continue
		}
		if more := c.Source.Sent - o.counted[c.Who]; more > 0 && !first {
			o.sent += more
		}
		o.counted[c.Who] = c.Source.Sent
	}
	return o.sent
}

// walked is the part of the tree that the first walk has come through.
func (l *Leader) walked() float64 {
	now := l.ledger.now().Stage
	switch first := now.Phase == wire.Walking && now.Pass == 0 && !now.Whole; {
	case !first || now.Fed:
		return 1
	case l.list != nil:
		return float64(now.Found) / float64(max(len(l.list.tasks), 1))
	}
	return l.survey.walked()
}

// foresee is what an earlier run's report makes of this one; nil: there is none.
func (l *Leader) foresee() *wire.Foreseen {
	history := l.ledger.history
	if history == nil {
		return nil
	}
	now := l.ledger.now()
	open := history.of(l.ledger.missing()...)
	f := &wire.Foreseen{Done: now.Work.Foreseen, Total: now.Work.Foreseen + open}
	if l.walked() < 1 {
		f.Total = max(f.Total, history.sum())
	}
	f.Done = min(f.Done+history.mean()*float64(l.flushing.Load()), f.Total)
	return f
}

// tell adds to what this client says of itself.
func (o *observer) tell(s *wire.Status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Leader = o.said
}

// say makes what is told from now on.
func (o *observer) say(s wire.LeaderStatus) {
	first, last := o.looks[0], o.looks[len(o.looks)-1]
	s.Progress = o.moved.Unix()
	if over := last.at.Sub(first.at).Seconds(); over > 0 {
		rate := func(n int64) float64 { return max(float64(n)/over, 0) } // a run that was given back takes its bytes with it
		s.Rates = wire.Rates{Over: over, Paths: rate(int64(last.ended - first.ended)), Files: rate(last.files - first.files), Bytes: rate(last.sent - first.sent)}
	}
	if o.wait != nil && !o.wait.told.IsZero() {
		s.Waits = []wire.Wait{{For: o.wait.why, Since: o.wait.since.Unix()}}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = &s
}

// take notes a look, and logs that the run stands still: once, and again every now and then.
func (o *observer) take(ctx context.Context, s *status.Snapshot, now look, timing member.Timing) {
	o.totals = s.Totals
	if len(o.looks) == 0 || !now.same(o.looks[len(o.looks)-1]) {
		o.moved = now.at
	}
	o.looks = append(o.looks, now)
	for len(o.looks) > 2 && now.at.Sub(o.looks[1].at) >= lately {
		o.looks = o.looks[1:]
	}
	why, text := o.reason(s)
	if why != o.why {
		o.why, o.since = why, now.at
	}
	began := o.since
	if why == wire.WaitBytes {
		if o.moved.After(began) {
			began = o.moved
		}
		if now.at.Sub(began) < timing.Still {
			why = ""
		}
	}
	if o.wait != nil && o.wait.why != why {
		if !o.wait.told.IsZero() && why == "" && s.Control.Held() == "" {
			o.log.InfoContext(ctx, "The run goes on", "event", "goes-on")
		}
		o.wait = nil
	}
	if why == "" {
		return
	}
	if o.wait == nil {
		o.wait = &waiting{why: why, since: began}
	}
	w := o.wait
	if now.at.Sub(w.since) < timing.Missing || !w.told.IsZero() && now.at.Sub(w.told) < timing.Again {
		return
	}
	w.told = now.at
	o.log.WarnContext(ctx, fmt.Sprintf("The run stands still since %s: %s", w.since.Format(time.TimeOnly), text), "event", "standing-still-"+why)
}

// reason is what the run waits for, in short and in words; "" if it is not known to wait for anything. That nothing
// moves means something only once it has lasted.
func (o *observer) reason(s *status.Snapshot) (why, text string) {
	sources, dests, paused, unknown := 0, 0, "", false
	programs := map[string]string{}
	for _, c := range s.Clients {
		programs[c.Who] = c.Program
		if c.Source != nil || c.Master && o.works {
			sources++
		}
		switch d := c.Dest; {
		case d == nil:
		case d.State == wire.Paused || d.State == wire.Disabled:
			paused = fmt.Sprintf("; %s waits: %s", c.Who, d.Why)
		default:
			dests++
		}
	}
	for _, run := range s.Runs { // how much has moved in these nobody can see
		unknown = unknown || programs[run.Source] == status.Python || programs[run.Destination] == status.Python
	}
	switch {
	case s.Control.Held() != "": // as a user has asked for
		return "", ""
	case sources == 0 && dests == 0 && paused == "":
		return wire.WaitClients, "neither a source nor a destination is connected"
	case sources == 0:
		return wire.WaitSources, "no source is connected that could send"
	case dests == 0:
		return wire.WaitDestinations, "no destination is connected that could receive" + paused
	case unknown:
		return "", ""
	case len(s.Runs) > 0:
		run := s.Runs[0]
		return wire.WaitBytes, fmt.Sprintf("nothing has moved; %d rsyncs are at work, the oldest since %s, from %s to %s with path %s",
			len(s.Runs), run.Began.Local().Format(time.TimeOnly), run.Source, run.Destination, run.Path)
	}
	return wire.WaitBytes, "nothing has moved, and no rsync is at work"
}
