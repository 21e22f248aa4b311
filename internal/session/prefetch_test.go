// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/slowfs"
)

// slowly puts a file system that calls sleep for each question about a name before the source.
func (r *rig) slowly(sleep func(time.Duration)) {
	r.t.Helper()
	r.before(slowfs.Options{Delay: time.Millisecond, Sleep: sleep})
}

// before puts a file system of ours before the source.
func (r *rig) before(o slowfs.Options) {
	r.t.Helper()
	dir := r.src + ".disk"
	r.must(os.Rename(r.src, dir), os.Mkdir(r.src, 0o755))
	mounted, err := slowfs.Mount(dir, r.src, o)
	r.must(err)
	r.t.Cleanup(func() {
		if err := mounted.Unmount(); err != nil {
			r.t.Error(err)
		}
	})
}

// crowd counts who is there at once.
type crowd struct {
	mu         sync.Mutex
	here, most int
}

func (c *crowd) come() {
	c.mu.Lock()
	c.here++
	c.most = max(c.most, c.here)
	c.mu.Unlock()
}

func (c *crowd) leave() {
	c.mu.Lock()
	c.here--
	c.mu.Unlock()
}

// top is the most there were, since the last time.
func (c *crowd) top() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := c.most
	c.most = c.here
	return most
}

// A source asks a slow file system for several names at once, though it runs one rsync.
func TestPrefetch(t *testing.T) {
	for name, c := range map[string]struct {
		change      func(*Config)
		least, most int
	}{
		"recursive":     {func(c *Config) { c.Leader.Depth = 1; c.Prefetch = 8 }, 4, 9},
		"not recursive": {func(c *Config) { c.Leader.Depth = 2; c.Prefetch = 8 }, 4, 9},
		"ranges":        {func(c *Config) { c.Leader.Depth = 2; c.Prefetch = 8; c.Leader.Flat = 150 }, 4, 9},
		"off":           {func(c *Config) { c.Leader.Depth = 1; c.Prefetch = 0 }, 1, 2},
		// What is left out may be what nobody should touch.
		"with rules": {func(c *Config) { c.Leader.Depth = 1; c.Prefetch = 8; c.Rsync.Extra = []string{"exclude:nothing"} }, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.must(os.MkdirAll(r.path("many"), 0o755))
			for i := range 300 {
				r.must(os.WriteFile(r.path(fmt.Sprintf("many/file%03d", i)), nil, 0o644))
			}
			r.age("many")
			var asking crowd
			r.slowly(func(d time.Duration) {
				asking.come()
				defer asking.leave()
				time.Sleep(d)
			})
			master := r.queued(c.change, func(c *Config) { c.Leader.Walkers = 1 })
			asking.top() // of the walk
			r.finish(r.slave(2, c.change, oneByOne), r.destination(3), master)
			if most := asking.top(); most < c.least || most > c.most {
				t.Errorf("at most %d names were asked for at once, want %d to %d", most, c.least, c.most)
			}
			r.identical()
		})
	}
}
