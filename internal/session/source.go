// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"vsc-zk/internal/link"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/session/worker"
	"vsc-zk/internal/zkclient"
)

// Source runs a source until the session is over: as the leader if it is the first of the session, else as a
// worker. A worker returns nil when the session ended, whatever became of the paths; the leader
// wire.ErrIncomplete if some are not done.
func Source(ctx context.Context, cfg Config) error {
	s := &source{cfg: cfg}
	// Who leads a run ends that first.
	ctx, release := untilAsked(ctx, cfg.Member, func(cause error) bool {
		l := s.leader.Load()
		return l != nil && l.End(cause)
	})
	defer release()
	client, err := newClient(ctx, cfg, sourceLogger)
	if err != nil {
		return err
	}
	if err := cfg.checkLeader(); err != nil {
		return err
	}
	s.life, s.client = ctx, client
	client.Tell(func(status *wire.Status) { status.Role = wire.RoleSource })
	if s.identity, err = link.NewIdentity(); err != nil {
		return err
	}
	if !cfg.Inherit {
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	defer s.close()
	defer func() {
		if s.proxy != nil {
			s.proxy.Close()
		}
	}()
	// PartySources comes last, once the role is known: a source that is there and not in PartyExt is a
	// Python one, and one that has other options than the leader must not be counted as a worker.
	err = client.Run(ctx, []string{wire.PartyAll, wire.PartyExt}, cfg.watched(s.play))
	if l := s.leader.Load(); l != nil && cfg.Ended != nil {
		if summary := l.Summary(); summary != nil {
			cfg.Ended(*summary)
		}
	}
	return err
}

// source is a source process, over all its ZooKeeper sessions.
type source struct {
	life   context.Context // of the process
	client *member.Client
	base   *guard.Base
	cfg    Config

	identity *link.Identity // what this process is known by to destinations
	proxy    *link.Proxy    // of all its rsyncs; nil: none has been run yet

	ending sync.Once // for saying that the run it came to was ending

	leader atomic.Pointer[leader.Leader] // set once it leads
	worker *worker.Worker                // set once it works, beside leading or not
}

// settle looks, with the options that hold from now on, for all that would keep this source from working.
func (s *source) settle(ctx context.Context) (err error) {
	if s.base, err = s.cfg.newBase(); err != nil {
		return err
	}
	s.cfg.Base.Path = s.base.Dir
	dir := wire.Text(s.base.Dir)
	s.client.Tell(func(status *wire.Status) { status.Base = dir })
	if s.cfg.Lines > 0 {
		return nil
	}
	if err := cmp.Or(checkBase(s.base), s.base.CheckExclude(), s.base.CheckNotEmpty(), s.cfg.checkExclude(ctx), checkRsync(ctx, &s.cfg)); err != nil {
		return err
	}
	if err := s.warnOfRsync(ctx); err != nil {
		return err
	}
	if unprotected := s.base.Unprotected(); unprotected != "" {
		s.client.Log.Warn(unprotected, "event", "unprotected")
	}
	return nil
}

// warnOfRsync says what the rsync of this source, or its user, cannot do.
func (s *source) warnOfRsync(ctx context.Context) error {
	follows, err := rsyncrunner.FollowsLinks(ctx)
	if err != nil {
		return err
	}
	if follows {
		s.client.Log.Warn("The rsync of this source is older than 3.5.0: whoever owns a directory of the tree can swap it for a link while rsync reads below it, and have it send files from elsewhere. Install rsync 3.5.0 or newer where others own directories",
			"event", "old-rsync")
	}
	if os.Geteuid() != 0 {
		s.client.Log.Warn("This source does not run as root: what its user cannot read fails, and extended attributes that are only for root are not sent", "event", "not-root")
	}
	return nil
}

func (s *source) close() {
	if l := s.leader.Load(); l != nil {
		l.Close()
	}
}

// play decides the role at the first time; a client that has lost its ZooKeeper session goes on in the role it
// had.
func (s *source) play(ctx context.Context, m *member.Member) error {
	if s.base != nil { // else it is the leader's, which is not known yet
		if err := s.meet(ctx, m); err != nil {
			return err
		}
	}
	ready := m.WatchReady(ctx)
	if l := s.leader.Load(); l != nil && l.Begun() {
		return s.lead(ctx, m, ready, func() error { return l.Resume(ctx, m, ready) })
	} else if l != nil {
		s.drop()
	}
	if s.worker != nil {
		return s.follow(ctx, m, ready)
	}
	return s.choose(ctx, m, ready)
}

// mayBegin tells whether this source may be the first master of a run.
func (s *source) mayBegin() bool { return !s.cfg.Inherit && !s.cfg.NoMaster }

// choose leads if the lock is free, else follows.
func (s *source) choose(ctx context.Context, m *member.Member, ready *member.Ready) error {
	lock := m.ZK.Lock(m.Tree.Lock(), "")
	locked, err := s.mayBegin(), error(nil)
	if locked {
		locked, err = lock.TryAcquire(ctx)
	}
	if err != nil {
		return err
	}
	if !locked {
		locked, err = s.await(ctx, m, lock, ready)
	}
	switch {
	case err != nil:
		return err
	case !locked && s.cfg.Resume && errors.Is(s.client.Ended(), wire.ErrEnded) && !errors.Is(s.client.Ended(), wire.ErrHalted):
		return s.awaitEnd(ctx, m)
	case !locked:
		return s.follow(ctx, m, ready)
	}
	m.Log.Debug("lock acquired: this source is the master")
	if s.cfg.Resume {
		resumed, again, err := s.reopen(ctx, m, ready)
		if err != nil {
			return err
		}
		if resumed {
			return s.takeOver(ctx, m, lock, again, nil)
		}
	}
	l, err := s.newLeader()
	if err != nil {
		return err
	}
	return s.lead(ctx, m, ready, func() error { return l.Start(ctx, m, lock, ready) })
}

// awaitEnd waits for a while, as a run was ending just when this source came, and it, or somebody else, may go on with
// it. Meanwhile it is in no party: the master waits until it is alone.
func (s *source) awaitEnd(ctx context.Context, m *member.Member) error {
	s.client.Reopen()
	s.ending.Do(func() {
		m.Log.Info("The run is just ending: this source goes on with it when its master has left", "event", "waiting-for-end")
	})
	if err := m.Leave(ctx, wire.PartyExt, wire.PartyAll); err != nil {
		return err
	}
	return cmp.Or(zkclient.Sleep(ctx, m.Client.Timing.Reconnect), member.ErrRejoin)
}

// reopen looks for a run to go on with, and has it go on. before is what follows the run as it was found: what that
// has to say of it, which may be that it has ended, is awaited and forgotten.
func (s *source) reopen(ctx context.Context, m *member.Member, before *member.Ready) (found bool, ready *member.Ready, err error) {
	found, err = leader.Reopen(ctx, m)
	if err != nil || !found {
		return false, nil, err
	}
	select {
	case <-before.Started:
	case <-ctx.Done():
		return false, nil, context.Cause(ctx)
	}
	s.client.Reopen()
	ready = m.WatchReady(ctx)
	if err := s.agree(ctx, m); err != nil {
		return false, nil, err
	}
	return true, ready, s.expect(ctx, m, ready)
}

// takeOver goes on where another leader was, with this source's jobs at work already unless working is nil.
func (s *source) takeOver(ctx context.Context, m *member.Member, lock *zkclient.Lock, ready *member.Ready, working <-chan error) error {
	l, err := s.newLeader()
	if err != nil {
		return err
	}
	return s.lead(ctx, m, ready, func() error { return l.TakeOver(ctx, m, lock, ready, working) })
}

// await waits for a run to begin (false) or for the lock. As long as there is no session, who has the
// lock need not be a leader: perhaps one that has just ended, or a test of the walk.
func (s *source) await(ctx context.Context, m *member.Member, lock *zkclient.Lock, ready *member.Ready) (locked bool, err error) {
	waiting, begun := context.WithCancel(ctx)
	defer begun()
	told := make(chan struct{})
	m.Background(func() {
		defer close(told)
		select {
		case <-ready.Started:
			begun()
			return
		case <-waiting.Done():
			return
		case <-time.After(s.client.Timing.Reconnect):
		}
		why := "another client holds the master's lock"
		switch {
		case s.cfg.Inherit:
			why = "this source takes its options from the master (--inherit)"
		case s.cfg.NoMaster:
			why = "this source does not become the master (--no-master)"
		}
		m.Log.Info("Waiting for the run to begin: "+why, "event", "waiting-for-lock")
		s.client.Joined()
		select {
		case <-ready.Started:
			begun()
		case <-waiting.Done():
		}
	})
	if s.mayBegin() {
		err = lock.Acquire(waiting)
	} else {
		<-waiting.Done()
		err = context.Cause(waiting)
	}
	ended := waiting.Err() != nil
	begun()
	<-told
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case err == nil:
		return true, nil
	case ended:
		return false, nil
	}
	return false, err
}

