// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// unbounded lets everything through that bounded(1) holds up.
var unbounded = Order{BwLimit: new(int)}

// order steers the run.
func (r *rig) order(o Order) (Answer, error) {
	r.t.Helper()
	return Steer(r.t.Context(), r.config(9, r.src), o)
}

// steer steers the run, and fails the test unless all have noted it.
func (r *rig) steer(o Order) Answer {
	r.t.Helper()
	answer, err := r.order(o)
	r.must(err)
	if len(answer.Silent) > 0 {
		r.t.Fatalf("%+v: not noted by %v; log:\n%s", o, answer.Silent, r.log)
	}
	return answer
}

// control is what S/control has.
func (r *rig) control() string {
	r.t.Helper()
	data, _, err := r.zk().Get(r.t.Context(), r.tree().Control())
	r.must(err)
	return string(data)
}

// inWork waits until so many paths are.
func (r *rig) inWork(n int) {
	r.t.Helper()
	zk := r.zk()
	r.until("paths are in work", func() bool {
		names, err := zk.Children(r.t.Context(), r.tree().PathQueue()+"/taken")
		return err == nil && len(names) == n
	})
}

// stopped waits for a client, and fails the test unless it ends as after a --stop.
func (r *rig) stopped(runs ...*running) {
	r.t.Helper()
	for i, run := range runs {
		if err := r.wait(run); !errors.Is(err, wire.ErrEnded) || !errors.Is(err, wire.ErrHalted) {
			r.t.Errorf("client %d: error %v, want one that says that the run was stopped", i, err)
		}
	}
}

// take takes an entry as a client does.
func (r *rig) take(zk *zkclient.Client, value string) *zkclient.Entry {
	r.t.Helper()
	for {
		entry, err := zk.Queue(r.tree().PathQueue()).Take(r.t.Context())
		r.must(err)
		if string(entry.Value) == value {
			return entry
		}
		defer func() { r.must(entry.Release(r.t.Context())) }()
	}
}

// putFirst puts an entry before all others.
func (r *rig) putFirst(value string) {
	r.t.Helper()
	zk := r.zk()
	r.must(r.take(zk, value).Consume(r.t.Context(), zk.Queue(r.tree().PathQueue()).PutOp([]byte(value), 50)))
}

// While a run is paused what is in work goes on to its end and nothing is begun, under whatever master.
func TestPause(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	master := r.queued(bounded(1))
	slave, dest := r.source(2, jobs(2), oneByOne, bounded(1)), r.destination(3, jobs(2))
	r.inWork(2)
	if a := r.steer(Order{Pause: true}); a.Sources != 2 || a.Running != 2 {
		t.Errorf("%d sources have noted the pause, and %d runs are at work, want 2 and 2", a.Sources, a.Running)
	}
	r.snapshot("the pause is seen", func(s *status.Snapshot) bool { return s.Control.Paused && s.Control.BwLimit == 1 })
	r.steer(unbounded)
	r.until("what was in work has ended", func() bool { return r.steer(Order{Pause: true}).Running == 0 })
	r.inWork(0)
	if r.sent("") != 2 {
		t.Errorf("%d paths were sent, want the 2 that were in work", r.sent(""))
	}
	master.stop(errStopped)
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	r.waitFor("event=took-over")
	late := r.source(4, jobs(1))
	r.until("all have noted the pause", func() bool { a := r.steer(Order{Pause: true}); return a.Sources == 2 && a.Running == 0 })
	if r.sent("") != 2 || r.count("event=paused") != 2 {
		t.Errorf("%d paths were sent, want 2; log:\n%s", r.sent(""), r.log)
	}
	r.steer(Order{Unpause: true})
	r.finish(slave, late, dest)
	r.identical()
	r.left()
	r.logged("event=unpaused", " failed=0 vanished=0 changed=0 unfinished=0 skipped=0 ")
}

