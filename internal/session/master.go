// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/zkclient"
)

// master is the source that holds the lock, over all its ZooKeeper sessions:
// what it has done so far is remembered here.
type master struct {
	*client
	feed    *feed    // set once this run's nodes are made
	account *account // set once the clean-up has begun
}

func newMaster(c *client) *master { return &master{client: c} }

func (ms *master) close() {
	if ms.feed != nil {
		ms.feed.close()
	}
}

// play leads the run from where it is to its end.
func (ms *master) play(ctx context.Context, m *member, lock *zkclient.Lock) error {
	if ms.epoch.Load() == 0 {
		if err := ms.begin(ctx, m); err != nil {
			if errors.Is(err, ErrUnclean) {
				return ms.recover(ctx, m, lock, err)
			}
			return err
		}
		ms.joined()
	}
	if ms.account == nil {
		stat, ok, err := m.Exists(ctx, m.tree.ready())
		if err != nil {
			return fmt.Errorf("cannot look at the session: %w", err)
		}
		if !ok || stat.Czxid != ms.epoch.Load() {
			return fmt.Errorf("cannot go on: session %q was cleaned up by another source while this master had no connection; start it again", m.tree.name())
		}
		if err := ms.work(ctx, m); err != nil {
			return err
		}
		if _, err := m.Set(ctx, m.tree.ready(), []byte(watchStop), -1); err != nil {
			return fmt.Errorf("cannot tell the clients that the run is over: %w", err)
		}
		ms.log.Debug("watch set to stop")
		if err := ms.waitAlone(ctx, m); err != nil {
			return err
		}
	}
	return ms.cleanup(ctx, m, lock)
}

// begin makes the nodes of a new run; ErrUnclean if those of an earlier one are
// there.
func (ms *master) begin(ctx context.Context, m *member) error {
	unclean := fmt.Errorf("%w: watchnode %s already exists!", ErrUnclean, m.tree.ready())
	if _, ok, err := m.Exists(ctx, m.tree.ready()); err != nil {
		return fmt.Errorf("cannot look for an earlier run: %w", err)
	} else if ok {
		return unclean
	}
	if !ms.cfg.Netcat {
		if err := pathbuilder.Check(ctx, ms.walkOptions()); err != nil {
			return err
		}
	}
	ms.log.Info("removing old queue and building new queue")
	for _, path := range []string{m.tree.pathQueue(), m.tree.extQueue(), m.tree.meta()} {
		if err := m.DeleteTree(ctx, path); err != nil {
			return fmt.Errorf("cannot remove what an earlier run left: %w", err)
		}
	}
	_, err := m.CreatePath(ctx, m.tree.ready(), []byte(watchStart), zkclient.Persistent)
	if errors.Is(err, zkclient.ErrNodeExists) {
		return unclean
	}
	if err != nil {
		return fmt.Errorf("cannot start the session: %w", err)
	}
	for _, path := range []string{
		m.tree.pathQueue(), m.tree.extQueue(), m.tree.completedQueue(),
		m.tree.failedQueue(), m.tree.outputQueue(), m.tree.destQueue(),
	} {
		if err := m.Queue(path).Ensure(ctx); err != nil {
			return fmt.Errorf("cannot make the session's queues: %w", err)
		}
	}
	stat, ok, err := m.Exists(ctx, m.tree.ready())
	if err != nil || !ok {
		return errors.Join(errors.New("cannot find the session just started"), err)
	}
	start := meta{Format: metaFormat, Epoch: stat.Czxid}
	if _, err := m.Create(ctx, m.tree.meta(), start.encode(), zkclient.Persistent); err != nil {
		return fmt.Errorf("cannot write the session's state: %w", err)
	}
	ms.feed = newFeed(ms.client)
	ms.epoch.Store(stat.Czxid)
	return nil
}

// recover is what a single source does with a run that was not finished: it
// cleans up, so that the next start finds nothing in its way. With others
// around it touches nothing. It returns unclean in any case but a failure.
func (ms *master) recover(ctx context.Context, m *member, lock *zkclient.Lock, unclean error) error {
	clients, err := m.all.Count(ctx)
	if err != nil {
		return fmt.Errorf("cannot count the clients of the session: %w", err)
	}
	if clients > 1 {
		if err := lock.Release(ctx); err != nil {
			return fmt.Errorf("cannot release the master's lock: %w", err)
		}
		return fmt.Errorf("%w There are %d other clients: end them all, wait until ZooKeeper has seen them gone (10 s), then start one source alone to clean up", unclean, clients-1)
	}
	if err := ms.cleanup(ctx, m, lock); err != nil && !errors.Is(err, ErrIncomplete) {
		return err
	}
	return fmt.Errorf("%w It has been cleaned up: start the session again", unclean)
}

// work queues the tree and returns when all of it is queued and every queue of
// paths is empty, entries in work included, or when what is left is stranded. It
// logs the progress meanwhile.
func (ms *master) work(ctx context.Context, m *member) error {
	fed := make(chan error, 1)
	m.background(func() { fed <- ms.feed.run(ctx, m) })
	progress, stranded := newProgress(ms.client), &stranded{client: ms.client}
	tick := time.NewTicker(ms.cfg.Timing.Poll)
	defer tick.Stop()
	for walking := true; ; {
		total := ms.feed.queued()
		paths, ext, err := remaining(ctx, m)
		if err != nil {
			return err
		}
		left := paths + ext
		done := left == 0 && !walking
		if !done {
			if done, err = stranded.giveUp(ctx, m, ext, paths == 0 && !walking); err != nil {
				return err
			}
		}
		if err := progress.show(ctx, m, left, total, done); err != nil {
			return err
		}
		if done {
			return nil
		}
		select {
		case err := <-fed:
			if err != nil {
				return err
			}
			walking, fed = false, nil
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// remaining counts the entries of the path queues: those for every source, and
// those for Go sources only.
func remaining(ctx context.Context, m *member) (paths, ext int, err error) {
	if paths, err = m.Queue(m.tree.pathQueue()).Len(ctx); err == nil {
		ext, err = m.Queue(m.tree.extQueue()).Len(ctx)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("cannot read the length of the path queue: %w", err)
	}
	return paths, ext, nil
}

// waitAlone returns when all other clients have left.
func (ms *master) waitAlone(ctx context.Context, m *member) error {
	for since := time.Now(); ; {
		n, err := m.all.Count(ctx)
		if err != nil {
			return fmt.Errorf("cannot count the clients of the session: %w", err)
		}
		if n <= 1 {
			return nil
		}
		if time.Since(since) >= ms.cfg.Timing.Leave {
			names, err := m.all.Members(ctx)
			if err != nil {
				return fmt.Errorf("cannot read the clients of the session: %w", err)
			}
			ms.log.Warn(fmt.Sprintf("The run is over, still waiting for %d clients to leave: %s", n-1, others(names, ms.whoami)))
			since = time.Now()
		}
		if !sleep(ctx, ms.cfg.Timing.Poll) {
			return context.Cause(ctx)
		}
	}
}
