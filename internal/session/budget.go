// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/zkclient"
)

// --max-delete bounds what all slaves of a session delete together. S/deletes
// holds what is left, in decimal. A run of rsync takes a share out before it
// starts and puts back what it has not used, so a slave that dies in between has
// spent its share.

// shareOfDeletes is the part of what is left that one run takes.
const shareOfDeletes = 8

// budget is the share of one run.
type budget struct {
	m     *member // nil: no bound
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
	b := &budget{m: m}
	err := m.changeBudget(ctx, func(left int) int {
		b.share = (left + shareOfDeletes - 1) / shareOfDeletes
		return left - b.share
	})
	return b, err
}

// deletesLeft is what no run has taken.
func (m *member) deletesLeft(ctx context.Context) (left int, err error) {
	if !m.bounded() {
		return 0, nil
	}
	err = m.changeBudget(ctx, func(n int) int { left = n; return n })
	return left, err
}

// limit is rsync's --max-delete, nil for none.
func (b *budget) limit() *int {
	if b.m == nil {
		return nil
	}
	return &b.share
}

// giveBack returns what a run has not used. One that did not come to its
// statistics may have deleted all it was allowed to.
func (b *budget) giveBack(ctx context.Context, run rsyncrunner.Result) error {
	if b.m == nil || b.share == 0 || run.Deleted < 0 {
		return nil
	}
	unused := max(b.share-run.Deleted, 0)
	b.share = 0
	return b.m.changeBudget(ctx, func(left int) int { return left + unused })
}

// changeBudget sets S/deletes by compare and set. A Python master makes no such
// node: then the first slave does.
func (m *member) changeBudget(ctx context.Context, change func(left int) int) error {
	for {
		data, stat, err := m.Get(ctx, m.tree.deletes())
		if errors.Is(err, zkclient.ErrNoNode) {
			if err := m.makeBudget(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot read the budget of deletions: %w", err)
		}
		left, err := strconv.Atoi(string(data))
		if err != nil || left < 0 {
			return fmt.Errorf("cannot use the budget of deletions %q in %s", data, m.tree.deletes())
		}
		next := change(left)
		if next == left {
			return nil
		}
		_, err = m.Set(ctx, m.tree.deletes(), strconv.AppendInt(nil, int64(next), 10), stat.Version)
		if err == nil {
			return nil
		}
		if !errors.Is(err, zkclient.ErrBadVersion) {
			return fmt.Errorf("cannot change the budget of deletions: %w", err)
		}
	}
}