// A run that is paused does not end, and its walk does not go on.
func TestPauseOfTheMaster(t *testing.T) {
	r := newRig(t)
	r.makeTree(manyDirs)
	r.rest()
	master := r.source(1, func(c *Config) { c.Leader.Window = 100 })
	zk := r.zk()
	queued := func() int {
		data, stat, err := zk.Get(t.Context(), r.tree().Meta())
		if err != nil || stat.Version < 1 {
			return 0
		}
		meta, _ := wire.DecodeMeta(data)
		return meta.Queued
	}
	r.until("the window is full", func() bool { return queued() > 0 })
	r.steer(Order{Pause: true})
	before := queued()
	queue := zk.Queue(r.tree().PathQueue())
	if _, err := queue.Drain(t.Context(), func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // for a master that would go on
	if now := queued(); now != before {
		t.Errorf("%d paths were queued while the run was paused", now-before)
	}
	r.steer(Order{Unpause: true})
	r.until("the walk goes on", func() bool { return queued() > before })
	master.stop(errStopped)
	r.wait(master)
}

// The number of jobs can be changed while they work.
func TestJobsAreSet(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	master := r.queued(bounded(1))
	slave, dest := r.source(2, oneByOne, bounded(1), briefly), r.destination(3, jobs(4))
	r.inWork(1)
	for _, bad := range []map[string]int{{"127.0.0.1": 3}, {"127.0.0.7": 3}, {"127.0.0.2:7": 3}} {
		if _, err := r.order(Order{Jobs: bad}); err == nil || r.control() != "" {
			t.Errorf("%v: error %v, S/control has %s", bad, err, r.control())
		}
	}
	r.steer(Order{Jobs: map[string]int{"127.0.0.2": 3}})
	r.inWork(3)
	r.snapshot("the jobs are seen", func(s *status.Snapshot) bool {
		return client(s, "127.0.0.2").Source.Jobs == 3 && s.Control.Jobs["127.0.0.2"] == 3
	})
	r.steer(Order{Jobs: map[string]int{"127.0.0.2": 0}})
	r.steer(unbounded)
	r.inWork(0)
	if r.sent("") != 3 {
		t.Errorf("%d paths were sent, want 3: no job was left to send more", r.sent(""))
	}
	master.stop(errStopped)
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	r.waitFor("event=took-over")
	if r.sent("") != 3 {
		t.Errorf("%d paths were sent, want 3: what was asked for holds under any master", r.sent(""))
	}
	r.steer(Order{Jobs: map[string]int{"127.0.0.2:" + strings.Split(dest127(2), ":")[1]: 2}})
	r.finish(slave, dest)
	r.identical()
	r.left()
}

// A bound of the bandwidth can be set and changed, and the sources are within it by their links' own counters.
func TestBandwidthIsSet(t *testing.T) {
	r := newRig(t)
	r.oneBig(8 << 20)
	quick := func(c *Config) { c.Member.Timing.Share = 200 * time.Millisecond }
	master := r.queued(depth1, quick, bounded(1))
	dest, slave := r.destination(2), r.source(3, quick)
	r.inWork(1)
	zk := r.zk()
	sends := func(from, to int64) func() bool {
		return func() bool {
			data, _, err := zk.Get(t.Context(), r.tree().Rate(dest127(3)))
			use, _ := wire.DecodeUse(data)
			return err == nil && use.Rate >= from && use.Rate <= to
		}
	}
	for _, limit := range []int{200_000, 1_000_000} {
		r.steer(Order{BwLimit: &limit})
		r.until("the source sends what it may", sends(int64(limit)/2, int64(limit)*5/4))
	}
	r.steer(unbounded)
	r.finish(slave, dest, master)
	r.identical()
	r.left()
}

// What is skipped is not sent, be it in work, waiting or within something else; nor is it deleted, and it stands
// in the account.
func TestSkip(t *testing.T) {
	for name, c := range map[string]struct {
		window int // 1: nothing is queued yet
		slave  func(*Config)
	}{"in work": {0, oneByOne}, "in one run with others": {0, func(*Config) {}}, "before they are queued": {1, oneByOne}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.put(r.src, "a", "b", "c/deep/er", "c/other", "d")
			r.age("a", "b", "c/deep/er", "c/deep", "c/other", "c", "d")
			for _, dir := range []string{"a", "b", "c/deep", "c"} {
				r.must(os.MkdirAll(filepath.Join(r.dst, dir), 0o755), os.WriteFile(filepath.Join(r.dst, dir, "stale"), nil, 0o644))
			}
			report := filepath.Join(t.TempDir(), "report")
			master := r.source(1, deleting, depth1, bounded(1), func(cfg *Config) { cfg.Leader.Report, cfg.Leader.Window = report, c.window })
			first := r.src
			r.waitFor("removing old queue")
			if c.window == 0 {
				first = r.path("a")
				r.waitFor("pathqueue building finished")
				r.putFirst("1_" + r.path("a"))
			}
			slave, dest := r.source(2, c.slave, deleting), r.destination(3)
			r.waitFor("is sending path " + first + " ")
			for _, bad := range []string{"/", r.src, "../x", "/elsewhere", r.src + "x"} {
				if _, err := r.order(Order{Skip: bad}); err == nil || r.control() != "" {
					t.Errorf("%s: error %v, S/control has %s", bad, err, r.control())
				}
			}
			for _, path := range []string{r.path("c/deep"), "b", r.path("a") + "/"} {
				r.steer(Order{Skip: path})
			}
			r.steer(unbounded)
			if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "3 were skipped") {
				t.Errorf("error %v, want one that says that 3 paths were skipped", err)
			}
			r.finish(slave, dest)
			outcomes := map[string]string{}
			for _, line := range r.reported(report) {
				if line.Type == "path" {
					outcomes[string(line.Path)] = line.Outcome
				}
			}
			for path, want := range map[string]string{"1_" + r.path("a"): "skipped", "1_" + r.path("b"): "skipped", "1_" + r.path("c/deep"): "skipped",
				"1_" + r.path("c"): "completed", "1_" + r.path("d"): "completed", "0_" + r.src: "completed"} {
				if outcomes[path] != want {
					t.Errorf("%s is %q in the report, want %q", path, outcomes[path], want)
				}
			}
			left := map[string]bool{"a/stale": true, "a/file": false, "b/stale": true, "b/file": false, "c/deep/stale": true, "c/deep/er/file": false,
				"c/stale": false, "c/other/file": true, "d/file": true}
			for path, want := range left {
				if _, err := os.Lstat(filepath.Join(r.dst, path)); err == nil != want {
					t.Errorf("%s at the destination: %v, want it there: %v", path, err, want)
				}
			}
			r.left()
			if t.Failed() {
				t.Logf("log:\n%s", r.log)
			}
		})
	}
}

