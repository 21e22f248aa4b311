// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"time"
)

// Source runs a source until the run is over: as the master if it is the first
// of the session, else as a slave. A slave returns nil when the session ended,
// whatever became of the paths; the master ErrIncomplete if some are not done.
func Source(ctx context.Context, cfg Config) error {
	c, err := newClient(ctx, cfg, "RsyncSource", "")
	if err != nil {
		return err
	}
	if err := c.checkBase(); err != nil {
		return err
	}
	if err := c.checkSentinel(); err != nil {
		return err
	}
	if err := c.checkNotEmpty(); err != nil {
		return err
	}
	if err := c.checkRsync(ctx); err != nil {
		return err
	}
	c.warnUnprotected()
	s := &source{client: c, life: ctx}
	defer s.close()
	// partySources last: a source that is there and not in partyExt is a Python one.
	return c.run(ctx, []string{partyAll, partyExt, partySources}, s.play)
}

// source is a source process over all its ZooKeeper sessions.
type source struct {
	*client
	life   context.Context // of the process
	master *master         // set once it is the master
	slave  *slave          // set once it is a slave
}

func (s *source) close() {
	if s.master != nil {
		s.master.close()
	}
}

// play decides the role at the first time; a client that has lost its ZooKeeper
// session goes on in the role it had.
func (s *source) play(ctx context.Context, m *member) error {
	watch := m.watchReady(ctx)
	switch {
	case s.master != nil:
		return s.master.resume(ctx, m, watch)
	case s.slave != nil:
		return s.slave.play(ctx, m, watch)
	}
	lock := m.Lock(m.tree.lock(), "")
	for told := false; ; told = true {
		locked, err := lock.TryAcquire(ctx)
		if err != nil {
			return err
		}
		if locked {
			s.log.Debug("lock acquired: this source is the master")
			if s.master, err = newMaster(s.life, s.client); err != nil {
				return err
			}
			return s.master.start(ctx, m, lock, watch)
		}
		// Somebody else has the lock. As long as there is no run this need not be
		// a master: perhaps one that has just ended, or a test of the walk.
		select {
		case <-watch.started:
			s.log.Debug("ready to process paths: this source is a slave")
			if s.slave, err = newSlave(ctx, s.client); err != nil {
				return err
			}
			return s.slave.play(ctx, m, watch)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(s.cfg.Timing.Reconnect):
		}
		if !told {
			s.log.Info("Waiting for the run to begin: another client holds the master's lock")
			s.joined()
		}
	}
}
