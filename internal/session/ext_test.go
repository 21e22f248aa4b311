// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
)

// oddTree has one path for every source, the root, and one for Go sources only.
func (r *rig) oddTree() {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Join(r.src, "#x"), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.age("#x")
}

// impatient makes a master look for Go sources.
func impatient(c *Config) {
	c.Member.Timing.NeedGo, c.Member.Timing.GiveUp = 200*time.Millisecond, 600*time.Millisecond
}

// finishPaths is what a Python source does with everything it can take.
func finishPaths(t *testing.T, c *zkclient.Client, tr wire.Tree) {
	t.Helper()
	for {
		entries, err := c.Queue(tr.PathQueue()).TryTakeSome(t.Context(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if entries == nil {
			return
		}
		done := c.Queue(tr.CompletedQueue())
		if err := errors.Join(done.Put(t.Context(), zkclient.DefaultPriority, entries[0].Value), entries[0].Consume(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

// With Python sources alone the master says that a Go source is needed, and ends
// the run without the paths for that one when there has been time to start it.
func TestNoGoSource(t *testing.T) {
	r := newRig(t)
	r.oddTree()
	master := r.source(1, impatient)
	r.waitFor("pathqueue building finished")
	python := r.zk()
	for _, kind := range []string{wire.PartyAll, wire.PartySources} {
		if err := python.Party(r.tree().Party(kind), "python:1").Join(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.waitFor("event=need-go-source paths=1")
	time.Sleep(time.Second)
	if strings.Contains(r.log.String(), "event=gave-up") {
		t.Error("the run ended while there were paths that anybody can send")
	}
	finishPaths(t, python, r.tree())
	r.waitFor("event=gave-up paths=1")
	python.Close()
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "0 failed, 1 unfinished, 1 completed") {
		t.Errorf("error %v, want wire.ErrIncomplete with 1 unfinished", err)
	}
	log := r.log.String()
	if !strings.Contains(log, "Unfinished Path 0_"+r.src+"/#x") {
		t.Error("the unfinished path is not named")
	}
	if n := strings.Count(log, "No Go source is connected"); n != 1 {
		t.Errorf("said %d times that a Go source is needed", n)
	}
	r.left()
}

// Without any source those paths wait, as all others do.
func TestNoSourceAtAll(t *testing.T) {
	r := newRig(t)
	r.oddTree()
	master := r.source(1, impatient)
	r.waitFor("pathqueue building finished")
	finishPaths(t, r.zk(), r.tree())
	time.Sleep(2 * time.Second)
	if strings.Contains(r.log.String(), "go-source") {
		t.Errorf("the master misses Go sources where there is no source at all; log:\n%s", r.log)
	}
	r.finish(r.source(2), r.destination(3), master)
	r.identical()
}

// What a Go run has left that a Python client cleaned up is neither sent nor
// counted in a Python master's run.
func TestExtQueueOfAnotherRun(t *testing.T) {
	r := newRig(t)
	r.oddTree()
	zk := r.zk()
	put := func(path, value string) {
		t.Helper()
		if _, err := zk.CreatePath(t.Context(), path, []byte(value), zkclient.Persistent); err != nil {
			t.Fatal(err)
		}
	}
	old := "1_" + filepath.Dir(r.src) + "/elsewhere/#old"
	if err := zk.Queue(r.tree().ExtQueue()).Put(t.Context(), zkclient.DefaultPriority, []byte(old)); err != nil {
		t.Fatal(err)
	}
	put(r.tree().Meta(), `{"format":1,"epoch":1,"queued":1,"walked":true}`)
	if s := r.state(); s.State != status.None {
		t.Errorf("%+v; want no session", s)
	}

	// A Python master, as far as a slave sees it.
	lock := zk.Lock(r.tree().Lock(), "")
	if ok, err := lock.TryAcquire(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	put(r.tree().Ready(), wire.Start)
	if err := zk.Queue(r.tree().PathQueue()).Put(t.Context(), zkclient.DefaultPriority, []byte("1_"+r.src)); err != nil {
		t.Fatal(err)
	}
	if s := r.state(); s.Paths.Remaining != 1 || s.State == status.None {
		t.Errorf("%+v; want 1 remaining", s)
	}
	slave, dest := r.source(2), r.destination(3)
	r.until("the path is completed", func() bool {
		n, err := zk.Queue(r.tree().CompletedQueue()).Len(t.Context())
		return n == 1 && err == nil
	})
	time.Sleep(500 * time.Millisecond) // for what is not to happen
	if n, err := zk.Queue(r.tree().ExtQueue()).Len(t.Context()); n != 1 || err != nil {
		t.Errorf("%d entries of the other run are left (%v), want 1", n, err)
	}
	if _, err := zk.Set(t.Context(), r.tree().Ready(), []byte(wire.Stop), -1); err != nil {
		t.Fatal(err)
	}
	r.finish(slave, dest)
	r.identical()

	// The run of that master is unclean: its paths are named, not those of the other run.
	if err := lock.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(r.source(4)); !errors.Is(err, ErrUnclean) {
		t.Errorf("error %v, want ErrUnclean", err)
	}
	if log := r.log.String(); strings.Contains(log, "#old") || !strings.Contains(log, "Completed Path 1_"+r.src) {
		t.Errorf("log of the clean-up:\n%s", log)
	}
	r.left()
}

// A path that ended twice, or in two ways, counts once, as the worst of them.
func TestPathThatEndedTwice(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.source(1)
	r.waitFor("pathqueue building finished")
	zk := r.zk()
	put := func(queue string, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := zk.Queue(queue).Put(context.Background(), zkclient.DefaultPriority, []byte("1_"+r.src+"/"+name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(r.tree().FailedQueue(), "dir000/dir001", "dir001/dir000")
	put(r.tree().CompletedQueue(), "dir000/dir000", "dir000/dir001", "dir000/dir001")
	put(r.tree().PathQueue(), "dir001/dir001")
	slave, dest := r.source(2), r.destination(3)
	err := r.wait(master)
	if !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "2 failed, 0 unfinished, 8 completed") {
		t.Errorf("error %v, want 2 failed and 8 completed", err)
	}
	r.finish(slave, dest)
	log := r.log.String()
	for _, line := range []string{
		"Completed Path 1_" + r.src + "/dir000/dir000", "Failed Path 1_" + r.src + "/dir000/dir001",
		"Failed Path 1_" + r.src + "/dir001/dir000", "Completed Path 1_" + r.src + "/dir001/dir001",
	} {
		if n := strings.Count(log, line+`"`); n != 1 {
			t.Errorf("%d times in the log, want once: %s", n, line)
		}
		if strings.Contains(line, "Failed") && strings.Contains(log, strings.Replace(line, "Failed", "Completed", 1)+`"`) {
			t.Errorf("completed too: %s", line)
		}
	}
}

// A master that works itself is the Go source that such paths need.
func TestMasterWithJobsIsAGoSource(t *testing.T) {
	r := newRig(t)
	r.oddTree()
	master := r.source(1, impatient, jobs(1))
	r.waitFor("pathqueue building finished")
	python := r.zk()
	for _, kind := range []string{wire.PartyAll, wire.PartySources} {
		r.must(python.Party(r.tree().Party(kind), "python:1").Join(t.Context()))
	}
	time.Sleep(2 * time.Second) // for a master that would give up
	dest := r.destination(2)
	r.until("all paths are done", func() bool { return strings.Contains(r.log.String(), "Completed Path 0_"+r.src+"/#x") })
	python.Close()
	r.finish(master, dest)
	r.identical()
	if strings.Contains(r.log.String(), "go-source") {
		t.Errorf("the master misses a Go source; log:\n%s", r.log)
	}
}
