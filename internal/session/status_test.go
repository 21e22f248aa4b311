// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/testtree"
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
	entries, err := queue.TryTakeSome(t.Context(), 100, func(_, _ []byte) bool { return true }) // nothing is left to be done
	r.must(err)
	slave = r.source(2, impatientWatch)
	waitsFor(wire.WaitBytes)
	r.must(queue.ReleaseAll(t.Context(), entries))
	r.finish(master, slave, dest)
}
