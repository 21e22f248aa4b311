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
	Running   bool // a run is under way
}

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
	left, err := remaining(ctx, m)
	if err != nil {
		return Status{}, err
	}
	failed, err := m.Queue(m.tree.failedQueue()).Len(ctx)
	if err != nil {
		return Status{}, err
	}
	status := Status{Remaining: left.paths, Failed: failed, Running: left.paths > 0}
	// A Go master says that a run is under way also while its queue is empty, and
	// takes failed paths out of theirs.
	stat, ok, err := m.Exists(ctx, m.tree.ready())
	if err != nil || !ok {
		return status, err
	}
	c.epoch.Store(stat.Czxid)
	state, _, ok, err := m.readMeta(ctx)
	if err != nil || !ok {
		return status, err
	}
	status.Remaining = left.total()
	status.Failed += state.Ended.Failed
	status.Running = true
	return status, nil
}

// Built is what --pathsonly tells of a walk.
type Built struct {
	Paths int
	Depth int // that of the walk
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
	m, err := c.tryJoin(ctx, []string{partyAll, partyExt, partySources})
	if err != nil {
		return Built{}, err
	}
	defer m.Close()
	var built Built
	err = m.play(ctx, func(ctx context.Context, m *member) error {
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
	if err := m.chooseDepth(ctx); err != nil {
		return Built{}, err
	}
	built.Depth = m.cfg.Depth
	queue := m.Queue(m.tree.pathQueue())
	if err := m.DeleteTree(ctx, queue.Path()); err != nil {
		return Built{}, fmt.Errorf("cannot remove the old path queue: %w", err)
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, m.DeleteTree(last, queue.Path()))
	}()
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
	if err == nil {
		err = flush()
	}
	if ctx.Err() != nil {
		return Built{}, context.Cause(ctx)
	}
	if err != nil {
		return Built{}, err
	}
	built.Took = time.Since(begin)
	if built.Paths, err = queue.Len(ctx); err != nil {
		return Built{}, fmt.Errorf("cannot count the paths: %w", err)
	}
	return built, nil
}
