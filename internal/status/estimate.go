// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"math"

	"vsc-zk/internal/session/wire"
)

// What an estimate rests on.
const (
	ByReport = "report" // the seconds that each path took in an earlier run
	ByPaths  = "paths"  // the number of paths, all of which are known, and the seconds that they have taken so far
	ByWalk   = "walk"   // the number of paths so far, and how far the walk has come in the tree
)

// almost is the most of what is done, with something left.
const almost = 0.999

// estimate guesses how far a run is.
//
// While the first walk goes on nobody knows how many paths there will be. What is queued is the least, which bounds
// what is done from above; the place of the walk in the tree tells how many there may be, give or take a factor of two.
// When all paths are queued, those that are left take what the others took in the mean, within twice the deviation of
// that. With an earlier run's report each path counts with the seconds that it took then, and one that was not in it as
// the mean.
//
// How long it goes on follows from what was done in all the time, and from the paths of the last minutes; these two
// bound the range.
func estimate(s *Snapshot, meta *wire.Meta, lead *wire.LeaderStatus) Estimate {
	e := Estimate{Guess: true}
	ended, left := float64(meta.Ended.Ended()+s.Paths.Flushing), float64(s.Paths.Remaining-s.Paths.Flushing)
	all := ended + left
	stage := meta.Stage
	walking := stage.Phase == wire.Walking && stage.Pass == 0 && !stage.Fed
	var done Range
	switch {
	case lead != nil && lead.Foreseen != nil && lead.Foreseen.Total > 0:
		part := lead.Foreseen.Done / lead.Foreseen.Total
		e.By, done = ByReport, Range{part * 0.9, part * 1.1}
	case all == 0 || walking && (lead == nil || lead.Walked <= 0):
		return e
	case walking:
		part := ended / all * min(lead.Walked, 1)
		e.By, done = ByWalk, Range{part / 2, min(part*2, ended/all)}
	default:
		e.By, done = ByPaths, byPaths(ended, left, meta.Work)
	}
	if s.Paths.Remaining == 0 && stage.Phase == wire.Ending {
		done, e.Guess = Range{1, 1}, false
	} else {
		done.High = min(done.High, almost)
		done.Low = min(done.Low, done.High)
	}
	e.Percent = Range{100 * done.Low, 100 * done.High}
	if s.State == Running && s.Control.Held() == "" && left > 0 && done.Low > 0 {
		recent := 0.0
		if e.By == ByPaths && s.Rates.Paths > 0 {
			recent = left / s.Rates.Paths
		}
		e.Seconds = remaining(s.Time.Sub(s.Began).Seconds(), done, recent)
	}
	return e
}

// byPaths is what is done when so many paths have ended and so many are left, from what those that have ended took.
func byPaths(ended, left float64, work wire.Work) Range {
	n := float64(work.Paths)
	if n < 2 || work.Seconds <= 0 {
		return Range{ended / (ended + left), ended / (ended + left)}
	}
	mean := work.Seconds / n
	variance := max(work.Squares/n-mean*mean, 0)
	deviation := 2 * math.Sqrt(variance*left*(1+left/n))
	did, rest := ended*mean, left*mean
	return Range{did / (did + rest + deviation), did / (did + max(rest-deviation, 0))}
}

// remaining is how many seconds are left when a part was done in so many; recent is what follows from the last minutes,
// 0: nothing does.
func remaining(elapsed float64, done Range, recent float64) *Range {
	rest := func(part float64) float64 { return elapsed * (1 - part) / part }
	r := Range{rest(done.High), rest(done.Low)}
	if recent > 0 {
		r.Low, r.High = min(r.Low, recent), max(r.High, recent)
	}
	return &r
}
