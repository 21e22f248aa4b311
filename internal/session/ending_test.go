// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// asked is a client that can be asked to end, as a signal does.
func asked() (change func(*Config), ask func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	return func(c *Config) { c.Member.Ending = ctx }, func() { cancel(errStopped) }
}

// A master that is asked to end, with nobody to take over, has all others give back what they have, and leave; what is
// unfinished is told, and a source with --resume goes on with it.
func TestMasterIsAskedToEnd(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.slowEnd()
	r.rest()
	failed, report := filepath.Join(t.TempDir(), "failed"), filepath.Join(t.TempDir(), "report")
	ending, ask := asked()
	master := r.queued(ending, func(c *Config) { c.Leader.Failed, c.Leader.Report = failed, report })
	begun := r.slowEndLast()
	slave, dest := r.source(2, slow, noMaster), r.destination(3)
	begun()
	ask()
	err := r.wait(master)
	if !errors.Is(err, errStopped) || !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("error %v, want the cause, that not all is done, and how to go on", err)
	}
	for name, run := range map[string]*running{"slave": slave, "destination": dest} {
		if err := r.wait(run); !errors.Is(err, wire.ErrEnded) || !strings.Contains(err.Error(), errStopped.Error()) {
			t.Errorf("%s: error %v, want one that says that the master has ended the run, and why", name, err)
		}
	}
	lines := r.reported(report)
	total, left := lines[len(lines)-1], strings.Count(r.read(failed), "\n")
	if total.Unfinished == 0 || total.Unfinished != left || total.Completed+left != 10 {
		t.Errorf("%d unfinished and %d completed of 10, %d lines in --failed", total.Unfinished, total.Completed, left)
	}
	r.log.reset()
	r.finish(r.source(1, resume), r.source(2, noMaster), r.destination(3))
	r.logged(fmt.Sprintf("This source is the master from now on: %d of 10 paths are left", left), " failed=0 vanished=0 changed=0 unfinished=0 ")
	r.identical()
	r.left()
}

// A run whose master was killed while it suspended it, when it had told the others, is gone on with by sources that come
// together: none takes it for one that has ended.
func TestRunThatWasEndingIsResumed(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	ending, ask := asked()
	master := r.queued(ending)
	ask()
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatalf("error %v, want the cause", err)
	}
	zk, tree := r.zk(), r.tree()
	data, _, err := zk.Get(t.Context(), tree.Meta())
	r.must(err)
	meta, ok := wire.DecodeMeta(data)
	if !ok {
		t.Fatalf("meta %q", data)
	}
	meta.End = "it was asked to end"
	for path, data := range map[string][]byte{tree.Meta(): meta.Encode(), tree.Ready(): []byte(wire.Stop)} {
		_, err := zk.Set(t.Context(), path, data, -1)
		r.must(err)
	}
	_, err = zk.Set(t.Context(), tree.Control(), wire.Control{Stop: true}.Encode(), -1)
	r.must(err)
	sources := []*running{r.source(2, resume), r.source(3, resume), r.source(4, resume)}
	r.waitFor("This source is the master from now on")
	var changed []int64
	for _, path := range []string{tree.Ready(), tree.Control()} {
		stat, _, err := zk.Exists(t.Context(), path)
		r.must(err)
		changed = append(changed, stat.Mzxid)
	}
	if changed[0] != changed[1] || r.control() != "{}" {
		t.Errorf("the run goes on by %x, and that it is to stop is taken back by %x: not in one transaction", changed[0], changed[1])
	}
	r.finish(append(sources, r.destination(5))...)
	r.identical()
	r.left()
}

// A source with --resume that comes while the master waits for the others to leave does not keep it waiting.
func TestResumeOfARunThatIsEnding(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	ending, ask := asked()
	master := r.queued(ending, func(c *Config) { c.Member.Timing.Leave = 100 * time.Millisecond })
	other := r.zk()
	r.must(other.Party(r.tree().Party(wire.PartyAll), "127.0.0.8:1").Join(t.Context()))
	ask()
	r.waitFor("event=waiting-for-clients")
	late := r.source(2, resume, func(c *Config) { c.Member.Timing.Reconnect = time.Hour })
	r.waitFor("event=waiting-for-end")
	again := r.source(3, resume, jobs(1))
	r.until("it waits, too", func() bool { return r.count("event=waiting-for-end") == 2 })
	other.Close()
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Errorf("error %v, want the cause", err)
	}
	r.finish(again, r.destination(4))
	late.stop(errStopped)
	if err := r.wait(late); !errors.Is(err, errStopped) {
		t.Errorf("error %v, want the cause", err)
	}
	r.identical()
	r.left()
}

