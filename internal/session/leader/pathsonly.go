// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// ErrLocked says that another client leads the session.
var ErrLocked = errors.New("the session has a master already")

// Built is what a walk for nothing tells.
type Built struct {
	Paths int
	Depth int // that of the walk
	Took  time.Duration
}

// PathsOnly walks the tree and fills the path queue as a leader does, then removes the queue again.
// ErrLocked if the session has a leader; ErrUnclean if an earlier one left its paths, which would be lost.
func (l *Leader) PathsOnly(ctx context.Context, m *member.Member) (built Built, err error) {
	lock := m.ZK.Lock(m.Tree.Lock(), "")
	locked, err := lock.TryAcquire(ctx)
	if err != nil {
		return Built{}, fmt.Errorf("cannot ask for the master's lock: %w", err)
	}
	if !locked {
		return Built{}, ErrLocked
	}
	defer func() { err = errors.Join(err, m.Unlock(ctx, lock)) }()
	if _, ok, err := m.ZK.Exists(ctx, m.Tree.Ready()); err != nil {
		return Built{}, fmt.Errorf("cannot look for an earlier run: %w", err)
	} else if ok {
		return Built{}, fmt.Errorf("%w: start one source alone to clean it up first", ErrUnclean)
	}

	begin := time.Now()
	if l.cfg.walksAgain() {
		if err := l.survey.chooseDepth(ctx); err != nil {
			return Built{}, err
		}
	}
	built.Depth = l.survey.options().Depth
	queue := m.ZK.Queue(m.Tree.PathQueue())
	if err := m.ZK.DeleteTree(ctx, queue.Path()); err != nil {
		return Built{}, fmt.Errorf("cannot remove the old path queue: %w", err)
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, m.ZK.DeleteTree(last, queue.Path()))
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
	err = l.firstPass(wire.Stage{})(ctx, func(task wire.Task) error {
		if batch = append(batch, []byte(task.Value)); len(batch) < feedEntries {
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
