// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AddCounters adds deltas to kazoo Counters below base, all in one transaction, making those that are missing. A
// delta of 0 changes nothing but makes its counter. Against other writers it tries again after uneven pauses, so that kazoo's
// own back-off is not starved.
//
// With a fence (see SetFence) the deltas are added exactly once: the transaction also writes the fence node's data
// back to it, and its version tells after a lost connection whether that happened. Without, [ErrConnectionLoss] is
// returned when others have changed every counter meanwhile.
func (c *Client) AddCounters(ctx context.Context, base string, deltas map[string]int64) error {
	if len(deltas) == 0 {
		return nil
	}
	err := c.do(ctx, func() error {
		select {
		case c.adding <- struct{}{}: // one at a time, for the version of the fence
			defer func() { <-c.adding }()
			return c.addCounters(ctx, base, deltas)
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
		return c.check(ctx)
	})
	return c.fail("add to the counters in", base, err)
}

func (c *Client) addCounters(ctx context.Context, base string, deltas map[string]int64) error {
	names := slices.Sorted(maps.Keys(deltas))
	for try := 0; ; try++ {
		ops, err := c.counterOps(ctx, base, names, deltas)
		if err != nil || len(ops) == 0 {
			return err
		}
		_, err = c.multi(ctx, ops)
		if errors.Is(err, ErrConnectionLoss) {
			var applied bool
			if applied, err = c.applied(ctx, ops); err == nil && !applied {
				continue
			}
		}
		if !errors.Is(err, ErrBadVersion) && !errors.Is(err, ErrNoNode) {
			return err
		}
		limit := min(10*time.Millisecond<<min(try, 5), 200*time.Millisecond)
		if err := Sleep(ctx, limit/4+rand.N(limit)); err != nil {
			return err
		}
	}
}

// counterOps returns what to write, the fence first.
func (c *Client) counterOps(ctx context.Context, base string, names []string, deltas map[string]int64) ([]Op, error) {
	sets := make([]*Op, len(names))
	err := c.each(ctx, len(names), func(ctx context.Context, i int) error {
		path := join(base, names[i])
		data, version, err := c.counter(ctx, path)
		if err != nil {
			return err
		}
		old, err := parseCounter(path, data)
		if err != nil {
			return err
		}
		delta := deltas[names[i]]
		sum := old + delta
		if (delta > 0) != (sum > old) && delta != 0 {
			return fmt.Errorf("counter %s would overflow", path)
		}
		if delta != 0 || len(data) == 0 {
			op := OpSet(path, strconv.AppendInt(nil, sum, 10), version)
			sets[i] = &op
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var ops []Op
	for _, op := range sets {
		if op != nil {
			ops = append(ops, *op)
		}
	}
	if fence := c.fencePath(); fence != "" && len(ops) > 0 {
		data, st, err := c.get(ctx, fence)
		if errors.Is(err, ErrNoNode) {
			return nil, fmt.Errorf("%w: its node %s is gone", ErrSessionLost, c.full(fence))
		}
		if err != nil {
			return nil, err
		}
		ops = append([]Op{OpSet(fence, data, st.Version)}, ops...)
	}
	return ops, nil
}

// counter reads a counter, made empty if it was missing, as kazoo does.
func (c *Client) counter(ctx context.Context, path string) ([]byte, int32, error) {
	for {
		data, st, err := c.get(ctx, path)
		if err == nil {
			return data, st.Version, nil
		}
		if !errors.Is(err, ErrNoNode) {
			return nil, 0, err
		}
		if err := c.ensure(ctx, path, c.acl); err != nil {
			return nil, 0, err
		}
	}
}

// applied finds out whether ops, all OpSet with a version, have been carried out. The first that has its old version
// says no; the fence, or one that has the next version and the data, says yes.
func (c *Client) applied(ctx context.Context, ops []Op) (bool, error) {
	if err := c.sync(ctx, ops[0].path); err != nil {
		return false, err
	}
	fence := c.fencePath()
	yes := false
	for _, op := range ops {
		data, st, err := c.get(ctx, op.path)
		if errors.Is(err, ErrNoNode) {
			continue
		}
		if err != nil {
			return false, err
		}
		if st.Version == op.version {
			return false, nil
		}
		if st.Version == op.version+1 && string(data) == string(op.data) {
			yes = true
		}
		if yes && op.path == fence {
			return true, nil
		}
	}
	if !yes {
		return false, ErrConnectionLoss
	}
	return true, nil
}

// Counters reads kazoo Counters below base; one that is missing or empty is 0.
func (c *Client) Counters(ctx context.Context, base string, names []string) (map[string]int64, error) {
	values := make([]int64, len(names))
	err := c.do(ctx, func() error {
		return c.each(ctx, len(names), func(ctx context.Context, i int) error {
			path := join(base, names[i])
			data, _, err := c.get(ctx, path)
			if errors.Is(err, ErrNoNode) {
				return nil
			}
			if err == nil {
				values[i], err = parseCounter(path, data)
			}
			return err
		})
	})
	if err != nil {
		return nil, c.fail("read the counters in", base, err)
	}
	counters := make(map[string]int64, len(names))
	for i, name := range names {
		counters[name] = values[i]
	}
	return counters, nil
}

func parseCounter(path string, data []byte) (int64, error) {
	text := strings.TrimSpace(string(data))
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("counter %s holds %.40q, not a whole number of 64 bits", path, data)
	}
	return n, nil
}
