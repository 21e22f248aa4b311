// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

func noMaster(c *Config) { c.NoMaster = true }
func resume(c *Config)   { c.Resume = true }

// manifold is a small tree with all that a leader has to remember: ranges with deletions that they leave over,
// hard links between paths, and a path that fails.
func (r *rig) manifold() func(*Config) {
	r.t.Helper()
	r.makeTree(testtree.TreeOptions{Fanout: []int{2}, Files: 2, Size: 100, FarHardLinks: true})
	for i := range 7 {
		r.must(os.WriteFile(r.path(fmt.Sprintf("dir000/n%d", i)), []byte("x"), 0o644))
	}
	r.must(os.Mkdir(r.path("bad"), 0o755), os.WriteFile(r.path("bad/in"), nil, 0o644))
	r.must(os.MkdirAll(filepath.Join(r.dst, "dir000"), 0o755))
	r.must(os.WriteFile(filepath.Join(r.dst, "dir000/surplus"), nil, 0o644))
	r.must(os.MkdirAll(filepath.Join(r.dst, "bad/in/the/way"), 0o755))
	r.age("dir000", "dir001", "bad")
	old := time.Unix(1500000000, 123)
	r.must(os.Chtimes(filepath.Join(r.dst, "bad"), old, old))
	r.readOnly("bad")
	return func(c *Config) {
		c.Leader.Depth, c.Leader.Flat, c.Rsync.Delete, c.Rsync.HardLinks = 2, 3, true, true
		c.Leader.LateRetries = 1
	}
}

// A leader can be lost at any of its writes, before or after it has reached ZooKeeper: another source leads the run to
// the end that it would have had.
func TestCrashAtEachWrite(t *testing.T) {
	count := func(t *testing.T, at int, before bool) (writes int) {
		r := newRigAlone(t)
		options := r.manifold()
		proxy := zktest.NewProxy(t, r.addr)
		if at > 0 {
			proxy.CrashAt(at, before)
		}
		frail := func(c *Config) {
			c.Member.Zookeeper.Servers, c.Member.Zookeeper.SessionTimeout = []string{proxy.Addr()}, 2*time.Second
		}
		master := r.source(1, options, frail)
		r.until("the master has begun or crashed", func() bool {
			return proxy.Crashed() || strings.Contains(r.log.String(), "removing old queue")
		})
		resumes := func(c *Config) { c.Member.Zookeeper.SessionTimeout = 2 * time.Second }
		slave, dest := r.source(2, options, resume, resumes, jobs(1)), r.destination(3)
		if at > 0 {
			r.until("the master has crashed, or done it with fewer writes", func() bool {
				return proxy.Crashed() || strings.Contains(r.log.String(), " event=end ")
			})
			master.stop(errStopped)
		}
		for name, run := range map[string]*running{"master": master, "slave": slave, "destination": dest} {
			err := r.wait(run)
			if name == "master" && at > 0 {
				continue
			}
			if err != nil && (name == "destination" || !errors.Is(err, wire.ErrIncomplete)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		differences, err := testtree.Compare(r.src, r.dst)
		r.must(err)
		for _, d := range differences {
			if !strings.Contains(d, `"bad`) {
				t.Errorf("not as one rsync would have left it: %s", d)
			}
		}
		end := r.log.String()[max(strings.LastIndex(r.log.String(), " event=end "), 0):]
		var completed, failed, vanished, changed, unfinished int
		if _, err := fmt.Sscanf(end, " event=end completed=%d failed=%d vanished=%d changed=%d unfinished=%d", &completed, &failed, &vanished, &changed, &unfinished); err != nil {
			t.Errorf("no end was told: %v", err)
		}
		if failed != 1 || vanished != 0 || changed != 0 || unfinished != 0 || completed < 6 {
			t.Errorf("the account is %s", end)
		}
		r.left()
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
		_, writes = proxy.Requests()
		return writes
	}
	writes := count(t, 0, false)
	t.Logf("%d writes", writes)
	if writes < 20 {
		t.Fatalf("a session has only %d writes", writes)
	}
	// They wait most of the time, for ZooKeeper to see that a client is gone.
	var points errgroup.Group
	points.SetLimit(24)
	for at := 1; at <= writes; at++ {
		for name, before := range map[string]bool{"before": true, "after": false} {
			points.Go(func() error {
				t.Run(fmt.Sprintf("%s %d", name, at), func(t *testing.T) { count(t, at, before) })
				return nil
			})
		}
	}
	points.Wait()
}
