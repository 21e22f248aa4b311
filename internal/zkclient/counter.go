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

// AddCounters adds deltas to kazoo Counters below base, all in one transaction, and makes those
// that are missing. A delta of 0 changes nothing but makes its counter. When others change one of
// them at the same time it tries again after a pause. The pauses are uneven, so that kazoo's own
// back-off is not starved.
//
// Lost reply: settled behind a fence (see SetFence): the transaction also writes the data of the
// fence node back to it, whose version then tells. Without a fence it is open.
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
	for try := 0; ; try++ {
		err := c.tryCounters(ctx, base, deltas)
		if errors.Is(err, ErrConnectionLoss) || !errors.Is(err, ErrBadVersion) && !errors.Is(err, ErrNoNode) {
			return err
		}
		limit := min(10*time.Millisecond<<min(try, 5), 200*time.Millisecond)
		if err := Sleep(ctx, limit/4+rand.N(limit)); err != nil {
			return err
		}
	}
}

// tryCounters adds to the counters unless others change one of them meanwhile.
func (c *Client) tryCounters(ctx context.Context, base string, deltas map[string]int64) error {
	var proof []Op
	fence := c.fencePath()
	if fence != "" {
		data, st, err := c.get(ctx, fence)
		if err != nil {
			return c.fenceError(fence, err)
		}
		proof = []Op{OpSet(fence, data, st.Version)}
	}
	return c.settle(ctx, ctx, func() error {
		ops, err := c.counterOps(ctx, base, deltas)
		if err != nil || len(ops) == 0 {
			return err
		}
		_, err = c.multi(ctx, append(proof, ops...))
		return err
	}, func(ctx context.Context) (bool, error) {
		if fence == "" {
			return false, errors.New("the client has no fence")
		}
		if err := c.sync(ctx, fence); err != nil {
			return false, err
		}
		_, st, err := c.get(ctx, fence)
		if err != nil {
			return false, c.fenceError(fence, err)
		}
		return st.Version > proof[0].version, nil
	})
}

// counterOps returns what to write.
func (c *Client) counterOps(ctx context.Context, base string, deltas map[string]int64) ([]Op, error) {
	names := slices.Sorted(maps.Keys(deltas))
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
	var ops []Op
	for _, op := range sets {
		if op != nil {
			ops = append(ops, *op)
		}
	}
	return ops, err
}

// counter reads a counter. One that is missing is made, and empty, as kazoo makes it.
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

// Counters reads kazoo Counters below base. One that is missing or empty is 0.
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
		return 0, fmt.Errorf("%w: %s holds %.40q", ErrNotCounter, path, data)
	}
	return n, nil
}