// What has failed can be queued again, with a Python source in the session too.
func TestRequeue(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		t.Run(map[bool]string{false: "Go", true: "mixed"}[mixed], func(t *testing.T) {
			r := newRig(t)
			r.brokenAt("b")
			r.rest()
			report := filepath.Join(t.TempDir(), "report")
			master := r.queued(depth1, func(c *Config) { c.Leader.Report = report })
			zk := r.zk()
			held := r.take(zk, "0_"+r.src) // so that the run does not end
			if mixed {
				for _, party := range []string{wire.PartyAll, wire.PartySources} {
					r.must(zk.Party(r.tree().Party(party), "127.0.0.8:1").Join(t.Context()))
				}
			}
			if _, err := r.order(Order{Requeue: true}); err == nil || r.control() != "" {
				t.Errorf("error %v before anything has failed, S/control has %s", err, r.control())
			}
			slave, dest := r.source(2), r.destination(3)
			r.waitFor("Failed Path 1_" + r.path("b"))
			r.must(syscall.Mount("", filepath.Join(r.dst, "b"), "", syscall.MS_BIND|syscall.MS_REMOUNT, ""))
			answer := r.steer(Order{Requeue: true})
			if mixed != slices.Contains(answer.Python, "127.0.0.8:1") {
				t.Errorf("the Python sources are %v", answer.Python)
			}
			r.waitFor("Completed Path 1_" + r.path("b"))
			r.must(held.Release(t.Context()))
			zk.Close()
			r.finish(slave, dest, master)
			r.identical()
			r.left()
			r.logged(" event=end completed=6 failed=0 vanished=0 changed=0 unfinished=0 skipped=0 ", "event=requeued paths=1")
			r.reported(report)
		})
	}
}

// While a run is paused the master queues nothing, neither what has failed nor the pieces of a path.
func TestPauseQueuesNothing(t *testing.T) {
	r := newRig(t)
	r.brokenAt("b")
	r.put(r.src, "c/1", "c/2", "c/3")
	r.age("b", "c", "c/1", "c/2", "c/3")
	r.rest()
	whole := "1_" + r.path("c")
	master := r.queued(depth1)
	zk := r.zk()
	held := r.take(zk, whole)
	slave, dest := r.source(2), r.destination(3)
	r.waitFor("Failed Path 1_" + r.path("b"))
	r.must(syscall.Mount("", filepath.Join(r.dst, "b"), "", syscall.MS_BIND|syscall.MS_REMOUNT, ""))
	r.steer(Order{Pause: true})
	r.must(held.Consume(t.Context(), zkclient.OpCreate(r.tree().Split()+"/part-", []byte(whole), zkclient.Sequential)))
	r.steer(Order{Requeue: true})
	r.steer(Order{Pause: true}) // by then the master had time for the pieces
	if r.count("event=requeued")+r.count("event=cut ") > 0 {
		t.Errorf("something is queued; log:\n%s", r.log)
	}
	r.steer(Order{Unpause: true})
	r.waitFor("Completed Path 1_" + r.path("b"))
	r.finish(slave, dest, master)
	r.identical()
	r.left()
	r.logged("event=requeued", "event=cut ", " failed=0 vanished=0 changed=0 unfinished=0 skipped=0 ")
}

