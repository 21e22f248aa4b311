// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// nobodyLeft waits until all clients of the session are gone.
func (r *rig) nobodyLeft() {
	r.t.Helper()
	zk := r.zk()
	r.until("all clients have gone", func() bool {
		n, err := zk.Party(r.tree().Party(wire.PartyAll), "").Count(r.t.Context())
		return err == nil && n == 0
	})
}

// A master that comes back while another run is under way ends, at once, and
// leaves that run alone.
func TestMasterThatComesBackInAnotherRun(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	proxy := zktest.NewProxy(t, r.addr)
	direct := r.addr
	r.addr = proxy.Addr()
	lost := r.queued(func(c *Config) { c.Member.Zookeeper.SessionTimeout = 2 * time.Second })
	r.addr = direct
	proxy.Cut()
	r.waitFor("event=session-lost")
	r.nobodyLeft()
	if err := r.wait(r.source(2)); !errors.Is(err, ErrUnclean) {
		t.Fatal(err)
	}
	r.log.reset()
	master := r.source(3)
	r.waitFor("pathqueue building finished")
	proxy.Heal()
	if err := r.wait(lost); err == nil || !strings.Contains(err.Error(), "cleaned up by another source") {
		t.Errorf("error %v, want one that says the session was cleaned up", err)
	}
	if n, err := r.zk().Queue(r.tree().PathQueue()).Len(t.Context()); n != 10 || err != nil {
		t.Errorf("%d paths in the other run's queue (%v), want all 10", n, err)
	}
	r.finish(r.source(4), r.destination(5), master)
	r.identical()
}

// A source that finds the lock taken, but no run, becomes what is needed later.
func TestLockWithoutARun(t *testing.T) {
	hold := func(t *testing.T, r *rig) *zkclient.Lock {
		t.Helper()
		lock := r.zk().Lock(r.tree().Lock(), "")
		if ok, err := lock.TryAcquire(t.Context()); !ok || err != nil {
			t.Fatal(ok, err)
		}
		return lock
	}
	t.Run("master", func(t *testing.T) {
		r := newRig(t)
		r.makeTree(smallTree)
		lock := hold(t, r)
		waiting := r.source(1)
		r.waitFor("event=waiting-for-lock")
		r.must(lock.Release(t.Context()))
		r.finish(waiting, r.slave(2), r.destination(3))
		r.identical()
		r.logged(dest127(2) + " is sending path")
	})
	t.Run("slave", func(t *testing.T) {
		r := newRig(t)
		r.makeTree(smallTree)
		lock := hold(t, r)
		zk := r.zk()
		inLine := func(n int) {
			t.Helper()
			r.until("it waits for the lock", func() bool {
				names, err := zk.Children(t.Context(), r.tree().Lock())
				return err == nil && len(names) == n
			})
		}
		never := func(c *Config) { c.Member.Timing.Reconnect = time.Hour }
		master := r.source(1, never)
		inLine(2)
		slave := r.source(2, never)
		inLine(3)
		r.must(lock.Release(t.Context()))
		r.finish(master, slave, r.destination(3))
		r.identical()
		r.logged(dest127(2) + " is sending path")
	})
}

// manyDirs are more than a walk can be ahead of what is queued.
var manyDirs = testtree.TreeOptions{Fanout: []int{80, 80}}

// A master that cannot go on ends the run for all, and names what is not done.
func TestMasterThatFailsInTheWalk(t *testing.T) {
	r := newRig(t)
	r.makeTree(manyDirs)
	dest := r.destination(3)
	proxy := zktest.NewProxy(t, r.addr)
	direct := r.addr
	r.addr = proxy.Addr()
	master := r.source(1, deleting, func(c *Config) { c.Member.Zookeeper.SessionTimeout = 30 * time.Second })
	r.addr = direct
	zk := r.zk()
	r.until("the queue fills", func() bool {
		n, err := zk.Queue(r.tree().PathQueue()).Len(t.Context())
		return err == nil && n > 0
	})
	proxy.Stall() // and so the walk, which is ahead by a few batches only
	slave := r.source(2, deleting)
	r.waitFor("is sending path")
	r.empty()
	proxy.Heal()
	err := r.wait(master)
	if !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "--allow-empty") {
		t.Errorf("error %v, want wire.ErrIncomplete and the reason", err)
	}
	r.finish(slave, dest)
	unfinished := strings.Count(r.log.String(), "Unfinished Path ")
	if unfinished == 0 || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("%d unfinished", unfinished)) {
		t.Errorf("%d unfinished paths named, the error is %v", unfinished, err)
	}
	r.logged("event=broken")
	r.left()
}

