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

// await runs fn, which may block in the library, in a goroutine of the client. It returns fn's
// result or, at once, the end of ctx or of the session. What an abandoned fn still gets is handed
// to undo.
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
	return c.settle(ctx, ctx, func() error { return c.once(ctx, request) }, nil)
}

// settle makes attempt, whose reply can get lost, in this goroutine, until its outcome is known.
//
// After a loss, done looks whether attempt was carried out. A nil done means that attempt may be
// carried out more than once, and it is repeated. A refusal that follows a loss is believed only
// when done has looked once more, because the lost request can have come late and be the reason for
// it. Where done cannot find out, the outcome is open.
//
// New attempts are made until ctx ends. done looks until looking ends. That is ctx, or the context
// of the session where nothing may be left in doubt: nil is returned then whenever attempt was
// carried out.
func (c *Client) settle(ctx, looking context.Context, attempt func() error, done func(ctx context.Context) (bool, error)) error {
	for doubtful := false; ; doubtful = true {
		err := attempt()
		if err == nil || !lost(err) && (done == nil || !doubtful) {
			return err
		}
		stop := c.breathe(ctx)
		if over := c.check(looking); over != nil {
			return over
		}
		if done == nil {
			continue
		}
		yes, failed := done(looking)
		switch {
		case yes:
			return nil
		case stop != nil:
			return stop
		case failed != nil && c.check(looking) != nil:
			return failed
		case failed != nil:
			return open(failed)
		case !lost(err):
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
