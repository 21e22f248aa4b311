// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"math"
	"sync"
	"time"
)

// pace finds how many paths a run of rsync should carry. A run costs something
// whatever it carries, so short ones are joined until one takes about the batch
// time. But the paths that wait are for all jobs of the session: a run takes no
// more than its fair share of them, so that all end at about the same time.
type pace struct {
	target time.Duration // of a run
	most   int           // paths in a run

	mu    sync.Mutex
	kinds [single]estimate
}

// estimate is what recent runs say.
type estimate struct {
	seconds float64 // a path; 0: unknown
	last    int     // paths in the last run
}

const (
	firstBatch = 16 // paths in the first run of a kind, at most
	growth     = 4  // by how much a run may be longer than the one before

	// shortest is the time below which a run is not made shorter for the sake of
	// a fair share: it would be mostly start and end.
	shortest = 500 * time.Millisecond
)

func newPace(target time.Duration, most int) *pace { return &pace{target: target, most: most} }

// size is how many paths of a kind the next run should carry, when so many wait
// and so many jobs are there to take them.
func (p *pace) size(kind, waiting, jobs int) int {
	if kind == single {
		return 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.kinds[kind]
	// Two thirds of what each job could have: the rest evens out.
	share := (2*waiting + 3*jobs - 1) / (3 * max(jobs, 1))
	n, least := firstBatch, 1
	if e.seconds > 0 {
		n = atMost(p.target.Seconds()/e.seconds, growth*max(e.last, firstBatch))
		least = atMost(shortest.Seconds()/e.seconds, n)
	}
	return max(1, min(n, max(share, least), p.most))
}

// atMost is x, rounded down, or limit if that is less.
func atMost(x float64, limit int) int {
	return int(math.Min(x, float64(limit)))
}

// ran notes how long a run took.
func (p *pace) ran(kind, paths int, took time.Duration) {
	if kind == single {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &p.kinds[kind]
	each := math.Max(took.Seconds()/float64(paths), 1e-6)
	if e.seconds > 0 {
		each = (e.seconds + each) / 2
	}
	e.seconds, e.last = each, paths
}