// What has left the queue without a result is not done.
func TestQueueThatSomebodyDeletes(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	master := r.queued()
	r.must(r.zk().DeleteTree(t.Context(), r.tree().PathQueue()))
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "10 unfinished") {
		t.Errorf("error %v, want wire.ErrIncomplete with 10 unfinished", err)
	}
	r.logged("event=lost-paths paths=10")
	r.left()
}

// A session is active as long as its master has not cleaned up.
func TestStateWithAnEmptyQueue(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	stays := r.zk()
	r.must(stays.Party(r.tree().Party(wire.PartyAll), "python:1").Join(t.Context()))
	slave := r.source(2) // which stays until the master has cleaned up
	r.finish(r.destination(3))
	if s := r.state(); s.State != status.Running || s.Paths.Remaining > 0 || s.Paths.Failed > 0 {
		t.Errorf("%+v, want a run without paths", s)
	}
	r.waitFor("event=waiting-for-clients clients=[python:1]")
	stays.Close()
	r.finish(master, slave)
	if s := r.state(); s.State != status.None {
		t.Errorf("%+v after the run", s)
	}
}

// A --pathsonly that is stopped takes its queue away.
func TestInterruptedPathsOnly(t *testing.T) {
	r := newRig(t)
	r.makeTree(manyDirs)
	zk := r.zk()
	walk := r.start(func(ctx context.Context, c Config) error {
		_, err := PathsOnly(ctx, c)
		return err
	}, r.config(1, r.src))
	r.until("the queue fills", func() bool {
		n, err := zk.Queue(r.tree().PathQueue()).Len(t.Context())
		return err == nil && n > 0
	})
	walk.stop(errStopped)
	if err := r.wait(walk); !errors.Is(err, errStopped) {
		t.Errorf("error %v, want the cause of the stop", err)
	}
	r.left()
	if names, err := zk.Children(t.Context(), r.tree().Lock()); len(names) != 0 || err != nil {
		t.Errorf("the lock is held by %v (%v)", names, err)
	}
}

// What an earlier run has left is not counted in the next.
func TestLeavingsAreNotCounted(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	zk := r.zk()
	put := func(path, value string) {
		t.Helper()
		_, err := zk.CreatePath(t.Context(), path, []byte(value), zkclient.Persistent)
		r.must(err)
	}
	put(r.tree().Stats()+"/Number_of_files", "5000000000")
	put(r.tree().Results()+"/result-0000000007", `{"paths":["1_/old"],"outcome":"failed","who":"x:1"}`)
	put(r.tree().Links()+"/note-0000000007", `[{"ino":1,"nlink":3,"paths":["old/a","old/b"]}]`)
	put(r.tree().Deletes(), "0")
	for _, queue := range []string{r.tree().FailedQueue(), r.tree().CompletedQueue(), r.tree().PathQueue(), r.tree().ExtQueue()} {
		r.must(zk.Queue(queue).Put(t.Context(), zkclient.DefaultPriority, []byte("1_/old")))
	}
	r.extra("")
	r.age("")
	r.finish(r.source(1, maxDelete(100)), r.slave(2, maxDelete(100)), r.destination(3))
	r.identical()
	r.logged("10 completed, 0 failed")
	if log := r.log.String(); strings.Contains(log, "50000000") || strings.Contains(log, "/old") || strings.Contains(log, "old/a") {
		t.Errorf("leavings were counted:\n%s", log)
	}
}
