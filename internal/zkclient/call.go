// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/go-zookeeper/zk"
)

// start runs fn in a goroutine that Close waits for.
func (c *Client) start(fn func()) error {
	c.state.Lock()
	defer c.state.Unlock()
	if c.closed {
		if cause := context.Cause(c.ctx); cause != nil {
			return cause
		}
		return errClosed
	}
	c.tasks.Go(fn)
	return nil
}

// await runs fn, which may block in the library, in a goroutine of the client, and returns its result or, at once, the
// end of ctx or of the session. What an abandoned fn still gets is handed to undo.
func await[T any](ctx context.Context, c *Client, fn func() (T, error), undo func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := c.check(ctx); err != nil {
		return none, err
	}
	done := make(chan result)
	gone := make(chan struct{})
	defer close(gone)
	err := c.start(func() {
		value, err := fn()
		select {
		case done <- result{value, err}:
		case <-gone:
			if err == nil && undo != nil {
				undo(value)
			}
		}
	})
	if err != nil {
		return none, err
	}
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return none, c.check(ctx)
}

// do is await for what has no result.
func (c *Client) do(ctx context.Context, fn func() error) error {
	_, err := await(ctx, c, func() (struct{}, error) { return struct{}{}, fn() }, nil)
	return err
}

// once waits for a connection, then runs request in this goroutine and translates its error.
func (c *Client) once(ctx context.Context, request func() error) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	err := request()
	if errors.Is(err, zk.ErrSessionExpired) {
		c.expired()
	}
	if lost(err) {
		if c.over() {
			return context.Cause(c.ctx)
		}
		return err
	}
	return translate(err)
}

// retry repeats request, in this goroutine, until the connection holds.
func (c *Client) retry(ctx context.Context, request func() error) error {
	for {
		err := c.once(ctx, request)
		if !lost(err) {
			return err
		}
		if err := c.breathe(ctx); err != nil {
			return err
		}
	}
}

// breathe is the pause after a lost connection.
func (c *Client) breathe(ctx context.Context) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	if err := Sleep(ctx, 10*time.Millisecond+rand.N(20*time.Millisecond)); err != nil {
		return err
	}
	return c.check(ctx)
}
