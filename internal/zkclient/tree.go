// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"
)

// pipeline is how many reads are under way at once where many are needed. One connection carries
// them one behind the other, without waiting for the replies.
const pipeline = 64

// EnsurePath makes path and its parents where they are missing, persistent and empty.
//
// Lost reply: settled.
func (c *Client) EnsurePath(ctx context.Context, path string) error {
	return c.fail("create", path, c.do(ctx, func() error { return c.ensure(ctx, path, c.acl) }))
}

// ensure looks upwards until something exists, then creates downwards, as kazoo does.
func (c *Client) ensure(ctx context.Context, path string, acl []zk.ACL) error {
	if path == "/" {
		return nil
	}
	_, found, err := c.exists(ctx, path)
	if err != nil || found {
		return err
	}
	parent, _ := split(path)
	if err := c.ensure(ctx, parent, acl); err != nil {
		return err
	}
	_, err = c.create(ctx, path, nil, Persistent, acl)
	if errors.Is(err, ErrNodeExists) {
		return nil
	}
	return err
}

// makePath is kazoo's create with makepath: first the node and, only if that lacks a parent, the
// parents.
func (c *Client) makePath(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (string, error) {
	for {
		made, err := c.create(ctx, path, data, mode, acl)
		if !errors.Is(err, ErrNoNode) {
			return made, err
		}
		parent, _ := split(path)
		if err := c.ensure(ctx, parent, acl); err != nil {
			return "", err
		}
	}
}

// DeleteTree deletes path and all below it, children first; what is not there is no error. Children that
// appear meanwhile are deleted too, a few times over; then it gives up with [ErrNotEmpty]. What cannot be
// deleted is named in the error, and keeps nothing else from being deleted but what is above it.
func (c *Client) DeleteTree(ctx context.Context, path string) error {
	return c.fail("delete", path, c.do(ctx, func() error { return c.deleteTree(ctx, path) }))
}

// DeleteBelow is DeleteTree that leaves path itself.
func (c *Client) DeleteBelow(ctx context.Context, path string) error {
	return c.fail("delete what is below", path, c.do(ctx, func() error {
		names, err := c.children(ctx, path)
		if errors.Is(err, ErrNoNode) {
			return nil
		}
		for _, name := range names {
			err = errors.Join(err, c.deleteTree(ctx, join(path, name)))
		}
		return err
	}))
}

func (c *Client) deleteTree(ctx context.Context, path string) error {
	const rounds = 5
	var err error
	for range rounds {
		if err = c.deleteOnce(ctx, path); !errors.Is(err, ErrNotEmpty) || errors.Is(err, ErrNoAuth) {
			break
		}
	}
	return err
}

func (c *Client) deleteOnce(ctx context.Context, path string) error {
	level := []string{path}
	var levels [][]string
	for len(level) > 0 {
		levels = append(levels, level)
		below := make([][]string, len(level))
		err := c.each(ctx, len(level), func(ctx context.Context, i int) error {
			names, err := c.children(ctx, level[i])
			if errors.Is(err, ErrNoNode) || errors.Is(err, ErrNoAuth) { // without children it can be deleted all the same
				return nil
			}
			for _, name := range names {
				below[i] = append(below[i], join(level[i], name))
			}
			return err
		})
		if err != nil {
			return err
		}
		level = nil
		for _, paths := range below {
			level = append(level, paths...)
		}
	}
	var held error // the deepest: those above have children for that reason
	for i := len(levels) - 1; i >= 0; i-- {
		err := c.removeAll(ctx, levels[i])
		if err != nil && !isHeld(err) {
			return err
		}
		if held == nil {
			held = err
		}
	}
	return held
}

// isHeld says whether a node could not be deleted for its own sake.
func isHeld(err error) bool { return errors.Is(err, ErrNotEmpty) || errors.Is(err, ErrNoAuth) }

// removeAll deletes znodes in as few requests as they fit into. What is not there any more is no
// error; what cannot be deleted keeps no other from it.
func (c *Client) removeAll(ctx context.Context, paths []string) error {
	ops := make([]Op, len(paths))
	for i, path := range paths {
		ops[i] = OpDelete(path)
	}
	var held error
	for _, batch := range c.batches(ops) {
		err := c.settle(ctx, ctx, func() error {
			_, err := c.multi(ctx, batch)
			return err
		}, nil)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrNoNode) && !isHeld(err) {
			return err
		}
		// One of them refuses them all.
		problems := make([]error, len(batch))
		err = c.each(ctx, len(batch), func(ctx context.Context, i int) error {
			err := c.remove(ctx, batch[i].path)
			switch {
			case errors.Is(err, ErrNoNode):
			case isHeld(err):
				problems[i] = fmt.Errorf("%s: %w", c.full(batch[i].path), err)
			default:
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
		held = errors.Join(append(problems, held)...)
	}
	return held
}

// each runs fn for 0 to n-1, several at once, and returns when all of them have returned.
func (c *Client) each(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pipeline)
	for i := range n {
		g.Go(func() error { return fn(ctx, i) })
	}
	return g.Wait()
}