// lead plays the leader's role, until it turns out that another one leads.
func (s *source) lead(ctx context.Context, m *member.Member, ready *member.Ready, play func() error) error {
	err := m.Enter(ctx, wire.PartySources)
	if err == nil {
		err = play()
	}
	if !errors.Is(err, leader.ErrLives) {
		return err
	}
	s.drop()
	return s.follow(ctx, m, ready)
}

// drop takes back that this source leads.
func (s *source) drop() {
	s.close()
	s.leader.Store(nil)
	s.worker = nil
}

// meet compares the base with those of the destinations.
func (s *source) meet(ctx context.Context, m *member.Member) error {
	if s.cfg.Lines > 0 {
		return nil
	}
	return meet(ctx, m, s.base, s.cfg, true)
}

// newLeader makes this source the leader, with jobs of its own if it is given any, or has them already.
func (s *source) newLeader() (l *leader.Leader, err error) {
	var work leader.Work
	if s.worker == nil && s.cfg.Jobs > 0 {
		if s.worker, err = s.newWorker(); err != nil {
			return nil, err
		}
	}
	if s.worker != nil {
		work = s.worker.Play
	}
	role := s.cfg.Leader
	role.Lines = s.cfg.Lines
	l = leader.New(s.life, s.client, s.base, role, leader.Asked{Rsync: s.cfg.Rsync, MaxDelete: s.cfg.maxDelete(), Terms: s.cfg.terms()}, work)
	s.leader.Store(l)
	return l, nil
}