// The master's own job gives back what it has, too.
func TestMasterAtWorkIsAskedToEnd(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.slowEnd()
	ending, ask := asked()
	master, dest := r.source(1, ending, slow, jobs(1)), r.destination(2)
	r.waitFor("is sending path " + r.path("dir002/dir001") + " ")
	ask()
	if err := r.wait(master); !errors.Is(err, errStopped) || !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want the cause, and that not all is done", err)
	}
	if err := r.wait(dest); !errors.Is(err, wire.ErrEnded) {
		t.Errorf("error %v, want one that says that the master has ended the run", err)
	}
	r.finish(r.source(1, resume, jobs(1)), r.destination(2))
	r.identical()
	r.left()
}

// A source that is asked to end before a run has begun, or that follows another one, ends at once, and no run begins.
func TestOthersAreAskedToEnd(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	ending, ask := asked()
	lock := r.zk().Lock(r.tree().Lock(), "")
	if ok, err := lock.TryAcquire(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	waiting, dest := r.source(1, ending), r.destination(2, ending)
	r.waitFor("event=waiting-for-lock")
	ask()
	for _, run := range []*running{waiting, dest} {
		if err := r.wait(run); !errors.Is(err, errStopped) {
			t.Errorf("error %v, want the cause", err)
		}
	}
}

// Without ZooKeeper a master that is asked to end does end.
func TestMasterIsAskedToEndWithoutZookeeper(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	proxy := zktest.NewProxy(t, r.addr)
	r.addr = proxy.Addr()
	ending, ask := asked()
	master := r.queued(ending, func(c *Config) {
		c.Member.Zookeeper.SessionTimeout = 2 * time.Second
		c.Member.Zookeeper.ConnectTimeout = time.Second
		c.Member.Timing.Ending = time.Second
	})
	proxy.Cut()
	ask()
	if err := r.wait(master); err == nil {
		t.Error("it is said to have gone well")
	}
}

// A run that is gone, as somebody has deleted its znodes, ends for all with an error that says so.
func TestRunThatIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		remove  func(*rig, *zkclient.Client) error
		cleaned bool // the master can still clean up
	}{
		"watch node": {func(r *rig, zk *zkclient.Client) error { return zk.Delete(t.Context(), r.tree().Ready()) }, true},
		"all":        {func(r *rig, zk *zkclient.Client) error { return zk.DeleteTree(t.Context(), r.tree().Root()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.slowEnd()
			r.rest()
			failed := filepath.Join(t.TempDir(), "failed")
			master := r.queued(func(c *Config) { c.Leader.Failed = failed })
			begun := r.slowEndLast()
			slave, dest := r.source(2, slow), r.destination(3)
			begun()
			if err := c.remove(r, r.zk()); err != nil && !errors.Is(err, zkclient.ErrNotEmpty) {
				t.Fatal(err)
			}
			for name, run := range map[string]*running{"master": master, "slave": slave, "destination": dest} {
				if err := r.wait(run); err == nil || !strings.Contains(err.Error(), "are gone") {
					t.Errorf("%s: error %v, want one that says that the znodes are gone", name, err)
				}
			}
			if data, err := os.ReadFile(failed); err != nil || !strings.Contains(string(data), r.path("dir002/dir001")) {
				t.Errorf("--failed has %q (%v), want what was in work", data, err)
			}
			if c.cleaned {
				r.left()
			}
		})
	}
}

// Somebody else than the master ends the run: nobody takes that for its end.
func TestRunThatAStrangerEnds(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	master, slave := r.queued(), r.source(2)
	if _, err := r.zk().Set(t.Context(), r.tree().Ready(), []byte(wire.Stop), -1); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]*running{"master": master, "slave": slave} {
		if err := r.wait(run); err == nil || !strings.Contains(err.Error(), "it was not the master") {
			t.Errorf("%s: error %v, want one that says who has not ended the run", name, err)
		}
	}
	r.left()
}

// short has ZooKeeper sessions end soon.
func short(c *Config) { c.Member.Zookeeper.SessionTimeout = 2 * time.Second }

