// SPDX-License-Identifier: LGPL-2.1-or-later

package pool

import (
	"slices"
	"sync"
	"time"
)

// faultsInRow is at how many different paths in a row a destination may fail before it is set aside.
const faultsInRow = 3

// Record is how destinations have served a worker, over all its ZooKeeper sessions.
type Record struct {
	mu     sync.Mutex
	faulty map[string][]string  // paths at which a destination has failed, in a row
	aside  map[string]time.Time // destinations that are set aside, until when
	told   map[string]string    // why destinations are not used, as it was said
}

// NewRecord knows nothing of any destination.
func NewRecord() *Record {
	return &Record{faulty: map[string][]string{}, aside: map[string]time.Time{}, told: map[string]string{}}
}

// fault notes that a destination has failed at a path, and says at how many in a row that makes.
func (r *Record) fault(whoami, path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.faulty[whoami], path) {
		r.faulty[whoami] = append(r.faulty[whoami], path)
	}
	return len(r.faulty[whoami])
}

// served notes that a destination has served a run.
func (r *Record) served(whoami string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.faulty, whoami)
}

// setAside keeps a destination from being used, with all its slots.
func (r *Record) setAside(whoami string, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.faulty, whoami)
	r.aside[whoami] = time.Now().Add(pause)
}

func (r *Record) isAside(whoami string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.aside[whoami])
}

// unfit tells whether it has still to be said why a destination is not used.
func (r *Record) unfit(whoami, why string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	said := r.told[whoami] == why
	r.told[whoami] = why
	return !said
}
