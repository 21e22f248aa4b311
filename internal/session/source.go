// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"cmp"
	"context"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/session/worker"
)

// Source runs a source until the session is over: as the leader if it is the first of the session, else as a
// worker. A worker returns nil when the session ended, whatever became of the paths; the leader
// wire.ErrIncomplete if some are not done.
func Source(ctx context.Context, cfg Config) error {
	client, base, err := newClient(ctx, cfg, sourceLogger)
	if err != nil {
		return err
	}
	if cfg.Lines == 0 {
		if err := cmp.Or(base.CheckStart(), base.CheckNotEmpty(), checkRsync(ctx, cfg)); err != nil {
			return err
		}
		if unprotected := base.Unprotected(); unprotected != "" {
			client.Log.Warn(unprotected, "event", "unprotected")
		}
	}
	s := &source{life: ctx, client: client, base: base, cfg: cfg}
	defer s.close()
	// partySources last: a source that is there and not in partyExt is a Python one.
	return client.Run(ctx, []string{wire.PartyAll, wire.PartyExt, wire.PartySources}, s.play)
}

// source is a source process, over all its ZooKeeper sessions.
type source struct {
	life   context.Context // of the process
	client *member.Client
	base   *guard.Base
	cfg    Config

	leader *leader.Leader // set once it leads
	worker *worker.Worker // set once it works, beside leading or not
}

func (s *source) close() {
	if s.leader != nil {
		s.leader.Close()
	}
}

// play decides the role at the first time; a client that has lost its ZooKeeper session goes on in the role it
// had.
func (s *source) play(ctx context.Context, m *member.Member) error {
	ready := m.WatchReady(ctx)
	switch {
	case s.leader != nil:
		return s.leader.Resume(ctx, m, ready)
	case s.worker != nil:
		return s.follow(ctx, m, ready)
	}
	lock := m.ZK.Lock(m.Tree.Lock(), "")
	for told := false; ; told = true {
		locked, err := lock.TryAcquire(ctx)
		if err != nil {
			return err
		}
		if locked {
			m.Log.Debug("lock acquired: this source is the master")
			if err := s.lead(); err != nil {
				return err
			}
			return s.leader.Start(ctx, m, lock, ready)
		}
		// Somebody else has the lock. As long as there is no session this need not be a leader: perhaps one
		// that has just ended, or a test of the walk.
		select {
		case <-ready.Started:
			m.Log.Debug("ready to process paths: this source is a slave")
			if s.worker, err = s.newWorker(); err != nil {
				return err
			}
			return s.follow(ctx, m, ready)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(s.client.Timing.Reconnect):
		}
		if !told {
			m.Log.Info("Waiting for the run to begin: another client holds the master's lock", "event", "waiting-for-lock")
			s.client.Joined()
		}
	}
}

// lead makes this source the leader, with jobs of its own if it is given any.
func (s *source) lead() (err error) {
	var work leader.Work
	if s.cfg.Jobs > 0 {
		if s.worker, err = s.newWorker(); err != nil {
			return err
		}
		work = s.worker.Play
	}
	role := s.cfg.Leader
	role.Lines = s.cfg.Lines
	s.leader, err = leader.New(s.life, s.client, s.base, role, leader.Asked{Rsync: s.cfg.Rsync, MaxDelete: s.cfg.maxDelete()}, work)
	return err
}

// follow works under another source's lead.
func (s *source) follow(ctx context.Context, m *member.Member, ready *member.Ready) error {
	s.client.Joined()
	m.Background(func() { missLeader(ctx, m, ready) })
	return s.worker.Play(ctx, m, ready)
}

// missLeader warns of a session that has lost its leader: its workers finish the queue, but nobody ends it.
func missLeader(ctx context.Context, m *member.Member, ready *member.Ready) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ready.Stopped:
			return
		case <-time.After(m.Client.Timing.Leave):
		}
		contenders, err := m.ZK.Children(ctx, m.Tree.Lock())
		if err == nil && len(contenders) == 0 {
			m.Log.Warn("This run has no master any more. Its paths will be sent; to end it stop all clients, then start one source alone", "event", "no-leader")
		}
	}
}

// newWorker makes the part of this source that runs rsync.
func (s *source) newWorker() (*worker.Worker, error) {
	transport, err := s.transport()
	if err != nil {
		return nil, err
	}
	role := s.cfg.Worker
	role.Jobs, role.MaxDelete, role.Deletes = s.cfg.Jobs, s.cfg.maxDelete(), s.cfg.Rsync.Delete
	return worker.New(s.client, transport, role), nil
}

func (s *source) transport() (worker.Transport, error) {
	if s.cfg.Lines > 0 {
		if s.cfg.LineSender != nil {
			return worker.Lines{Sender: s.cfg.LineSender}, nil
		}
		return worker.Lines{Sender: &rsyncrunner.LineSender{Who: s.client.Whoami}}, nil
	}
	guarded, err := guard.NewSource(s.life, s.base)
	if err != nil {
		return nil, err
	}
	return worker.NewRsync(guarded, worker.RsyncConfig{
		Options: s.cfg.Rsync, Module: s.client.Tree.Module(), Prefetch: s.cfg.Prefetch, Lookup: s.client.Timing.Lookup, Stall: s.cfg.Stall,
		Groups: cmp.Or(s.cfg.Leader.Groups, leader.Groups), Stdout: s.cfg.Stdout, Output: s.cfg.Output, Logger: s.client.Log,
	}), nil
}

// maxDelete is what the session may delete, negative if nobody counts.
func (c Config) maxDelete() int {
	if !c.Rsync.Delete || c.Rsync.DryRun || c.Rsync.Verify || c.Lines > 0 {
		return -1
	}
	return c.MaxDelete
}
