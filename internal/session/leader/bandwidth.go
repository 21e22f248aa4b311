// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// bandwidth divides what the session may send in a second among its sources. S/bwlimit says how much that is, and
// may be written by anybody of the session at any time.
type bandwidth struct {
	limit  int          // the last one that could be read, 0: none
	shares *wire.Shares // as they were written; nil: nothing is known
	told   bool         // that the limit cannot be read
}

// begin divides again and again until the function that it gives is called, or ctx ends.
func (b *bandwidth) begin(ctx context.Context, m *member.Member) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var mu sync.Mutex // one at a time
	divide := func(data []byte, exists bool) {
		mu.Lock()
		defer mu.Unlock()
		if err := b.divide(ctx, m, data, exists); err != nil && ctx.Err() == nil {
			m.Fail(err) // what is sent would be bounded by what holds no more
		}
	}
	var both sync.WaitGroup
	both.Go(func() {
		err := m.ZK.WatchData(ctx, m.Tree.BwLimit(), func(data []byte, _ zkclient.Stat, exists bool) { divide(data, exists) })
		if ctx.Err() == nil {
			m.Fail(err)
		}
	})
	both.Go(func() {
		for zkclient.Sleep(ctx, m.Client.Timing.Share) == nil {
			mu.Lock()
			bounded := b.limit > 0
			mu.Unlock()
			if !bounded {
				continue
			}
			if data, _, exists, err := m.Read(ctx, m.Tree.BwLimit()); err == nil {
				divide(data, exists)
			}
		}
	})
	return func() { cancel(); both.Wait() }
}

// divide writes the sources' shares if they are others than before.
func (b *bandwidth) divide(ctx context.Context, m *member.Member, data []byte, exists bool) error {
	if !exists {
		b.limit = 0
	} else if limit, err := wire.DecodeNumber(data); err == nil {
		b.limit, b.told = limit, false
	} else if !b.told {
		b.told = true
		m.Log.Warn(fmt.Sprintf("Somebody has written what is no rate into %s: %v. What was there before holds", m.Tree.BwLimit(), err), "event", "foreign", "znode", m.Tree.BwLimit())
	}
	if b.limit == 0 {
		if b.shares != nil && b.shares.Rates == nil {
			return nil
		}
		if err := m.ZK.DeleteTree(ctx, m.Tree.Shares()); err != nil {
			return fmt.Errorf("cannot take back the bound of the bandwidth: %w", err)
		}
		b.shares = &wire.Shares{}
		return nil
	}
	uses, err := b.uses(ctx, m)
	if err != nil {
		return err
	}
	next := wire.Shares{Epoch: m.Client.Epoch(), Limit: int64(b.limit), Rates: divide(int64(b.limit), uses)}
	if b.shares != nil && b.shares.Rates != nil && b.shares.Limit == next.Limit && maps.Equal(b.shares.Rates, next.Rates) {
		return nil
	}
	_, err = m.ZK.Set(ctx, m.Tree.Shares(), next.Encode(), -1)
	if errors.Is(err, zkclient.ErrNoNode) {
		_, err = m.ZK.Create(ctx, m.Tree.Shares(), next.Encode(), zkclient.Persistent)
	}
	if err != nil {
		return fmt.Errorf("cannot divide the bandwidth: %w", err)
	}
	b.shares = &next
	return nil
}

// uses are what the sources say of themselves; those that have not said anything yet are among them.
func (b *bandwidth) uses(ctx context.Context, m *member.Member) (map[string]wire.Use, error) {
	names, err := m.Children(ctx, m.Tree.Rates())
	if err != nil {
		return nil, fmt.Errorf("cannot read what the sources use: %w", err)
	}
	uses := make([]wire.Use, len(names))
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, name := range names {
		group.Go(func() error {
			data, _, _, err := m.Read(limited, m.Tree.Rate(name))
			if err == nil {
				uses[i], _ = wire.DecodeUse(data) // one that cannot be read uses nothing
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("cannot read what the sources use: %w", err)
	}
	all := make(map[string]wire.Use, len(names))
	for i, name := range names {
		all[name] = uses[i]
	}
	return all, nil
}

// reserve is the part of a bound, one by so many, that sources without work have to begin with, all together.
const reserve = 20

// divide gives each source a share of a bound: who would send more gets, for each of its links, as much as the
// others; who does not gets what it uses and a little more. What is left over goes to those who work. The shares
// are not more than the bound together.
func divide(limit int64, uses map[string]wire.Use) map[string]int64 {
	shares := make(map[string]int64, len(uses))
	if len(uses) == 0 {
		return shares
	}
	least := limit / int64(reserve*len(uses))
	wants, links := map[string]int64{}, int64(0)
	weight := func(name string) int64 { return int64(max(uses[name].Links, 1)) }
	for name, use := range uses {
		switch {
		case use.Held:
			wants[name] = limit
		case use.Links == 0:
			wants[name] = least
		default:
			wants[name] = min(use.Rate, limit)*5/4 + least
		}
		links += weight(name)
	}
	// Who wants least for a link is served first, and leaves the rest to the others.
	names := slices.SortedFunc(maps.Keys(uses), func(a, b string) int {
		if x, y := wants[a]/weight(a), wants[b]/weight(b); x != y {
			return int(min(max(x-y, -1), 1))
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	left := limit
	for _, name := range names {
		shares[name] = min(wants[name], left/links*weight(name))
		left -= shares[name]
		links -= weight(name)
	}
	working := slices.DeleteFunc(names, func(name string) bool { return uses[name].Links == 0 })
	for _, name := range working {
		shares[name] += left / int64(len(working))
	}
	return shares
}
