// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Budget is what all workers of a session may delete together (--max-delete). S/deletes holds what
// no run has taken. A run takes a share out before it starts, which an ephemeral child of S/deletes
// says, and puts back what it has not used. So a worker that dies in between has spent its share, and
// whoever finds nothing left can tell whether something may come back.
type Budget struct {
	m   *Member
	max int // negative: no bound
}

// Budget is the session's; max is the same at all sources, negative for no bound.
func (m *Member) Budget(max int) Budget { return Budget{m, max} }

// shareOfDeletes is the part of what is left that one run takes.
const shareOfDeletes = 8

// Share is what one run may delete.
type Share struct {
	budget Budget
	node   string // says that the share is out
	size   int
}

// Make makes S/deletes unless it is there.
func (b Budget) Make(ctx context.Context) error {
	if b.max < 0 {
		return nil
	}
	_, err := b.m.ZK.CreatePath(ctx, b.m.Tree.Deletes(), wire.EncodeNumber(b.max), zkclient.Persistent)
	if err != nil && !errors.Is(err, zkclient.ErrNodeExists) {
		return fmt.Errorf("cannot make the budget of deletions: %w", err)
	}
	return nil
}

// Reserve takes a share for one run.
func (b Budget) Reserve(ctx context.Context) (*Share, error) {
	if b.max < 0 {
		return &Share{budget: b}, nil
	}
	s := &Share{budget: b, node: b.m.Tree.Deletes() + "/share-" + rand.Text()}
	return s, b.change(ctx, func(left int) (int, zkclient.Op) {
		s.size = (left + shareOfDeletes - 1) / shareOfDeletes
		return left - s.size, zkclient.OpCreate(s.node, wire.EncodeNumber(s.size), zkclient.Ephemeral)
	}, func(ctx context.Context) (bool, error) {
		_, taken, err := b.m.ZK.Exists(ctx, s.node)
		return taken, err
	})
}

// Limit is rsync's --max-delete, nil for none.
func (s *Share) Limit() *int {
	if s.budget.max < 0 {
		return nil
	}
	return &s.size
}

// Settle puts back what a run has not used. One that has not said how much it deleted, which is -1,
// may have deleted all it was allowed to.
func (s *Share) Settle(ctx context.Context, deleted int) error {
	if s.budget.max < 0 {
		return nil
	}
	unused := 0
	if deleted >= 0 {
		unused = max(s.size-deleted, 0)
	}
	return s.budget.change(ctx, func(left int) (int, zkclient.Op) {
		return left + unused, zkclient.OpDelete(s.node)
	}, func(ctx context.Context) (bool, error) {
		_, out, err := s.budget.m.ZK.Exists(ctx, s.node)
		return !out, err
	})
}

// More tells whether a run that was stopped at its share can have another. It waits while there is
// nothing left, but other runs may put something back.
func (b Budget) More(ctx context.Context) (bool, error) {
	for {
		left, stat, err := b.read(ctx)
		if err != nil || left > 0 {
			return left > 0, err
		}
		out, err := b.sharesOut(ctx)
		if err != nil {
			return false, err
		}
		if !out { // unless the last one came back between the two looks
			_, now, err := b.read(ctx)
			if err != nil || now.Version == stat.Version {
				return false, err
			}
			continue
		}
		if err := zkclient.Sleep(ctx, b.m.Client.Timing.Poll); err != nil {
			return false, err
		}
	}
}

// sharesOut tells whether runs have shares of which something may come back.
func (b Budget) sharesOut(ctx context.Context) (bool, error) {
	names, err := b.m.Children(ctx, b.m.Tree.Deletes())
	if err != nil {
		return false, fmt.Errorf("cannot look for shares of the budget of deletions: %w", err)
	}
	for _, name := range names {
		stat, found, err := b.m.ZK.Exists(ctx, b.m.Tree.Deletes()+"/"+name)
		if err != nil {
			return false, fmt.Errorf("cannot look for shares of the budget of deletions: %w", err)
		}
		if found && stat.EphemeralOwner != 0 { // else nobody gives it back
			return true, nil
		}
	}
	return false, nil
}

// read reads S/deletes. A Python leader makes no such node, then the first worker does, and leaves it
// behind: what was written before this session began is of another one, and the whole budget is there.
func (b Budget) read(ctx context.Context) (left int, stat zkclient.Stat, err error) {
	node := b.m.Tree.Deletes()
	for {
		var data []byte
		data, stat, err = b.m.ZK.Get(ctx, node)
		if errors.Is(err, zkclient.ErrNoNode) {
			if err := b.Make(ctx); err != nil {
				return 0, stat, err
			}
			continue
		}
		if err != nil {
			return 0, stat, fmt.Errorf("cannot read the budget of deletions: %w", err)
		}
		if stat.Mzxid < b.m.Client.Epoch() {
			_, err := b.m.ZK.Set(ctx, node, wire.EncodeNumber(b.max), stat.Version)
			if err != nil && !errors.Is(err, zkclient.ErrBadVersion) {
				return 0, stat, fmt.Errorf("cannot renew the budget of deletions: %w", err)
			}
			continue
		}
		if left, err = wire.DecodeNumber(data); err != nil || left > b.max {
			b.m.Log.Warn(fmt.Sprintf("Somebody has changed the budget of deletions, %s: nothing more is deleted. It has %.100q", node, data),
				"event", "foreign", "znode", node)
			left = 0
		}
		return left, stat, nil
	}
}

// change sets S/deletes by compare and set, together with an operation from which made can tell, after
// a lost reply, that it was done.
func (b Budget) change(ctx context.Context, next func(left int) (int, zkclient.Op), made func(context.Context) (bool, error)) error {
	for {
		left, stat, err := b.read(ctx)
		if err != nil {
			return err
		}
		n, op := next(left)
		err = b.m.ZK.Settle(ctx, made, zkclient.OpSet(b.m.Tree.Deletes(), wire.EncodeNumber(n), stat.Version), op)
		if errors.Is(err, zkclient.ErrBadVersion) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot change the budget of deletions: %w", err)
		}
		return nil
	}
}
