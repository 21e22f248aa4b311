// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"sync"
	"time"
)

// answers are how long a file system takes for each. A nil one is of no interest.
type answers struct {
	now func() time.Time

	mu    sync.Mutex
	asked int           // since it was last judged
	took  time.Duration // together
	pause bool          // they were quick
	left  int           // runs that are still passed over
}

const (
	// judgedAfter answers it is found out whether they are quick.
	judgedAfter = 256

	// quickAnswer is one on average for which rsync may as well wait: the kernel has it already. It takes 1 or 2 µs
	// then. A local disk takes 100, for one name of many; a file server as much for each.
	quickAnswer = 5 * time.Microsecond

	// longestCounted keeps one process that had to wait for a core from making up for a hundred answers.
	longestCounted = 250 * time.Microsecond

	// passedOver runs begin without a look ahead when answers were quick.
	passedOver = 7
)

func newAnswers() *answers { return &answers{now: time.Now} }

// worthIt tells whether a run that begins should be looked ahead of: to find out, once in a while.
func (a *answers) worthIt() bool {
	if a == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left > 0 {
		a.left--
		return false
	}
	a.pause = false
	return true
}

// quick tells whether the answers are so quick that a look ahead is for nothing.
func (a *answers) quick() bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pause
}

// note counts how long an answer takes.
func (a *answers) note(ask func()) {
	if a == nil {
		ask()
		return
	}
	begin := a.now()
	ask()
	took := min(a.now().Sub(begin), longestCounted)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	a.took += took
	if a.asked < judgedAfter {
		return
	}
	if a.took/time.Duration(a.asked) < quickAnswer {
		a.pause, a.left = true, passedOver
	}
	a.asked, a.took = 0, 0
}
