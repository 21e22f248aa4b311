// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
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

// briefly has clients say often what they do.
func briefly(c *Config) { c.Member.Timing.Status = 100 * time.Millisecond }

// snapshot waits for a snapshot of the session.
func (r *rig) snapshot(what string, ok func(*status.Snapshot) bool) *status.Snapshot {
	r.t.Helper()
	reader, err := status.NewReader(r.zk(), r.name)
	r.must(err)
	var s *status.Snapshot
	r.until(what, func() bool {
		s, err = reader.Read(r.t.Context())
		r.must(err)
		return ok(s)
	})
	return s
}

// state is what can be seen of the session now.
func (r *rig) state() *status.Snapshot {
	r.t.Helper()
	s, err := status.Read(r.t.Context(), r.zk(), r.name)
	r.must(err)
	return s
}

// client is one of a snapshot.
func client(s *status.Snapshot, host string) *status.Client {
	for i, c := range s.Clients {
		if wire.HostOf(c.Who) == host {
			return &s.Clients[i]
		}
	}
	return nil
}

// What clients do can be seen while they do it: the bytes of a run under way too.
func TestStatusOfRuns(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{1}, Files: 1, Size: 500_000})
	master := r.source(1, briefly, func(c *Config) { c.Jobs, c.Leader.Depth, c.Rsync.Extra = 1, 1, []string{"bwlimit:150"} })
	dest := r.destination(2, briefly, func(c *Config) { c.Destination.Slots = 3 })
	s := r.snapshot("bytes are seen", func(s *status.Snapshot) bool {
		return len(s.Runs) == 1 && s.Runs[0].Sent > 0 && s.Rates.Now > 0 && client(s, "127.0.0.2") != nil && client(s, "127.0.0.2").Dest != nil && client(s, "127.0.0.2").Dest.Size > 0
	})
	run, source, sink := s.Runs[0], client(s, "127.0.0.1"), client(s, "127.0.0.2")
	if run.Source != source.Who || run.Destination != sink.Who || run.Attempt != 1 || run.Paths < 1 || run.Began.IsZero() {
		t.Errorf("run %+v", run)
	}
	if !source.Master || s.Master != source.Who || source.Source == nil || source.Source.Jobs != 1 || source.Source.Busy != 1 || string(source.Base) != r.src {
		t.Errorf("source %+v", source)
	}
	if d := sink.Dest; d.Slots != 3 || d.Busy != 1 || d.State != wire.Active || string(sink.Base) != r.dst || d.Free == 0 {
		t.Errorf("destination %+v", d)
	}
	if s.State != status.Running || s.Paths.Remaining == 0 {
		t.Errorf("snapshot %+v", s)
	}
	r.finish(master, dest)
	if s := r.snapshot("the run is over", func(s *status.Snapshot) bool { return s.State == status.None }); len(s.Runs) > 0 {
		t.Errorf("runs %+v", s.Runs)
	}
	r.left()
}

// impatientWatch has a leader say soon that the run stands still.
func impatientWatch(c *Config) {
	briefly(c)
	c.Member.Timing.Missing, c.Member.Timing.Still = 300*time.Millisecond, time.Second
}

// That a run stands still is said, with the reason, and seen; and that it goes on.
func TestStandingStill(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	waitsFor := func(what string) {
		t.Helper()
		s := r.snapshot("it waits for "+what, func(s *status.Snapshot) bool { return s.State == status.Still && s.Waits[0].For == what })
		if s.Waits[0].Since.IsZero() || len(s.Waits) != 1 || s.Estimate.Seconds != nil {
			t.Errorf("waits %+v, estimate %+v", s.Waits, s.Estimate)
		}
		r.waitFor("event=standing-still-" + what)
	}
	master := r.queued(impatientWatch)
	waitsFor(wire.WaitClients)
	slave := r.source(2, impatientWatch)
	waitsFor(wire.WaitDestinations)
	slave.stop(errStopped)
	_ = r.wait(slave)
	waitsFor(wire.WaitClients)
	if n := strings.Count(r.log.String(), "standing-still-"+wire.WaitDestinations); n != 1 {
		t.Errorf("said %d times", n)
	}
	dest := r.destination(3, impatientWatch)
	waitsFor(wire.WaitSources)
	queue := r.zk().Queue(r.tree().PathQueue())
	entries, err := queue.TryTakeSome(t.Context(), 100, func(_, _ *zkclient.Entry) bool { return true }) // nothing is left to be done
	r.must(err)
	slave = r.source(2, impatientWatch)
	waitsFor(wire.WaitBytes)
	r.must(queue.ReleaseAll(t.Context(), entries))
	r.finish(master, slave, dest)
}

