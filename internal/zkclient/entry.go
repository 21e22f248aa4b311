// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Entry is an entry of a Queue that this client has taken. It is held until Consume, Release or the
// end of the session.
type Entry struct {
	Name  string // in the queue, with priority and number
	Value []byte

	q     *Queue
	whole *watch // fires when the queue is deleted
}

// Priority is that at which it was put; DefaultPriority if its name tells none.
func (e *Entry) Priority() int {
	digits, _, _ := strings.Cut(strings.TrimPrefix(e.Name, "entry-"), "-")
	if priority, err := strconv.Atoi(digits); err == nil {
		return priority
	}
	return DefaultPriority
}

func (e *Entry) path() string      { return join(e.q.entries(), e.Name) }
func (e *Entry) takenPath() string { return join(e.q.takenBy(), e.Name) }

func names(entries []*Entry) []string {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name
	}
	return names
}

// known says whether the entry is ours, as far as this client knows.
func (e *Entry) known() bool {
	e.q.mu.Lock()
	defer e.q.mu.Unlock()
	return e.q.held[e.Name] == e
}

// mine looks whether the taken node is this object's, of this session, and in the servers' eyes.
func (e *Entry) mine(ctx context.Context) (bool, error) {
	return e.q.c.isMine(ctx, e.takenPath(), []byte(e.q.id), Ephemeral, e.q.c.acl)
}

// Consume is ConsumeAll for one entry.
func (e *Entry) Consume(ctx context.Context, also ...Op) error {
	return e.q.ConsumeAll(ctx, []*Entry{e}, also...)
}

// ConsumeAll carries out the operations in also, then removes entries of this queue, all in one
// transaction: all or nothing. [ErrNotHeld]: an entry, which the error names, is not ours any more.
// Then, and when one of the operations is refused ([OpError]), nothing was done, and the entries
// that are ours stay ours.
//
// Lost reply: settled. It is open, and [ErrNotHeld], when the queue was deleted meanwhile.
func (q *Queue) ConsumeAll(ctx context.Context, entries []*Entry, also ...Op) error {
	if len(entries) == 0 {
		return q.c.Multi(ctx, also...)
	}
	err := q.c.do(ctx, func() error { return q.consume(ctx, entries, also) })
	return q.failAll("consume", entries, err)
}

func (q *Queue) failAll(what string, entries []*Entry, err error) error {
	if len(entries) > 1 {
		return q.c.fail(fmt.Sprintf("%s %d queue entries, beginning with", what, len(entries)), entries[0].path(), err)
	}
	return q.c.fail(what+" the queue entry", entries[0].path(), err)
}

func (q *Queue) consume(ctx context.Context, entries []*Entry, also []Op) error {
	ops := make([]Op, 0, len(also)+2*len(entries))
	ops = append(ops, also...)
	for _, e := range entries {
		ops = append(ops, OpDelete(e.path()), OpDelete(e.takenPath()))
	}
	sure := q.sure(entries)
	err := q.c.settle(ctx, ctx, func() error {
		if err := q.stillOurs(ctx, entries, !sure); err != nil {
			return err
		}
		sure = false
		_, err := q.c.multi(ctx, ops)
		return err
	}, entries[0].consumed)
	var refused *OpError
	if errors.As(err, &refused) && refused.Index >= len(also) {
		i := refused.Index - len(also)
		switch e := entries[i/2]; {
		case errors.Is(err, ErrNoNode):
			return q.missing(e, i%2 == 0)
		case errors.Is(err, ErrNotEmpty): // somebody has made a child of it meanwhile
			q.shun(e.Name, "it has child nodes")
			q.discard([]*Entry{e})
			q.drop([]*Entry{e})
			return e.notHeld()
		}
	}
	if err == nil {
		q.drop(entries)
	}
	return err
}

// sure says whether the transaction itself proves that entries that are known are ours. Behind a
// fence it does: it is carried out only if the session lives, and then the taken nodes live too.
// Nobody deletes these but their owner, and whoever deletes a whole queue. One who does that is a
// clean-up, which waits until the owner has left the party (the fence). Another is a Python master
// that finds the queue of an earlier run when it begins, and may have made a new queue with the
// same names; the watch sees that one.
func (q *Queue) sure(entries []*Entry) bool {
	if q.c.fencePath() == "" {
		return false
	}
	for _, e := range entries {
		if e.whole.has() {
			return false
		}
	}
	return true
}

