// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

// One source and one destination make a session, and share the work between
// their jobs.
func TestOneSourceAndOneDestination(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{4, 3, 2}, Files: 3, Size: 2000, Names: testtree.OddNames})
	report := filepath.Join(t.TempDir(), "report")
	r.finish(
		r.source(1, func(c *Config) { c.Jobs, c.Leader.Depth, c.Leader.Report = 3, 3, report }),
		r.destination(2, func(c *Config) { c.Destination.Slots = 3 }))
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
	master := r.queued(func(c *Config) { c.Leader.Depth, c.Leader.Report = 1, report })
	slave := r.source(2)
	if err := func() error { dest := r.destination(3); defer r.finish(slave, dest); return r.wait(master) }(); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want wire.ErrIncomplete", err)
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
	master := r.queued(deleting, func(c *Config) { c.Leader.Depth = 1 })
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
				c.Lines, c.Worker.Batch, c.Jobs = paths, size, 1
				c.Worker.BatchTime = time.Hour
				c.LineSender = sendLines(func(names []string) {
					sent.Add(int64(len(names)))
					time.Sleep(time.Duration(len(names)) * 100 * time.Microsecond)
				})
				c.Member.Timing.StatsFlush = time.Hour
			}
			dest := r.destination(2, test)
			r.until("the destination waits", func() bool {
				n, err := r.zkAt(own.Addr()).Party(r.tree().Party(wire.PartyDests), "").Count(t.Context())
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

// What took long in an earlier run goes first, and by itself; the others are joined as ever.
func TestLongestFirst(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{20}, Files: 1, Size: 10})
	r.rest()
	report := filepath.Join(t.TempDir(), "report")
	earlier := fmt.Sprintf(`{"type":"header"}
{"type":"path","path":%q,"seconds":40}
{"type":"path","path":%q,"seconds":90}
{"type":"path","path":%q,"seconds":0.5}
`, "1_"+r.path("dir017"), "1_"+r.path("dir019"), "1_"+r.path("dir018"))
	r.must(os.WriteFile(report, []byte(earlier), 0o600))
	master := r.queued(depth1, func(c *Config) { c.Leader.History, c.Leader.Report = report, report+".new" })
	r.finish(r.source(2, jobs(1)), r.destination(3), master)
	first, joined := []string{"1_" + r.path("dir019"), "1_" + r.path("dir017")}, 0
	lines := r.reported(report + ".new")
	for i, line := range lines[1 : len(lines)-1] {
		if i < len(first) && (string(line.Path) != first[i] || line.Batch != 0) {
			t.Errorf("path %d: %+v, want %s by itself", i, line, first[i])
		}
		if line.Batch > 1 {
			joined++
		}
	}
	if joined == 0 {
		t.Error("no path was sent together with others")
	}
}