// Who has lost its ZooKeeper session says again what it does in the next one, under the session's ACL, and goes with that;
// and the account of a session that nobody else has is not changed by looking at it.
func TestStatusOverALostSession(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	proxy := zktest.NewProxy(t, r.addr)
	master := r.queued(briefly)
	dest := r.destination(2, briefly, frail(proxy))
	says := func(s *status.Snapshot) bool {
		c := client(s, "127.0.0.2")
		return c != nil && c.Dest != nil && c.Dest.State == wire.Active && c.Load != nil
	}
	before := client(r.snapshot("the destination says what it does", says), "127.0.0.2")
	node := r.tree().Status(before.Who)
	stat, _, err := r.zk().Exists(t.Context(), node)
	r.must(err)
	acl, err := r.zk().GetACL(t.Context(), node)
	if r.must(err); len(acl) != 1 || acl[0].Scheme != "digest" || stat.EphemeralOwner == 0 {
		t.Errorf("ACL %+v, owner %x", acl, stat.EphemeralOwner)
	}
	proxy.Cut()
	r.snapshot("it is gone", func(s *status.Snapshot) bool { return client(s, "127.0.0.2") == nil })
	proxy.Heal()
	after := client(r.snapshot("it says so again", says), "127.0.0.2")
	if after.Who != before.Who || !after.Since.Equal(before.Since) {
		t.Errorf("it was %+v, and is %+v", before, after)
	}
	r.finish(r.source(3, briefly), master, dest)
	r.identical()
	r.left()
	r.logged("10 completed, 0 failed, 0 vanished, 0 changed, 0 unfinished")
}

// A client that has nothing to say anew writes nothing.
func TestStatusOnlyIfChanged(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued(briefly)
	dest := r.destination(2, briefly)
	node := ""
	r.snapshot("the destination says what it does", func(s *status.Snapshot) bool {
		c := client(s, "127.0.0.2")
		if c == nil || c.Dest == nil || c.Dest.State != wire.Active || c.Dest.Size == 0 {
			return false
		}
		node = r.tree().Status(c.Who)
		return true
	})
	first, _, err := r.zk().Exists(t.Context(), node)
	r.must(err)
	time.Sleep(time.Second) // ten periods
	last, _, err := r.zk().Exists(t.Context(), node)
	if r.must(err); last.Version > first.Version+1 { // its file system may just have passed a thousandth
		t.Errorf("written %d times", last.Version-first.Version)
	}
	r.finish(r.source(3), master, dest)
}

// A look at a session of fifty clients writes nothing, and reads little; the failures that it names cost a read each, as
// a path may fail once more, with other words.
func TestCostOfALook(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued(briefly)
	for i := range 49 {
		zk, who := r.zk(), wire.Whoami("127.0.0.9", i)
		r.must(zk.Party(r.tree().Party(wire.PartyAll), who).Join(t.Context()))
		said := wire.Status{Role: wire.RoleSource, Source: &wire.SourceStatus{Jobs: 8, Runs: make([]wire.RunStatus, 8)}}
		_, err := zk.CreatePath(t.Context(), r.tree().Status(who), said.Encode(), zkclient.Ephemeral)
		r.must(err)
	}
	proxy := zktest.NewProxy(t, r.addr)
	reader, err := status.NewReader(r.zkAt(proxy.Addr()), r.name)
	r.must(err)
	failure := func(i int, text string) (node string, data []byte) {
		failed := wire.Failure{Path: wire.Text(fmt.Sprintf("1_/%03d", i)), Errors: []string{text}}
		return r.tree().Failure(failed.Path), failed.Encode()
	}
	for look, most := range []int{130, 80, 180, 180} {
		switch look {
		case 2:
			for i := range status.MaxFailures {
				node, data := failure(i, "first")
				_, err := r.zk().CreatePath(t.Context(), node, data, zkclient.Persistent)
				r.must(err)
			}
		case 3:
			node, data := failure(7, "then")
			_, err := r.zk().Set(t.Context(), node, data, -1)
			r.must(err)
		}
		before, _ := proxy.Requests()
		s, err := reader.Read(t.Context())
		r.must(err)
		after, writes := proxy.Requests()
		t.Logf("look %d: %d reads", look, after-before)
		if len(s.Clients) != 50 || len(s.Runs) != 49*8 {
			t.Fatalf("%d clients, %d runs", len(s.Clients), len(s.Runs))
		}
		if after-before > most || writes > 0 {
			t.Errorf("look %d: %d reads, want at most %d, and %d writes", look, after-before, most, writes)
		}
		if look >= 2 && (len(s.Failures) != status.MaxFailures || s.Failures[7].Errors[0] != []wire.Text{2: "first", 3: "then"}[look]) {
			t.Errorf("look %d: %d failures, one is %+v", look, len(s.Failures), s.Failures[7])
		}
	}
	master.stop(errStopped)
	_ = r.wait(master)
}
