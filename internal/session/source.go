// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	if err := c.checkNotEmpty(); err != nil {
		return err
	}
	if err := cfg.Rsync.Validate(ctx, ""); err != nil {
		return err
	}
	s := &source{client: c}
	defer s.close()
	return c.run(ctx, []string{partyAll, partySources, partyExt}, s.play)
}

// source is a source process over all its ZooKeeper sessions.
type source struct {
	*client
	master *master // set once it is the master
	slave  *slave  // set once it is a slave
}

func (s *source) close() {
	if s.master != nil {
		s.master.close()
	}
}

// play decides the role at the first time; a client that has lost its ZooKeeper
// session goes on in the role it had.
func (s *source) play(ctx context.Context, m *member) error {
	if s.slave != nil {
		return s.slave.play(ctx, m)
	}
	lock := m.Lock(m.tree.lock(), "")
	if s.master != nil {
		// The node of the lost session may still be there: wait for it to go.
		if err := lock.Acquire(ctx); err != nil {
			return fmt.Errorf("cannot get the master's lock back: %w", err)
		}
		return s.master.play(ctx, m, lock)
	}
	locked, err := lock.TryAcquire(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask for the master's lock: %w", err)
	}
	if locked {
		s.log.Debug("lock acquired: this source is the master")
		s.master = newMaster(s.client)
		return s.master.play(ctx, m, lock)
	}
	s.log.Debug("ready to process paths: this source is a slave")
	s.slave = newSlave(s.client)
	return s.slave.play(ctx, m)
}

// checkNotEmpty refuses an empty source root when rsync may delete: what looks
// empty is most often a file system that is not mounted, and the destination
// would be wiped.
func (c *client) checkNotEmpty() error {
	if !c.cfg.Rsync.Delete || c.cfg.AllowEmpty || c.cfg.Netcat {
		return nil
	}
	dir, err := os.Open(c.base)
	if err != nil {
		return fmt.Errorf("cannot look into the source before deleting: %w", err)
	}
	defer dir.Close()
	switch _, err := dir.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("cannot use --delete: source %q is empty, is its file system mounted? (--allow-empty if this is meant)", c.base)
	case err != nil:
		return fmt.Errorf("cannot look into the source before deleting: %w", err)
	}
	return nil
}
