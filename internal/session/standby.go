// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// A source that works stands by on the leader's lock. When it gets that, the leader is gone and it takes
// over, while its own jobs go on. When the session is over it stays until the leader has cleaned up, which
// somebody has to do, but leaves the parties: the leader waits until it is alone in them.

// standBy waits for the end of this source's jobs, or for the lock. at is how far the session was when this
// source joined.
func (s *source) standBy(ctx context.Context, m *member.Member, ready *member.Ready, at int, working <-chan error) error {
	waiting, cancel := context.WithCancel(ctx)
	intent := wire.StandBy
	if s.cfg.Resume {
		intent = wire.Resume
	}
	lock := m.ZK.Lock(m.Tree.Lock(), intent)
	locked := make(chan error, 1)
	extended := m.WatchExtended(ctx)
	m.Background(func() { locked <- s.contend(waiting, m, extended, lock) })
	done := func(err error) error {
		cancel()
		<-locked
		return errors.Join(err, m.Unlock(ctx, lock))
	}
	ended := working
	for {
		select {
		case err, more := <-ended:
			if more {
				return done(err)
			}
			if ctx.Err() != nil {
				return done(context.Cause(ctx))
			}
			if err := s.client.Ended(); err != nil {
				return done(err)
			}
			select {
			case <-extended:
			default: // the leader is a Python one: nobody can take over from it
				return done(nil)
			}
			if err := m.Leave(ctx, wire.PartySources, wire.PartyExt, wire.PartyAll); err != nil {
				return done(err)
			}
			ended = nil
		case <-ready.Gone:
			return done(s.client.Ended())
		case err := <-locked:
			locked <- err
			if err != nil {
				if ctx.Err() != nil {
					return done(context.Cause(ctx))
				}
				return done(err)
			}
			if gone, err := over(ctx, m); gone || err != nil {
				return done(errors.Join(err, s.client.Ended()))
			}
			known, err := s.acknowledged(ctx, m, at)
			if err != nil {
				return done(err)
			}
			if known || s.cfg.Resume || s.cfg.Inherit { // one that inherits cannot clean up
				for _, party := range []string{wire.PartyAll, wire.PartyExt} {
					if err := m.Enter(ctx, party); err != nil {
						return done(err)
					}
				}
				return s.takeOver(ctx, m, lock, ready, working)
			}
			// The leader had been gone already when this source came, to clean up perhaps. What its jobs hold
			// goes with the ZooKeeper session.
			s.worker = nil
			return done(member.ErrRejoin)
		}
	}
}

// contend waits for the lock, as soon as the session is known to be one that can be taken over, and gives it
// up as long as somebody is connected who would rather do it.
func (s *source) contend(ctx context.Context, m *member.Member, extended <-chan struct{}, lock *zkclient.Lock) error {
	select {
	case <-extended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		if err := lock.Acquire(ctx); err != nil || s.cfg.Master {
			return err
		}
		n, err := m.Party(wire.PartyMasters).Count(ctx)
		if err != nil || n == 0 {
			return err
		}
		if err := m.Unlock(ctx, lock); err != nil {
			return err
		}
		if err := zkclient.Sleep(ctx, m.Client.Timing.Reconnect); err != nil {
			return err
		}
	}
}

// joined is how far the session is.
func (s *source) joined(ctx context.Context, m *member.Member) int {
	meta, _, ok, err := m.Meta(ctx)
	if err != nil || !ok {
		return -1
	}
	return meta.Step
}

// acknowledged tells whether a leader was there since this source has joined: it writes when it sees that
// somebody has come.
func (s *source) acknowledged(ctx context.Context, m *member.Member, at int) (bool, error) {
	meta, _, ok, err := m.Meta(ctx)
	return ok && at >= 0 && meta.Step > at, err
}

// over tells whether the session has been cleaned up.
func over(ctx context.Context, m *member.Member) (bool, error) {
	stat, found, err := m.ZK.Exists(ctx, m.Tree.Ready())
	return !found || stat.Czxid != m.Client.Epoch(), err
}
