// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"

	"vsc-zk/internal/zkclient"
)

// --max-delete bounds what all slaves of a session delete together. S/deletes
// holds what no run of rsync has taken, in decimal. A run takes a share out
// before it starts, which an ephemeral child of S/deletes says, and puts back
// what it has not used. So a slave that dies in between has spent its share,
// and whoever finds nothing left can tell whether something may come back.

// shareOfDeletes is the part of what is left that one run takes.
const shareOfDeletes = 8

// budget is the share of one run.
type budget struct {
	m     *member // nil: no bound
	node  string  // says that the share is out
	share int
}

// bounded tells whether this client counts deletions.
func (c *client) bounded() bool {
	return c.cfg.Rsync.Delete && c.cfg.MaxDelete >= 0 && !c.cfg.Rsync.DryRun && !c.cfg.Rsync.Verify && !c.cfg.Netcat
}

// makeBudget makes S/deletes unless it is there.
func (m *member) makeBudget(ctx context.Context) error {
	if !m.bounded() {
		return nil
	}
	_, err := m.CreatePath(ctx, m.tree.deletes(), strconv.AppendInt(nil, int64(m.cfg.MaxDelete), 10), zkclient.Persistent)
	if err != nil && !errors.Is(err, zkclient.ErrNodeExists) {
		return fmt.Errorf("cannot make the budget of deletions: %w", err)
	}
	return nil
}

// reserveDeletes takes a share for one run.
func (m *member) reserveDeletes(ctx context.Context) (*budget, error) {
	if !m.bounded() {
		return &budget{}, nil
	}
	b := &budget{m: m, node: m.tree.deletes() + "/share-" + rand.Text()}
	return b, m.changeBudget(ctx, func(left int) (int, zkclient.Op) {
		b.share = (left + shareOfDeletes - 1) / shareOfDeletes
		return left - b.share, zkclient.OpCreate(b.node, strconv.AppendInt(nil, int64(b.share), 10), zkclient.Ephemeral)
	}, func() (bool, error) {
		_, taken, err := m.Exists(ctx, b.node)
		return taken, err
	})
}

// limit is rsync's --max-delete, nil for none.
func (b *budget) limit() *int {
	if b.m == nil {
		return nil
	}
	return &b.share
}

// settle puts back what a run has not used. One that has not said how much it
// deleted, which is -1, may have deleted all it was allowed to.
func (b *budget) settle(ctx context.Context, deleted int) error {
	if b.m == nil {
		return nil
	}
	unused := 0
	if deleted >= 0 {
		unused = max(b.share-deleted, 0)
	}
	return b.m.changeBudget(ctx, func(left int) (int, zkclient.Op) {
		return left + unused, zkclient.OpDelete(b.node)
	}, func() (bool, error) {
		_, out, err := b.m.Exists(ctx, b.node)
		return !out, err
	})
}

// moreDeletes tells whether a run that was stopped at its share can have
// another. It waits while there is nothing left, but other runs may put
// something back.
func (m *member) moreDeletes(ctx context.Context) (bool, error) {
	for {
		left, stat, err := m.readBudget(ctx)
		if err != nil || left > 0 || stat.NumChildren == 0 {
			return left > 0, err
		}
		if !sleep(ctx, m.cfg.Timing.Poll) {
			return false, context.Cause(ctx)
		}
	}
}

// readBudget reads S/deletes. A Python master makes no such node, then the first
// slave does, and leaves it behind: what was written before this run began is
// of another one, and the whole budget is there.
func (m *member) readBudget(ctx context.Context) (left int, stat zkclient.Stat, err error) {
	for {
		var data []byte
		data, stat, err = m.Get(ctx, m.tree.deletes())
		if errors.Is(err, zkclient.ErrNoNode) {
			if err := m.makeBudget(ctx); err != nil {
				return 0, stat, err
			}
			continue
		}
		if err != nil {
			return 0, stat, fmt.Errorf("cannot read the budget of deletions: %w", err)
		}
		if stat.Mzxid < m.epoch.Load() {
			_, err := m.Set(ctx, m.tree.deletes(), strconv.AppendInt(nil, int64(m.cfg.MaxDelete), 10), stat.Version)
			if err != nil && !errors.Is(err, zkclient.ErrBadVersion) {
				return 0, stat, fmt.Errorf("cannot renew the budget of deletions: %w", err)
			}
			continue
		}
		if left, err = strconv.Atoi(string(data)); err != nil || left < 0 {
			return 0, stat, fmt.Errorf("cannot use the budget of deletions %q in %s", data, m.tree.deletes())
		}
		return left, stat, nil
	}
}

// changeBudget sets S/deletes by compare and set, together with an operation
// from which made can tell, after a lost reply, that it was done.
func (m *member) changeBudget(ctx context.Context, change func(left int) (int, zkclient.Op), made func() (bool, error)) error {
	for {
		left, stat, err := m.readBudget(ctx)
		if err != nil {
			return err
		}
		next, op := change(left)
		err = m.Multi(ctx, zkclient.OpSet(m.tree.deletes(), strconv.AppendInt(nil, int64(next), 10), stat.Version), op)
		if errors.Is(err, zkclient.ErrConnectionLoss) {
			var done bool
			if done, err = made(); err == nil && !done {
				continue
			}
		}
		if errors.Is(err, zkclient.ErrBadVersion) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot change the budget of deletions: %w", err)
		}
		return nil
	}
}
