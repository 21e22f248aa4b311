// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
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

// A leader can be lost at any of its transactions, before or after it has reached ZooKeeper: another source leads the run to
// the end that it would have had.
func TestCrashAtEachTransaction(t *testing.T) {
	count := func(t *testing.T, at int, before bool) (multis int) {
		r := newRigAlone(t)
		options := r.manifold()
		proxy := zktest.NewProxy(t, r.addr)
		if at > 0 {
			proxy.CrashAt(at, before)
		}
		master := r.source(1, options, frail(proxy))
		r.until("the master has begun or crashed", func() bool {
			return proxy.Crashed() || strings.Contains(r.log.String(), "removing old queue")
		})
		resumes := func(c *Config) { c.Member.Zookeeper.SessionTimeout = 2 * time.Second }
		slave, dest := r.source(2, options, resume, resumes, jobs(1)), r.destination(3)
		if at > 0 {
			r.until("the master has crashed, or done it with fewer transactions", func() bool {
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
		return proxy.Multis()
	}
	multis := count(t, 0, false)
	t.Logf("%d transactions", multis)
	if multis < 15 {
		t.Fatalf("a session has only %d transactions", multis)
	}
	// They wait most of the time, for ZooKeeper to see that a client is gone.
	var points errgroup.Group
	points.SetLimit(24)
	for at := 1; at <= multis; at++ {
		for name, before := range map[string]bool{"before": true, "after": false} {
			points.Go(func() error {
				t.Run(fmt.Sprintf("%s %d", name, at), func(t *testing.T) { count(t, at, before) })
				return nil
			})
		}
	}
	points.Wait()
}

// A master that is asked to end hands the run over at once: nobody else notices, and the account goes on, in two reports.
func TestMasterHandsOver(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.slowEnd()
	r.rest()
	dir := t.TempDir()
	reports := func(n int) func(*Config) {
		return func(c *Config) { c.Leader.Report = filepath.Join(dir, fmt.Sprint(n)) }
	}
	ending, ask := asked()
	master := r.queued(ending, reports(1))
	begun := r.slowEndLast()
	slave, dest := r.source(2, slow, reports(2)), r.destination(3)
	begun()
	ask()
	if err := r.wait(master); !errors.Is(err, errStopped) || errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want the cause, and no word of what is not done", err)
	}
	r.finish(slave, dest)
	r.identical()
	r.left()
	r.logged(" failed=0 vanished=0 changed=0 unfinished=0 ", " event=handed-over", " event=took-over source=127.0.0.2:", " event=parts ")
	told := map[string]int{}
	for n := 1; n <= 2; n++ {
		lines := strings.Split(strings.TrimSpace(r.read(filepath.Join(dir, fmt.Sprint(n)))), "\n")
		for _, line := range lines {
			if _, path, ok := strings.Cut(line, `"path":"`); ok {
				path, _, _ = strings.Cut(path, `"`)
				told[path]++
			}
		}
	}
	if len(told) != 10 {
		t.Errorf("%d paths are in the reports, want 10: %v", len(told), told)
	}
}

// A master that is stopped for longer than its ZooKeeper session lasts does no harm when it goes on: it works under the
// one that has taken over.
func TestMasterThatWasCutOff(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.slowEnd()
	r.rest()
	proxy := zktest.NewProxy(t, r.addr)
	master := r.queued(jobs(1), slow, frail(proxy))
	slave := r.source(2, slow)
	r.waitFor(" sources=2 destinations=0")
	r.noted()
	proxy.Stall()
	r.waitFor("event=took-over source=127.0.0.2:")
	proxy.Heal()
	r.waitFor("event=session-lost")
	r.finish(r.destination(3), slave, master)
	r.identical()
	r.left()
	r.logged(" failed=0 vanished=0 changed=0 unfinished=0 ")
}

// noted returns when the leader has noted who is in the session: whoever it has not noted cannot know that there was one.
func (r *rig) noted() {
	r.t.Helper()
	zk := r.zk()
	step := func() int {
		data, _, err := zk.Get(r.t.Context(), r.tree().Meta())
		r.must(err)
		meta, ok := wire.DecodeMeta(data)
		if !ok {
			r.t.Fatalf("meta %q", data)
		}
		return meta.Step
	}
	// It notes those who are there when somebody comes.
	before, last := step(), zk.Party(r.tree().Party(wire.PartyExt), "last:1")
	r.must(last.Join(r.t.Context()))
	r.until("the leader has noted all", func() bool { return step() > before })
	zk.Close() // it leaves
}

// A master that comes back when the one that has taken over is gone again takes over from that.
func TestMasterTwice(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	proxy := zktest.NewProxy(t, r.addr)
	master := r.queued(jobs(1), frail(proxy))
	slave := r.source(2)
	r.waitFor(" sources=2 destinations=0")
	r.noted()
	proxy.Stall()
	r.waitFor("event=took-over source=127.0.0.2:")
	slave.stop(errStopped)
	if err := r.wait(slave); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	proxy.Heal()
	r.waitFor("event=took-over source=127.0.0.1:")
	r.finish(r.destination(3), master)
	r.identical()
	r.left()
	r.logged(" failed=0 vanished=0 changed=0 unfinished=0 ")
}

// Only a source that has the list of paths takes over a run that is about one; the others work on, and wait.
func TestMasterWithAList(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	list := filepath.Join(t.TempDir(), "list")
	r.must(os.WriteFile(list, []byte("1_"+r.path("dir000")+"\n1_"+r.path("dir001")+"\n1_"+r.path("dir002")+"\n0_"+r.src+"\n"), 0o644))
	listed := func(c *Config) { c.Leader.PathsFrom = list }
	master := r.queued(listed)
	without := r.source(2, func(c *Config) { c.Member.Timing.Leave = 100 * time.Millisecond })
	r.waitFor("event=other-list")
	master.stop(errStopped)
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	r.waitFor("event=no-leader")
	r.finish(r.source(3, listed, resume), r.destination(4), without)
	r.identical()
	r.left()
	r.logged("event=took-over source=127.0.0.3:", " event=end completed=4 failed=0 vanished=0 changed=0 unfinished=0 ")
}

// Who may be the master, and who rather.
func TestWhoTakesOver(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	master := r.queued()
	never, others, first := r.source(2, noMaster), r.source(3), r.source(4, func(c *Config) { c.Master = true })
	zk := r.zk()
	r.until("the one that comes first stands by", func() bool {
		names, err := zk.Children(t.Context(), r.tree().Party(wire.PartyMasters))
		return err == nil && len(names) == 1
	})
	r.waitFor(" sources=3 destinations=0")
	r.noted()
	master.stop(errStopped)
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	r.waitFor("event=took-over")
	r.finish(r.destination(5), never, others, first)
	r.identical()
	if log := r.log.String(); !strings.Contains(log, "event=took-over source=127.0.0.4:") || strings.Count(log, "event=took-over") != 1 {
		t.Errorf("another than the one that comes first has taken over; log:\n%s", log)
	}
}

// A run that a Python master has left is gone on with: its queue first, then the whole tree.
func TestResumeOfAPythonRun(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	python := r.zk()
	for _, queue := range []string{r.tree().PathQueue(), r.tree().CompletedQueue(), r.tree().FailedQueue(), r.tree().DestQueue(), r.tree().OutputQueue()} {
		r.must(python.Queue(queue).Ensure(t.Context()))
	}
	_, err := python.CreatePath(t.Context(), r.tree().Ready(), []byte(wire.Start), zkclient.Persistent)
	r.must(err)
	r.must(python.Queue(r.tree().PathQueue()).Put(t.Context(), zkclient.DefaultPriority, []byte("1_"+r.path("dir000/dir000")), []byte("0_"+r.path("dir000"))))
	r.must(python.Queue(r.tree().CompletedQueue()).Put(t.Context(), zkclient.DefaultPriority, []byte("1_"+r.path("dir001/dir000"))))
	python.Close()
	r.finish(r.source(1, resume, jobs(1)), r.destination(2))
	r.identical()
	r.left()
	r.logged(" event=end completed=13 failed=0 vanished=0 changed=0 unfinished=0 ")
}

// What has failed is tried once more when all else is done, and then counts as it ended last.
func TestLateRound(t *testing.T) {
	r := newRig(t)
	r.brokenAt("b")
	r.rest()
	again := r.when("event=late-round", func() {
		r.must(syscall.Mount("", filepath.Join(r.dst, "b"), "", syscall.MS_BIND|syscall.MS_REMOUNT, ""))
	})
	failed := filepath.Join(t.TempDir(), "failed")
	r.finish(r.source(1, again, jobs(1), depth1, func(c *Config) { c.Leader.LateRetries, c.Leader.Failed = 1, failed }), r.destination(2))
	r.identical()
	r.logged(" event=end completed=6 failed=0 vanished=0 changed=0 unfinished=0 ")
	if left := r.read(failed); left != "" {
		t.Errorf("--failed has %q", left)
	}
}

// A source that inherits its options and has met no master alive cannot clean up: it takes over.
func TestInheritedRun(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	proxy := zktest.NewProxy(t, r.addr)
	master := r.queued(frail(proxy))
	proxy.Stall()
	heir := r.source(2, func(c *Config) { c.Inherit = true })
	r.waitFor("event=took-over source=127.0.0.2:")
	master.stop(errStopped)
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	r.finish(r.destination(3), heir)
	r.identical()
	r.left()
}