// stillOurs returns ErrNotHeld unless all entries are ours, as far as is known here or, if asked,
// on the servers.
func (q *Queue) stillOurs(ctx context.Context, entries []*Entry, ask bool) error {
	for _, e := range entries {
		if !e.known() {
			return e.notHeld()
		}
	}
	if !ask {
		return nil
	}
	ours, err := q.ours(ctx, entries)
	if err != nil {
		return err
	}
	for i, e := range entries {
		if !ours[i] {
			q.drop([]*Entry{e})
			err = e.notHeld()
		}
	}
	return err
}

// ours looks which of the entries are ours.
func (q *Queue) ours(ctx context.Context, entries []*Entry) ([]bool, error) {
	if err := q.c.sync(ctx, q.path); err != nil {
		return nil, err
	}
	ours := make([]bool, len(entries))
	return ours, q.c.each(ctx, len(entries), func(ctx context.Context, i int) error {
		data, st, err := q.c.get(ctx, entries[i].takenPath())
		if errors.Is(err, ErrNoNode) {
			return nil
		}
		ours[i] = err == nil && q.c.owned(st, Ephemeral) && string(data) == q.id
		return err
	})
}

// missing is what a transaction means that was refused because the entry, or else its taken node,
// was not there.
func (q *Queue) missing(e *Entry, entry bool) error {
	if entry { // somebody has deleted it
		q.discard([]*Entry{e})
	}
	q.drop([]*Entry{e})
	return e.notHeld()
}

func (e *Entry) notHeld() error { return fmt.Errorf("%s: %w", e.Name, ErrNotHeld) }

// consumed says whether both nodes are gone from the queue. When the queue itself is gone nobody
// can tell why they are.
func (e *Entry) consumed(ctx context.Context) (bool, error) {
	c := e.q.c
	if err := c.sync(ctx, e.path()); err != nil {
		return false, err
	}
	for _, path := range []string{e.path(), e.takenPath()} {
		if _, found, err := c.exists(ctx, path); err != nil || found {
			return false, err
		}
	}
	st, found, err := c.exists(ctx, e.q.takenBy())
	if err == nil && (!found || st.Czxid != e.whole.czxid) {
		e.q.drop([]*Entry{e})
		err = e.notHeld()
	}
	return err == nil, err
}

// drop forgets that entries are held. That does not make them free.
func (q *Queue) drop(entries []*Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		if q.held[e.Name] == e {
			delete(q.held, e.Name)
		}
	}
}

// Release is ReleaseAll for one entry.
func (e *Entry) Release(ctx context.Context) error {
	return e.q.ReleaseAll(ctx, []*Entry{e})
}

// ReleaseAll makes entries of this queue free for others, in one transaction. Once it is called
// this is done as soon as a connection stands, even if ctx ends before. [ErrNotHeld]: none of them
// is ours any more.
//
// Lost reply: settled.
func (q *Queue) ReleaseAll(ctx context.Context, entries []*Entry) error {
	if len(entries) == 0 {
		return nil
	}
	done := make(chan error, 1)
	known := q.disown(entries) // at once: what is to be released must not be consumed
	err := q.c.start(func() {
		err := q.untake(known)
		q.forget(names(known))
		done <- err
	})
	if err == nil {
		select {
		case err = <-done:
		case <-ctx.Done():
			err = q.c.check(ctx)
		case <-q.c.ctx.Done():
			err = q.c.check(ctx)
		}
	}
	return q.failAll("release", entries, err)
}

// untake deletes those taken nodes that are ours, in one transaction. ErrNotHeld: there was none.
// It asks each time, because a node of the same name may be another's as soon as an attempt whose
// reply is lost has deleted ours. It is not behind the fence, which may be taken down already.
func (q *Queue) untake(entries []*Entry) error {
	if len(entries) == 0 {
		return ErrNotHeld
	}
	for none := ErrNotHeld; ; {
		ours, err := q.ours(q.c.ctx, entries)
		if err != nil {
			return err
		}
		var ops []Op
		for i, e := range entries {
			if ours[i] {
				ops = append(ops, OpDelete(e.takenPath()))
			}
		}
		if len(ops) == 0 {
			return none
		}
		_, err = q.c.multiBehind(q.c.ctx, "", ops)
		switch {
		case errors.Is(err, ErrConnectionLoss):
			none = nil
		case !errors.Is(err, ErrNoNode): // it is if the queue has just been deleted
			return err
		}
		if err := q.c.breathe(q.c.ctx); err != nil {
			return err
		}
	}
}
