// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
)

// Entry is an entry of a Queue that this client has taken. It is held until Consume, Release or the end of the session.
type Entry struct {
	Name  string // in the queue, with priority and number
	Value []byte

	q *Queue
}

func (e *Entry) path() string      { return join(e.q.entries(), e.Name) }
func (e *Entry) takenPath() string { return join(e.q.takenBy(), e.Name) }

// Held asks the servers whether the entry is still ours.
func (e *Entry) Held(ctx context.Context) (bool, error) {
	held, err := await(ctx, e.q.c, func() (bool, error) { return e.held(ctx) }, nil)
	return held, e.q.c.fail("look who holds the queue entry", e.path(), err)
}

func (e *Entry) held(ctx context.Context) (bool, error) {
	e.q.mu.Lock()
	known := e.q.held[e.Name] == e
	e.q.mu.Unlock()
	if !known {
		return false, nil
	}
	mine, _, err := e.q.c.isMine(ctx, e.takenPath(), []byte(e.q.id), Ephemeral)
	return mine, err
}

// Consume removes the entry from the queue, together with the given operations, before it, in one transaction: all or
// nothing. After a lost connection it finds out whether that happened: entry and taken node are both gone. [ErrNotHeld]
// if the entry is not ours any more; then, and when one of the operations is refused ([OpError]), nothing was done and
// the entry, if ours, stays ours.
func (e *Entry) Consume(ctx context.Context, also ...Op) error {
	err := e.q.c.do(ctx, func() error { return e.consume(ctx, also) })
	return e.q.c.fail("consume the queue entry", e.path(), err)
}

func (e *Entry) consume(ctx context.Context, also []Op) error {
	c := e.q.c
	ops := make([]Op, 0, len(also)+2)
	ops = append(ops, also...)
	ops = append(ops, OpDelete(e.path()), OpDelete(e.takenPath()))
	for {
		held, err := e.held(ctx)
		if err != nil {
			return err
		}
		if !held {
			e.drop()
			return ErrNotHeld
		}
		_, err = c.multi(ctx, ops)
		if errors.Is(err, ErrConnectionLoss) {
			if err = c.breathe(ctx); err != nil {
				return err
			}
			done, err := e.gone(ctx)
			if err != nil {
				return err
			}
			if !done {
				continue
			}
			e.drop()
			return nil
		}
		var refused *OpError
		if errors.As(err, &refused) && refused.Index >= len(also) && errors.Is(err, ErrNoNode) {
			if refused.Index == len(also) {
				c.discard(e.takenPath()) // ours, of an entry that somebody has deleted
			}
			e.drop()
			return ErrNotHeld
		}
		if err == nil {
			e.drop()
		}
		return err
	}
}

// gone says whether both nodes are.
func (e *Entry) gone(ctx context.Context) (bool, error) {
	c := e.q.c
	if err := c.sync(ctx, e.path()); err != nil {
		return false, err
	}
	for _, path := range []string{e.path(), e.takenPath()} {
		if _, found, err := c.exists(ctx, path); err != nil || found {
			return false, err
		}
	}
	return true, nil
}

// drop forgets that the entry is held.
func (e *Entry) drop() {
	e.q.mu.Lock()
	defer e.q.mu.Unlock()
	if e.q.held[e.Name] == e {
		delete(e.q.held, e.Name)
	}
}

// Release makes the entry free for others. Once called this is done as soon as a connection stands, even if ctx ends before.
// [ErrNotHeld] if it is not ours any more.
func (e *Entry) Release(ctx context.Context) error {
	c := e.q.c
	done := make(chan error, 1)
	err := c.start(func() {
		held, err := e.held(c.ctx)
		if err == nil && !held {
			err = ErrNotHeld
		}
		if err == nil {
			if err = c.remove(c.ctx, e.takenPath()); errors.Is(err, ErrNoNode) {
				err = ErrNotHeld
			}
		}
		e.drop()
		done <- err
	})
	if err == nil {
		select {
		case err = <-done:
		case <-ctx.Done():
			err = c.check(ctx)
		case <-c.ctx.Done():
			err = c.check(ctx)
		}
	}
	return c.fail("release the queue entry", e.path(), err)
}
