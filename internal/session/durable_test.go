// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// sentA begins a session in which path a is sent and not flushed, and the others wait until they are free.
func (r *rig) sentA(change ...func(*Config)) (master, dest, slave *running, free func(...string)) {
	r.t.Helper()
	r.put(r.src, "a", "b", "c")
	r.rest()
	master = r.queued(append(change, depth1)...)
	free = r.heldBack()
	dest = r.destination(2, append(change, rarely)...)
	slave = r.source(3, change...)
	free("1_" + r.path("a"))
	r.waitFor("is sending path " + r.path("a"))
	return master, dest, slave, free
}

func (r *rig) others() []string {
	return []string{"1_" + r.path("b"), "1_" + r.path("c"), "0_" + r.src}
}

// What is sent counts when its destination has it on disk, which the leader asks for when nothing else is left.
func TestCompletedWhenFlushed(t *testing.T) {
	r := newRig(t)
	master, dest, slave, free := r.sentA()
	r.until("a is sent", func() bool { return r.results() == 1 })
	time.Sleep(300 * time.Millisecond)
	if paths := r.state().Paths; paths.Remaining != 4 || r.count("Completed Path") != 0 {
		t.Errorf("%+v, %d paths completed; want none before it is flushed", paths, r.count("Completed Path"))
	}
	free(r.others()...)
	r.finish(slave, dest, master)
	r.identical()
	r.logged("4 completed, 0 failed, 0 vanished, 0 changed, 0 unfinished")
	if r.count("event=sent-again") > 0 {
		t.Errorf("log:\n%s", r.log)
	}
	r.left()
}

// A destination flushes when it leaves, and by itself.
func TestFlushedNowAndThen(t *testing.T) {
	r := newRig(t)
	master, dest, slave, free := r.sentA()
	r.until("a is sent", func() bool { return r.results() == 1 })
	dest.stop(errStopped)
	r.waitFor("Completed Path 1_" + r.path("a"))
	again := r.destination(4)
	free("1_" + r.path("b"))
	r.waitFor("Completed Path 1_" + r.path("b"))
	free("1_"+r.path("c"), "0_"+r.src)
	r.finish(slave, again, master)
	r.identical()
	if r.count("event=sent-again") > 0 {
		t.Errorf("log:\n%s", r.log)
	}
}

// A destination that loses its power takes with it what was not flushed: that is sent again, to another one.
func TestPowerCutAtADestination(t *testing.T) {
	r := newRig(t)
	r.put(r.src, "a", "b")
	r.rest()
	proxy := zktest.NewProxy(t, r.addr)
	master := r.queued(depth1)
	free := r.heldBack()
	lost := r.destination(2, rarely, frail(proxy))
	slave := r.source(3)
	free("1_" + r.path("a"))
	r.until("a is sent", func() bool { return r.results() == 1 })
	proxy.Cut()
	lost.stop(errStopped)
	r.waitFor("event=sent-again path=1_" + r.path("a"))
	if n := r.count("Completed Path"); n > 0 {
		t.Errorf("%d paths completed", n)
	}
	dest := r.destination(4)
	free("1_"+r.path("b"), "0_"+r.src)
	r.finish(slave, dest, master)
	r.identical()
	r.logged("3 completed, 0 failed, 0 vanished, 0 changed, 0 unfinished")
	if n := r.count("Completed Path 1_" + r.path("a")); n != 1 {
		t.Errorf("a is completed %d times", n)
	}
}

// With --no-sync everything counts at once.
func TestNoSync(t *testing.T) {
	r := newRig(t)
	master, dest, slave, free := r.sentA(func(c *Config) { c.Leader.NoSync = true })
	r.waitFor("Completed Path 1_" + r.path("a"))
	if n, err := r.zk().Children(t.Context(), r.tree().AllSynced()); err != nil || len(n) != 0 {
		t.Errorf("%v have flushed, %v", n, err)
	}
	free(r.others()...)
	r.finish(slave, dest, master)
	r.identical()
}