// A source that finds a run whose master has lost its connection follows it when that is back.
func TestMasterComesBack(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	proxy := zktest.NewProxy(t, r.addr)
	direct := r.addr
	r.addr = proxy.Addr()
	master := r.queued(short)
	r.addr = direct
	proxy.Cut()
	r.nobodyLeft()
	newcomer := r.source(2)
	r.waitFor("event=waiting-for-master")
	proxy.Heal()
	r.waitFor("event=master-is-back")
	r.finish(newcomer, r.destination(3), master)
	r.identical()
	r.left()
}

// A source that is started right after a crash waits until ZooKeeper has seen the others gone.
func TestSourceAfterACrash(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	proxy := zktest.NewProxy(t, r.addr)
	direct := r.addr
	r.addr = proxy.Addr()
	dead := []*running{r.queued(short), r.destination(2, short)}
	r.waitFor("Added destination")
	r.addr = direct
	ghost := r.zk()
	r.must(ghost.Party(r.tree().Party(wire.PartyAll), "dead:1").Join(t.Context()))
	proxy.Cut()
	lock := func() int {
		names, err := r.zk().Children(t.Context(), r.tree().Lock())
		r.must(err)
		return len(names)
	}
	r.until("the master's lock is free", func() bool { return lock() == 0 })
	source := r.source(3)
	r.waitFor("event=waiting-for-master")
	ghost.Close()
	if err := r.wait(source); !errors.Is(err, ErrUnclean) || !strings.Contains(err.Error(), "start the session again") {
		t.Errorf("error %v, want ErrUnclean, and what to do", err)
	}
	r.left()
	proxy.Heal()
	for _, run := range dead {
		if err := r.wait(run); err == nil || !strings.Contains(err.Error(), "cleaned up by another source (127.0.0.3:") {
			t.Errorf("error %v, want one that names who has cleaned up", err)
		}
	}
}

// A source that meets the daemon of another session of the same name, on another ZooKeeper, changes nothing there.
func TestDestinationOfAnotherZookeeper(t *testing.T) {
	r, o := newRig(t), newRigAlone(t)
	other := zktest.Start(t)
	o.addr, o.name = other.Addr(), r.name
	for _, rig := range []*rig{r, o} {
		rig.makeTree(smallTree)
		rig.rest()
	}
	r.put(o.dst, "precious")
	deletes := func(c *Config) { c.Rsync.Delete = true }
	// Here a destination has left its port to that of the other session, which has not been noticed.
	port := freePort(t)
	theirs := o.destination(3, func(c *Config) { c.Destination.Port = port })
	master, otherMaster := r.queued(deletes), o.queued(deletes)
	o.waitFor("Added destination")
	gone := r.zk()
	whoami := wire.Whoami("127.0.0.3", 1)
	key := wire.Key{Fingerprint: strings.Repeat("0a", 32), Mode: "tls"}
	for node, data := range map[string]string{
		r.tree().PortMap(whoami): string(wire.EncodeNumber(port)), r.tree().Key(whoami): string(key.Encode()),
		r.tree().Party(wire.PartyExt) + "/gone__party__": whoami,
	} {
		_, err := gone.CreatePath(t.Context(), node, []byte(data), zkclient.Ephemeral)
		r.must(err)
	}
	r.must(gone.Queue(r.tree().ExtDestQueue()).Put(t.Context(), zkclient.DefaultPriority, wire.Dest{Port: port, Whoami: whoami}.Encode()))
	slave := r.source(2, deletes, func(c *Config) { c.Member.Timing.SetAside = time.Hour })
	r.waitFor("event=set-aside destination=" + whoami)
	gone.Close()
	entries, err := os.ReadDir(o.dst)
	if r.must(err); len(entries) != 1 {
		t.Errorf("the other session's destination has %v, want what was there", entries)
	}
	r.finish(r.destination(4), slave, master)
	r.identical()
	o.finish(o.source(2, deletes), theirs, otherMaster)
	o.identical()
}

// A run that was suspended is cleaned up by a single source that is not to go on with it.
func TestSuspendedRunIsCleanedUp(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	ending, ask := asked()
	master := r.queued(ending)
	ask()
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if err := r.wait(r.source(2)); !errors.Is(err, ErrUnclean) {
		t.Errorf("error %v, want that an earlier run was not finished", err)
	}
	r.left()
}