// A failed path that is skipped is not tried once more.
func TestSkipOfAFailedPath(t *testing.T) {
	r := newRig(t)
	r.brokenAt("b")
	r.rest()
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(depth1, func(c *Config) { c.Leader.Report, c.Leader.LateRetries = report, 1 })
	zk := r.zk()
	held := r.take(zk, "1_"+r.path("e")) // so that the run does not end
	slave, dest := r.source(2), r.destination(3)
	r.waitFor("Failed Path 1_" + r.path("b"))
	r.until("all else was sent", func() bool {
		n, err := zk.Queue(r.tree().PathQueue()).Len(t.Context())
		return err == nil && n == 1
	})
	if a := r.steer(Order{Skip: "b"}); a.Failed != 1 {
		t.Errorf("%d paths of it have failed, want 1", a.Failed)
	}
	if _, err := r.order(Order{Skip: "c"}); err == nil {
		t.Error("a path is skipped that was sent")
	}
	r.must(held.Release(t.Context()))
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Error(err)
	}
	r.finish(slave, dest)
	r.logged(" event=end completed=5 failed=0 vanished=0 changed=0 unfinished=0 skipped=1 ")
	if strings.Contains(r.log.String(), "event=late-round") {
		t.Error("it was tried once more")
	}
	r.reported(report)
	r.left()
}

// What lies in a path that has failed and is skipped is told of, also if the path is sent later without it.
func TestSkipWithinAFailedPath(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(map[bool]string{false: "requeued", true: "late round"}[late], func(t *testing.T) {
			r := newRig(t)
			r.brokenAt("b")
			r.put(r.src, "b/deep")
			r.age("b", "b/deep")
			r.rest()
			report := filepath.Join(t.TempDir(), "report")
			master := r.queued(depth1, func(c *Config) { c.Leader.Report, c.Leader.LateRetries = report, map[bool]int{true: 1}[late] })
			held := r.take(r.zk(), "0_"+r.src) // so that the run does not end
			slave, dest := r.source(2), r.destination(3)
			r.waitFor("Failed Path 1_" + r.path("b"))
			if a := r.steer(Order{Skip: "b/deep"}); a.Failed != 1 {
				t.Errorf("it is in %d paths that have failed, want 1", a.Failed)
			}
			r.must(syscall.Mount("", filepath.Join(r.dst, "b"), "", syscall.MS_BIND|syscall.MS_REMOUNT, ""))
			if !late {
				r.steer(Order{Requeue: true})
			}
			r.must(held.Release(t.Context()))
			if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
				t.Errorf("error %v, want one that says that something was skipped", err)
			}
			r.finish(slave, dest)
			r.has("b", r.src)
			r.has("b/deep", "")
			r.logged(" event=end completed=6 failed=0 vanished=0 changed=0 unfinished=0 skipped=1 ")
			r.reported(report)
			r.left()
		})
	}
}

// What is skipped of a list is told of, and what the list does not have cannot be skipped.
func TestSkipOfListedNames(t *testing.T) {
	r := newRig(t)
	r.put(r.src, "a", "b", "c/deep")
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(r.lister("\n", "a/file", "b/file", "c/deep/file"), func(c *Config) { c.Leader.Report = report })
	for _, path := range []string{"d", "a/other", "c/dee"} {
		if _, err := r.order(Order{Skip: path}); err == nil || r.control() != "" {
			t.Errorf("%s: error %v, S/control has %s", path, err, r.control())
		}
	}
	for _, path := range []string{"b", "c/deep/file"} {
		if a := r.steer(Order{Skip: path}); a.Waiting != 1 {
			t.Errorf("%s is in %d paths, want 1", path, a.Waiting)
		}
	}
	r.finish(r.source(2), r.destination(3))
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want one that says that something was skipped", err)
	}
	r.logged(" event=end completed=1 failed=0 vanished=0 changed=0 unfinished=0 skipped=2 ")
	r.has("a", r.src)
	r.has("b", "")
	r.has("c/deep", "")
	r.reported(report)
	r.left()
}