// Results as other destinations leave them: one that says nothing, as a Python one; one whose disk has failed; and one
// that had the name of another before and has left what that had received.
func TestResultsOfOtherDestinations(t *testing.T) {
	r := newRig(t)
	r.put(r.src, "a", "b", "c")
	r.rest()
	master := r.queued(depth1)
	zk := r.zk()
	record := func(name, dest string) {
		t.Helper()
		entry, err := zk.Queue(r.tree().PathQueue()).Take(t.Context())
		r.must(err)
		for string(entry.Value) != "1_"+r.path(name) {
			defer func(e *zkclient.Entry) { r.must(e.Release(t.Context())) }(entry)
			entry, err = zk.Queue(r.tree().PathQueue()).Take(t.Context())
			r.must(err)
		}
		result := wire.Result{Paths: []wire.Text{wire.Text(entry.Value)}, Outcome: wire.Completed, Who: "x:1", Dest: dest}
		r.must(entry.Consume(t.Context(), zkclient.OpCreate(r.tree().Results()+"/result-", result.Encode(), zkclient.Sequential)))
	}
	say := func(whoami string, s wire.Synced) {
		t.Helper()
		r.must(zk.Multi(t.Context(), zkclient.OpCreate(r.tree().Synced(whoami), s.Encode(), zkclient.Persistent), zkclient.OpSet(r.tree().AllSynced(), nil, -1)))
	}
	record("a", "python:1")
	r.waitFor("Completed Path 1_" + r.path("a"))

	say("broken:1", wire.Synced{}.ToVoid(1<<40, "cannot flush: input/output error"))
	record("b", "broken:1")
	r.waitFor("Failed Path 1_" + r.path("b"))
	r.logged("cannot flush: input/output error")

	say(dest127(2), wire.Synced{})
	r.must(zk.Party(r.tree().Party(wire.PartyDests), dest127(2)).Join(t.Context()))
	record("c", dest127(2))
	time.Sleep(200 * time.Millisecond)
	if n := r.count("1_" + r.path("c")); n != 0 {
		t.Errorf("c has ended; log:\n%s", r.log)
	}
	dest, slave := r.destination(2), r.source(3)
	r.waitFor("event=sent-again path=1_" + r.path("c"))
	if err := r.wait(master); err == nil || !strings.Contains(err.Error(), "1 failed, 0 unfinished, 3 completed") {
		t.Errorf("error %v, want one failed and three completed", err)
	}
	r.finish(slave, dest)
	r.left()
}

// Nor does who cleans up after a crash of all clients count what was not flushed.
func TestCrashBeforeTheFlush(t *testing.T) {
	r := newRig(t)
	r.put(r.src, "a", "b")
	r.rest()
	proxy := zktest.NewProxy(t, r.addr)
	master := r.queued(depth1, frail(proxy))
	free := r.heldBack()
	dest, slave := r.destination(2, rarely, frail(proxy)), r.source(3, frail(proxy))
	free("1_" + r.path("a"))
	r.until("a is sent", func() bool { return r.results() == 1 })
	proxy.Cut()
	for _, run := range []*running{master, dest, slave} {
		run.stop(errStopped)
		if err := r.wait(run); err == nil {
			t.Error("ended well")
		}
	}
	r.until("ZooKeeper has seen it", func() bool {
		n, err := r.zk().Party(r.tree().Party(wire.PartyAll), "").Count(t.Context())
		return err == nil && n == 0
	})
	if err := r.wait(r.source(4, depth1)); !errors.Is(err, ErrUnclean) {
		t.Errorf("error %v, want ErrUnclean", err)
	}
	r.logged("Unfinished Path 1_"+r.path("a"), "0 completed, 0 failed, 0 vanished, 0 changed, 3 unfinished")
	r.left()
}
