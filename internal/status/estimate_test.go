// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
)

// walkedAll is a run whose first walk is over.
func walkedAll(ended int, work wire.Work) *wire.Meta {
	return &wire.Meta{Stage: wire.Stage{Phase: wire.Walking, Fed: true}, Ended: wire.Counts{Completed: ended}, Work: work}
}

func TestEstimate(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	even := func(n int) wire.Work { return wire.Work{Paths: n, Seconds: float64(2 * n), Squares: float64(4 * n)} }
	uneven := wire.Work{Paths: 50, Seconds: 100, Squares: 100 * 100} // one of them took it all
	walking := walkedAll(100, even(100))
	walking.Stage.Fed = false
	ending := walkedAll(100, even(100))
	ending.Stage.Phase = wire.Ending
	for _, c := range []struct {
		name      string
		meta      *wire.Meta
		remaining int
		flushing  int
		lead      *wire.LeaderStatus
		rate      float64 // paths a second
		want      string
	}{
		{"nothing is known", &wire.Meta{Stage: wire.Stage{Phase: wire.Walking}}, 0, 0, nil, 0, " 0-0"},
		{"a walk nobody knows the place of", walking, 100, 0, &wire.LeaderStatus{}, 0, " 0-0"},
		{"half of the tree walked", walking, 300, 0, &wire.LeaderStatus{Walked: 0.5}, 0, "walk ~6-25 300s-1500s"},
		{"the walk has come far", walking, 10, 0, &wire.LeaderStatus{Walked: 0.9}, 0, "walk ~40-91 10s-144s"},
		{"even paths", walkedAll(100, even(100)), 300, 0, nil, 0, "paths ~25-25 300s-300s"},
		{"even paths, and the last minutes", walkedAll(100, even(100)), 300, 0, nil, 2, "paths ~25-25 150s-300s"},
		{"uneven paths", walkedAll(50, uneven), 50, 0, nil, 0, "paths ~20-99 0s-380s"},
		{"some are to be flushed", walkedAll(40, even(40)), 60, 20, nil, 0, "paths ~60-60 67s-67s"},
		{"one is left", walkedAll(999_999, even(999_999)), 1, 0, nil, 0, "paths ~99-99 0s-0s"},
		{"all are sent, and it goes on", walkedAll(100, even(100)), 0, 0, nil, 0, "paths ~99-99"},
		{"all is done", ending, 0, 0, nil, 0, "paths 100-100"},
		{"an earlier report", walkedAll(100, even(100)), 300, 0, &wire.LeaderStatus{Foreseen: &wire.Foreseen{Total: 200, Done: 100}}, 2, "report ~45-55 82s-122s"},
		{"an earlier report at the end", walkedAll(100, even(100)), 1, 0, &wire.LeaderStatus{Foreseen: &wire.Foreseen{Total: 100, Done: 100}}, 0, "report ~90-99 0s-11s"},
	} {
		s := &Snapshot{Time: at, Began: at.Add(-100 * time.Second), State: Running, Paths: Paths{Remaining: c.remaining, Flushing: c.flushing}, Rates: Rates{Paths: c.rate}}
		e := estimate(s, c.meta, c.lead)
		got := e.By + " "
		if e.By != "" && e.Guess {
			got += "~"
		}
		got += fmt.Sprintf("%d-%d", int(e.Percent.Low), int(e.Percent.High+0.11)) // 99.9 is all but something
		if e.Percent.High == 100*almost {
			got = fmt.Sprintf("%s ~%d-%d", e.By, int(e.Percent.Low), int(e.Percent.High))
		}
		if e.Seconds != nil {
			got += fmt.Sprintf(" %.0fs-%.0fs", e.Seconds.Low, e.Seconds.High)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s (%+v)", c.name, got, c.want, e)
		}
	}
}

// Whatever the numbers are, an estimate is a range between nothing and almost all, and everything only when it is done.
func TestEstimateIsSane(t *testing.T) {
	for seed := range uint64(20_000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		n := func() int { return rnd.IntN(1 + rnd.IntN(1_000_000)) }
		meta := walkedAll(n(), wire.Work{Paths: n(), Seconds: rnd.Float64() * 1e6, Squares: rnd.Float64() * 1e9})
		meta.Stage.Fed, meta.Stage.Pass = rnd.IntN(2) == 0, rnd.IntN(2)
		lead := &wire.LeaderStatus{Walked: rnd.Float64() * 1.1}
		if rnd.IntN(3) == 0 {
			lead.Foreseen = &wire.Foreseen{Total: rnd.Float64() * 1e6, Done: rnd.Float64() * 1e6}
		}
		s := &Snapshot{Time: time.Unix(1e6, 0), Began: time.Unix(1e6-rnd.Int64N(1e5), 0), State: Running, Rates: Rates{Paths: rnd.Float64()}}
		s.Paths.Remaining = n()
		s.Paths.Flushing = rnd.IntN(s.Paths.Remaining + 1)
		e := estimate(s, meta, lead)
		if p := e.Percent; !(p.Low >= 0 && p.Low <= p.High && p.High < 100) {
			t.Fatalf("seed %d: %+v", seed, e)
		}
		if r := e.Seconds; r != nil && !(r.Low >= 0 && r.Low <= r.High) {
			t.Fatalf("seed %d: %+v", seed, *e.Seconds)
		}
	}
}