// A listed directory that is gone, or has become a file, is not deleted with what is skipped in it.
func TestSkipInAListedDirectoryThatIsGone(t *testing.T) {
	r := newRig(t)
	r.put(r.src, "a")
	r.put(r.dst, "b", "b/deep", "c", "c/deep", "d")
	r.must(os.WriteFile(r.path("c"), nil, 0o644))
	master := r.queued(deleting, r.lister("\n", "a/file", "b", "c", "d"))
	for _, path := range []string{"b/deep", "c/deep/file"} {
		if a := r.steer(Order{Skip: path}); a.Waiting != 1 {
			t.Errorf("%s is in %d paths, want 1", path, a.Waiting)
		}
	}
	r.finish(r.source(2, deleting), r.destination(3))
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want one that says that something was skipped", err)
	}
	r.logged(" event=end completed=1 failed=0 vanished=0 changed=0 unfinished=0 skipped=2 ")
	r.has("a", r.src)
	for _, dir := range []string{"b", "b/deep", "c", "c/deep"} {
		r.has(dir, r.dst)
	}
	r.has("d", "")
	r.left()
}

// A run that is stopped is suspended when what was in work has ended, and can be gone on with.
func TestStop(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(map[bool]string{false: "by its master", true: "by the next master"}[lost], func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.rest()
			proxy := zktest.NewProxy(t, r.addr)
			master := r.queued(bounded(1), frail(proxy))
			slave, dest := r.source(2, jobs(2), oneByOne, bounded(1)), r.destination(3, jobs(2))
			r.inWork(2)
			if a := r.steer(Order{Stop: true}); a.Running != 2 {
				t.Errorf("%d runs are at work, want 2", a.Running)
			}
			if lost {
				proxy.Stall()
				r.waitFor("event=took-over source=127.0.0.2:")
				master.stop(errStopped)
				r.wait(master)
			}
			r.steer(unbounded)
			if r.stopped(slave, dest); !lost {
				r.stopped(master)
			}
			r.logged("event=stopping", " event=end completed=2 failed=0 vanished=0 changed=0 unfinished=8 skipped=0 ")
			if _, err := r.order(Order{Pause: true}); !errors.Is(err, ErrNoRun) {
				t.Errorf("error %v, want one that says that the run is suspended", err)
			}
			r.log.reset()
			r.finish(r.source(1, resume, jobs(1)), r.destination(2))
			r.identical()
			r.left()
			r.logged("This source is the master from now on: 8 of 10 paths are left", " failed=0 vanished=0 changed=0 unfinished=0 skipped=0 ")
		})
	}
}

// There has to be a run that can be steered.
func TestNothingToSteer(t *testing.T) {
	r := newRig(t)
	if _, err := r.order(Order{Pause: true}); !errors.Is(err, ErrNoRun) {
		t.Errorf("error %v, want that there is no run", err)
	}
	zk := r.zk()
	_, err := zk.CreatePath(t.Context(), r.tree().Ready(), []byte(wire.Start), zkclient.Persistent)
	r.must(err)
	if _, err := r.order(Order{Pause: true}); err == nil || !strings.Contains(err.Error(), "Python") {
		t.Errorf("error %v, want that a Python master follows nobody", err)
	}
	if _, found, err := zk.Exists(t.Context(), r.tree().Control()); found || err != nil {
		t.Errorf("something was written (%v)", err)
	}
}

// An order that cannot be given changes nothing, what goes with it included. One of which nobody knows any more
// whether it was noted, or written, is not said to have changed nothing.
func TestOrderThatFails(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master, zk := r.queued(bounded(1000)), r.zk()
	full := wire.Control{Skip: []wire.Text{wire.Text(strings.Repeat("x", maxControl))}}.Encode()
	_, err := zk.Set(t.Context(), r.tree().Control(), full, -1)
	r.must(err)
	if _, err := r.order(Order{Pause: true, BwLimit: unbounded.BwLimit}); err == nil || errors.Is(err, ErrUnnoted) {
		t.Errorf("error %v, want that nothing was changed", err)
	}
	if data, _, err := zk.Get(t.Context(), r.tree().BwLimit()); err != nil || string(data) != "1000" {
		t.Errorf("the bandwidth is %s (%v), want what it was", data, err)
	}
	_, err = zk.Set(t.Context(), r.tree().Control(), wire.Control{}.Encode(), -1)
	r.must(err)
	proxy := zktest.NewProxy(t, r.addr)
	proxy.SwallowWrites()
	cfg := r.config(9, r.src)
	at(proxy.Addr())(&cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() {
		_, err := Steer(ctx, cfg, Order{Pause: true})
		ended <- err
	}()
	r.until("it is written", func() bool { return strings.Contains(r.control(), "paused") })
	cancel()
	if err := <-ended; !errors.Is(err, ErrUnnoted) {
		t.Errorf("error %v, want that it is not known who has noted it", err)
	}
	r.steer(Order{Unpause: true, BwLimit: unbounded.BwLimit})
	r.finish(r.source(2), r.destination(3), master)
}