// follow works under another source's lead, if that asks for what this one was started for.
func (s *source) follow(ctx context.Context, m *member.Member, ready *member.Ready) error {
	if s.cfg.Inherit && s.worker == nil {
		select {
		case <-ready.Stopped:
			return nil // there is nothing to inherit, and nothing to do
		default:
		}
	}
	inherits := s.base == nil
	if err := s.agree(ctx, m); err != nil {
		return err
	}
	if inherits {
		if err := s.meet(ctx, m); err != nil {
			return err
		}
	}
	if s.worker == nil {
		m.Log.Debug("ready to process paths: this source is a slave")
		var err error
		if s.worker, err = s.newWorker(); err != nil {
			return err
		}
	}
	if err := m.Enter(ctx, wire.PartySources); err != nil {
		return err
	}
	s.client.Joined()
	if err := s.expect(ctx, m, ready); err != nil {
		return err
	}
	at := s.joined(ctx, m)
	ended := make(chan error, 1)
	m.Background(func() {
		defer close(ended)
		if err := s.worker.Play(ctx, m, ready); err != nil {
			ended <- err
		}
	})
	may := s.cfg.Lines == 0 && !s.cfg.NoMaster
	if may {
		var err error
		if may, err = s.cfg.Leader.Fits(ctx, m); err != nil {
			return err
		}
		if !may {
			m.Log.Info("This source does not stand by to be the master: it was started with another list of paths (--paths-from, --changed)", "event", "other-list")
		}
	}
	if !may {
		m.Background(func() { missLeader(ctx, m, ready) })
		return cmp.Or(<-ended, s.client.Ended())
	}
	if s.cfg.Master {
		if err := m.Enter(ctx, wire.PartyMasters); err != nil {
			return err
		}
	}
	return s.standBy(ctx, m, ready, at, ended)
}

// expect has the base compared with the leader's, if that is a Go one.
func (s *source) expect(ctx context.Context, m *member.Member, ready *member.Ready) error {
	select {
	case <-ready.Started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	data, stat, ok, err := m.Read(ctx, m.Tree.Place())
	if err != nil || !ok || stat.Czxid != m.Client.Epoch() {
		return err
	}
	place, err := wire.DecodePlace(data)
	if err != nil {
		m.Log.Warn(err.Error()+"; this source's is not compared with it", "event", "not-compared", "error", err)
		return nil
	}
	s.base.Expect(place)
	return nil
}

// missLeader warns of a session that has lost its leader: its workers finish the queue, but nobody ends
// it.
func missLeader(ctx context.Context, m *member.Member, ready *member.Ready) {
	timing := m.Client.Timing
	for warned := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ready.Stopped:
			return
		case <-time.After(timing.Reconnect):
		}
		contenders, err := m.Children(ctx, m.Tree.Lock())
		if err != nil || len(contenders) > 0 {
			continue
		}
		if time.Since(warned) >= timing.Leave {
			warned = time.Now()
			m.Log.Warn("This run has no master any more. Its paths will be sent; to go on with it start a source with --resume", "event", "no-leader")
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
	if s.proxy == nil {
		if s.proxy, err = link.NewProxy(link.ProxyConfig{Identity: s.identity, OnlyTLS: s.cfg.Link.OnlyTLS}); err != nil {
			return nil, err
		}
	}
	return worker.NewRsync(guarded, worker.RsyncConfig{
		Options: s.cfg.Rsync, Module: s.client.Tree.Module(), Identity: s.identity, Proxy: s.proxy, OnlyTLS: s.cfg.Link.OnlyTLS, OnlyLink: s.cfg.Link.Only, Prefetch: s.cfg.Prefetch, Lookup: s.client.Timing.Lookup, Stall: s.cfg.Stall,
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
