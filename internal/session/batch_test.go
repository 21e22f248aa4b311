// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

func TestPace(t *testing.T) {
	p := newPace(5*time.Second, 1000)
	run := func(kind, n int, start, each time.Duration) { p.ran(kind, n, start+time.Duration(n)*each) }
	check := func(what string, kind, waiting, jobs, want int) {
		t.Helper()
		if n := p.size(kind, waiting, jobs); n < want-want/20 || n > want+want/20 {
			t.Errorf("%s: %d of %d paths for one of %d jobs, want about %d", what, n, waiting, jobs, want)
		}
	}
	check("first run", recursive, 10_000, 10, firstBatch)
	check("first run, few", recursive, 20, 8, 2)
	check("others go alone", single, 10_000, 10, 1)

	const start, each = 50 * time.Millisecond, 10 * time.Millisecond
	run(recursive, 16, start, each)
	check("second run", recursive, 10_000, 10, 64)
	for range 20 {
		run(recursive, p.size(recursive, 1_000_000, 10), start, each)
	}
	check("as long as wanted", recursive, 1_000_000, 10, 495)
	check("fair share", recursive, 1000, 10, 67)
	for n := range 8 { // a few short ones at an end do not change what is known
		run(recursive, 8-n, start, each)
	}
	check("worth the start", recursive, 100, 10, 15)
	check("worth the start, last", recursive, 0, 1, 15)
	check("another kind", shallow, 10_000, 10, firstBatch)

	for range 5 {
		run(recursive, 1, start, time.Hour)
	}
	check("large ones", recursive, 10_000, 10, 1)
	p = newPace(5*time.Second, 3)
	check("bounded", shallow, 10_000, 1, 3)
}

// One source and one destination make a session, and share the work between
// their jobs.
func TestOneSourceAndOneDestination(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{4, 3, 2}, Files: 3, Size: 2000, Names: testtree.OddNames})
	report := filepath.Join(t.TempDir(), "report")
	r.finish(
		r.source(1, func(c *Config) { c.Jobs, c.Depth, c.Report = 3, 3, report }),
		r.destination(2, func(c *Config) { c.Slots = 3 }))
	r.identical()
	r.left()
	r.reported(report)
}

// A path that cannot be sent costs only itself: the others of its run are done.
func TestBadPathOfABatch(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{20}, Files: 2, Size: 100})
	r.must(os.MkdirAll(filepath.Join(r.dst, "dir007/file000/x"), 0o755))
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(func(c *Config) { c.Depth, c.Report = 1, report })
	slave := r.source(2)
	if err := func() error { dest := r.destination(3); defer r.finish(slave, dest); return r.wait(master) }(); !errors.Is(err, ErrIncomplete) {
		t.Errorf("error %v, want ErrIncomplete", err)
	}
	r.logged("Failed Path 1_"+r.path("dir007"), "20 completed, 1 failed")
	batches := 0
	lines := r.reported(report)
	for _, line := range lines[1 : len(lines)-1] {
		if line.Batch > 1 {
			batches++
		}
		if string(line.Path) == "1_"+r.path("dir007") && (line.Outcome != "failed" || *line.Attempts != attempts || line.Batch != 0) {
			t.Errorf("the bad path: %+v", line)
		}
	}
	if batches == 0 {
		t.Error("no path was sent together with others")
	}
}

// What vanishes or is swapped before a batch begins has an end of its own.
func TestBatchWithVanishedPaths(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{10}, Files: 1, Size: 100})
	r.copied()
	master := r.queued(deleting, func(c *Config) { c.Depth = 1 })
	r.must(os.RemoveAll(r.path("dir003")), os.RemoveAll(r.path("dir005")), os.Symlink("/", r.path("dir005")))
	r.age()
	r.finish(r.source(2, deleting), r.destination(3), master)
	r.logged("Vanished Path 1_"+r.path("dir003"), "Changed Path 1_"+r.path("dir005"), "0 failed, 1 vanished, 1 changed, 0 unfinished")
	r.identical()
}

// One transaction takes the paths of a run, and one ends them; the master's share
// is small.
func TestTransactionsOfARun(t *testing.T) {
	for _, size := range []int{1, 10, 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRig(t)
			own := zktest.Start(t)
			r.addr = own.Addr()
			const paths = 1000
			var sent atomic.Int64
			test := func(c *Config) {
				c.Netcat, c.paths, c.Batch, c.Jobs = true, paths, size, 1
				c.BatchTime = time.Hour
				c.sendLine = func(context.Context, string, string) error {
					sent.Add(1)
					time.Sleep(100 * time.Microsecond)
					return nil
				}
				c.Timing.StatsFlush = time.Hour
			}
			dest := r.destination(2, test)
			r.until("the destination waits", func() bool {
				n, err := r.zkAt(own.Addr()).Party(r.tree().party(partyDests), "").Count(t.Context())
				return err == nil && n == 1
			})
			before, err := own.Zxid()
			r.must(err)
			r.finish(r.source(1, test), dest)
			after, err := own.Zxid()
			r.must(err)
			if sent.Load() != paths {
				t.Errorf("%d paths sent, want %d", sent.Load(), paths)
			}
			// Starting, cleaning up and leaving take about 150, and the clean-up deletes in bulk.
			runs, used := paths/size, int(after-before)
			t.Logf("%d transactions for %d paths, %.2f a path", used, paths, float64(used)/paths)
			if most := 2*runs + runs/2 + 250; used > most {
				t.Errorf("%d transactions for %d runs, want at most %d", used, runs, most)
			}
		})
	}
}
