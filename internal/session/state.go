// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/zkclient"
)

// Status is what --state tells of a session.
type Status struct {
	Remaining int // paths queued or in work
	Failed    int
}

// Active tells whether there is something left to do.
func (s Status) Active() bool { return s.Remaining > 0 }

// State reads how far a session is. It writes nothing and joins no party.
func State(ctx context.Context, cfg Config) (Status, error) {
	c, err := newClient(ctx, cfg, "RsyncSource", "")
	if err != nil {
		return Status{}, err
	}
	zk, err := zkclient.Connect(ctx, c.cfg.Zookeeper)
	if err != nil {
		return Status{}, err
	}
	defer zk.Close()
	m := &member{Client: zk, client: c}
	left, err := leftOfRun(ctx, m)
	if err != nil {
		return Status{}, err
	}
	failed, err := m.Queue(m.tree.failedQueue()).Len(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("cannot count the failed paths: %w", err)
	}
	return Status{Remaining: left, Failed: failed}, nil
}

// Built is what --pathsonly tells of a walk.
type Built struct {
	Paths int
	Took  time.Duration
}

// PathsOnly walks the tree and fills the path queue as a master does, then
// removes the queue again. ErrLocked if the session has a master; ErrUnclean if
// an earlier run left its paths, which would be lost.
func PathsOnly(ctx context.Context, cfg Config) (Built, error) {
	c, err := newClient(ctx, cfg, "RsyncSource", "")
	if err != nil {
		return Built{}, err
	}
	if err := c.checkBase(); err != nil {
		return Built{}, err
	}
	var built Built
	err = c.run(ctx, []string{partyAll, partySources, partyExt}, func(ctx context.Context, m *member) error {
		built, err = buildOnly(ctx, m)
		return err
	})
	return built, err
}

func buildOnly(ctx context.Context, m *member) (built Built, err error) {
	lock := m.Lock(m.tree.lock(), "")
	locked, err := lock.TryAcquire(ctx)
	if err != nil {
		return Built{}, fmt.Errorf("cannot ask for the master's lock: %w", err)
	}
	if !locked {
		return Built{}, ErrLocked
	}
	defer func() { err = errors.Join(err, m.unlock(ctx, lock)) }()
	if _, ok, err := m.Exists(ctx, m.tree.ready()); err != nil {
		return Built{}, fmt.Errorf("cannot look for an earlier run: %w", err)
	} else if ok {
		return Built{}, fmt.Errorf("%w: start one source alone to clean it up first", ErrUnclean)
	}

	begin := time.Now()
	queue := m.Queue(m.tree.pathQueue())
	if err := m.DeleteTree(ctx, queue.Path()); err != nil {
		return Built{}, fmt.Errorf("cannot remove the old path queue: %w", err)
	}
	var batch [][]byte
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := queue.Put(ctx, zkclient.DefaultPriority, batch...)
		batch = batch[:0]
		return err
	}
	err = m.entries(ctx, func(value []byte) error {
		if batch = append(batch, value); len(batch) < feedEntries {
			return nil
		}
		return flush()
	})
	if err = errors.Join(err, flush()); err != nil {
		return Built{}, fmt.Errorf("cannot build the path queue: %w", err)
	}
	built.Took = time.Since(begin)
	if built.Paths, err = queue.Len(ctx); err != nil {
		return Built{}, fmt.Errorf("cannot count the paths: %w", err)
	}
	if err := m.DeleteTree(ctx, queue.Path()); err != nil {
		return Built{}, fmt.Errorf("cannot remove the path queue: %w", err)
	}
	return built, nil
}
