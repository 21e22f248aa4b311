// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"math"
	"sync"
	"time"

	"vsc-zk/internal/session/wire"
)

// pace finds how many paths a run should carry. A run costs something whatever it carries, so short
// ones are joined until a run takes about the batch time. But the paths that wait are for all jobs of
// the session: a run takes no more than its fair share of them, so that all jobs end at about the same
// time, unless it would then be mostly start and end.
type pace struct {
	target time.Duration // of a run
	most   int           // paths in a run

	mu    sync.Mutex
	kinds [wire.Kinds]fit
}

const (
	firstBatch = 16 // paths in the first run of a kind, at most
	growth     = 4  // by how much a run may be longer than the one before

	// A fair share makes a run no shorter than this: its paths take worthwhile times as long as its
	// start and end, or longestShare, whichever is less.
	worthwhile   = 3
	longestShare = time.Second
)

func newPace(target time.Duration, most int) *pace { return &pace{target: target, most: most} }

// size is how many paths of a kind the next run should carry, when so many wait and so many jobs are
// there to take them.
func (p *pace) size(kind wire.Kind, waiting, jobs int) int {
	if !kind.Joins() {
		return 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.kinds[kind]
	// Two thirds of what each job could have: the rest evens out.
	share := (2*waiting + 3*jobs - 1) / (3 * max(jobs, 1))
	n, least := firstBatch, 1
	if f.runs > 0 {
		start, each := f.line()
		n = atMost((p.target.Seconds()-start)/each, growth*max(f.last, firstBatch))
		least = atMost(min(worthwhile*start, longestShare.Seconds())/each, n)
	}
	return max(1, min(n, max(share, least), p.most))
}

// bounded is the number of paths in a run of which each should take so many seconds, n at the most.
func (p *pace) bounded(n int, each float64) int {
	if each == 0 {
		return n
	}
	return max(1, atMost(p.target.Seconds()/each, n))
}

// atMost is x, rounded down, or limit if that is less.
func atMost(x float64, limit int) int {
	return int(math.Min(x, float64(limit)))
}

// ran notes how long a run took.
func (p *pace) ran(kind wire.Kind, paths int, took time.Duration) {
	if !kind.Joins() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds[kind].add(float64(paths), took.Seconds())
	p.kinds[kind].last = paths
}

// fit finds the line of least squares through the times that recent runs have taken: a start and a
// time for each path. Older runs count less and less.
type fit struct {
	runs, n, nn, t, nt float64 // weights, paths, their squares, seconds, products
	last               int     // paths in the last run
}

const (
	forget    = 0.8                   // weight of a run beside the one after it
	bareStart = 30 * time.Millisecond // of a run, as long as nothing better is known
	leastEach = 10 * time.Microsecond // of a path
)

func (f *fit) add(paths, seconds float64) {
	for _, sum := range []*float64{&f.runs, &f.n, &f.nn, &f.t, &f.nt} {
		*sum *= forget
	}
	f.runs++
	f.n += paths
	f.nn += paths * paths
	f.t += seconds
	f.nt += paths * seconds
}

// line is the start and the time for each path, in seconds.
func (f *fit) line() (start, each float64) {
	start = bareStart.Seconds()
	if spread := f.runs*f.nn - f.n*f.n; spread > 0.1*f.n*f.n { // else the runs are too much alike to tell
		start = max(start, (f.t*f.nn-f.n*f.nt)/spread)
	}
	return start, max(leastEach.Seconds(), (f.t-start*f.runs)/f.n)
}
