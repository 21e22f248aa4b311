// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// DefaultPriority is kazoo's. Lower ones come first.
const DefaultPriority = 100

// Queue is kazoo's LockingQueue. An entry that is taken stays in the queue until it is consumed. It
// is free again when it is released or the taker's session ends.
type Queue struct {
	c    *Client
	path string
	id   string // what this object writes into the taken nodes

	mu      sync.Mutex
	held    map[string]*Entry // what this object has taken; nil: tries to take, or gives back
	view    *view             // what was free when the queue was last read
	shunned map[string]bool   // what cannot be an entry, or cannot be removed
	misses  int               // names of view in a row that were taken by others
	freed   chan struct{}     // closed and replaced when a name is held no longer

	reading chan struct{} // held by whoever reads the queue
}

// Queue returns the queue at path. Nothing is made before the first Ensure or Put.
func (c *Client) Queue(path string) *Queue {
	return &Queue{c: c, path: path, id: randomHex(), held: make(map[string]*Entry),
		freed: make(chan struct{}), reading: make(chan struct{}, 1)}
}

// Path is where the queue is.
func (q *Queue) Path() string { return q.path }

func (q *Queue) entries() string { return join(q.path, "entries") }
func (q *Queue) takenBy() string { return join(q.path, "taken") }

// Ensure makes the queue's nodes where they are missing.
//
// Lost reply: settled.
func (q *Queue) Ensure(ctx context.Context) error {
	return q.c.fail("make the queue", q.path, q.c.do(ctx, func() error { return q.ensure(ctx) }))
}

func (q *Queue) ensure(ctx context.Context) error {
	for _, path := range []string{q.takenBy(), q.entries()} {
		if err := q.c.ensure(ctx, path, q.c.acl); err != nil {
			return err
		}
	}
	return nil
}

// Len is the number of entries, taken ones included. It is 0 if there is no queue.
func (q *Queue) Len(ctx context.Context) (int, error) {
	n, err := await(ctx, q.c, func() (int, error) {
		st, found, err := q.c.exists(ctx, q.entries())
		if err != nil || !found {
			return 0, err
		}
		return int(st.NumChildren), nil
	}, nil)
	return n, q.c.fail("read the length of the queue", q.path, err)
}

// PutOp is the operation that puts one value, for a Multi or the Consume of another entry. The
// queue must have been made (Ensure).
func (q *Queue) PutOp(value []byte, priority int) Op {
	return OpCreate(join(q.entries(), entryPrefix(priority)), value, Sequential)
}

func entryPrefix(priority int) string {
	return fmt.Sprintf("entry-%03d-", min(max(priority, 0), 999))
}

// Put appends values at a priority of 0 to 999. Many values go in several transactions of at most
// 1000 entries and 512 KiB, in order. When one of them fails, those before it are in the queue.
//
// Lost reply: settled. The entries of a transaction are looked for among those that are younger
// than the call. What others consume in that moment is missed: when no entry is left, all are put
// again.
func (q *Queue) Put(ctx context.Context, priority int, values ...[]byte) error {
	if priority < 0 || priority > 999 {
		return fmt.Errorf("cannot put into the queue %s: the priority %d is not one of 0 to 999", q.c.full(q.path), priority)
	}
	ops := make([]Op, len(values))
	for i, value := range values {
		ops[i] = q.PutOp(value, priority)
	}
	err := q.c.do(ctx, func() error {
		for _, batch := range q.c.batches(ops) {
			if err := q.put(ctx, entryPrefix(priority), batch); err != nil {
				return err
			}
		}
		return nil
	})
	return q.c.fail("put into the queue", q.path, err)
}

func (q *Queue) put(ctx context.Context, prefix string, batch []Op) error {
	for {
		first, err := q.c.nextSequence(ctx, q.entries())
		if err == nil {
			err = q.c.settle(ctx, ctx, func() error {
				_, err := q.c.multi(ctx, batch)
				return err
			}, func(ctx context.Context) (bool, error) { return q.has(ctx, prefix, first, batch) })
		}
		if !errors.Is(err, ErrNoNode) {
			return err
		}
		if err := q.ensure(ctx); err != nil {
			return err
		}
	}
}

// has looks whether batch is in the queue, or what other clients have left of it. The numbers of
// its entries follow each other, from first on.
func (q *Queue) has(ctx context.Context, prefix string, first int64, batch []Op) (bool, error) {
	names, err := q.c.since(ctx, q.entries(), prefix, first)
	if err != nil {
		return false, err
	}
	values, err := q.values(ctx, names)
	if err != nil {
		return false, err
	}
	there := make(map[int64]string)
	for i, name := range names {
		if number, ok := sequence(name, prefix); ok && values[i] != nil {
			there[number] = string(values[i])
		}
	}
	fits := func(begin int64) bool {
		for i, op := range batch {
			if value, ok := there[begin+int64(i)]; ok && value != string(op.data) {
				return false
			}
		}
		return begin >= first
	}
	for number, value := range there {
		for i, op := range batch {
			if value == string(op.data) && fits(number-int64(i)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Drain hands the value of every entry, taken or not, to fn, in this goroutine and in the order of
// priority and number, and then deletes the entry. It returns how many values it has handed over.
// Entries that appear meanwhile are left, and the taken nodes are never touched. When fn fails,
// what it was given before is deleted, and what it failed on is not.
//
// Lost reply: repeated, as to the deletion; no value is handed over twice.
func (q *Queue) Drain(ctx context.Context, fn func(value []byte) error) (int, error) {
	total := 0
	names, err := await(ctx, q.c, func() ([]string, error) { return q.c.children(ctx, q.entries()) }, nil)
	if errors.Is(err, ErrNoNode) {
		return 0, nil
	}
	slices.Sort(names)
	for err == nil && len(names) > 0 {
		n := min(maxOps, len(names))
		var done int
		done, err = q.drain(ctx, names[:n], fn)
		total += done
		names = names[n:]
	}
	return total, q.c.fail("drain the queue", q.path, err)
}

func (q *Queue) drain(ctx context.Context, names []string, fn func(value []byte) error) (int, error) {
	type item struct {
		value []byte
		found bool
	}
	items, err := await(ctx, q.c, func() ([]item, error) {
		items := make([]item, len(names))
		return items, q.c.each(ctx, len(names), func(ctx context.Context, i int) error {
			data, _, err := q.c.get(ctx, join(q.entries(), names[i]))
			if errors.Is(err, ErrNoNode) || errors.Is(err, ErrNoAuth) {
				return nil
			}
			items[i] = item{data, true}
			return err
		})
	}, nil)
	if err != nil {
		return 0, err
	}
	var paths []string
	var failed error
	for i, it := range items {
		if !it.found {
			continue
		}
		if failed = fn(it.value); failed != nil {
			break
		}
		paths = append(paths, join(q.entries(), names[i]))
	}
	if err := q.c.do(ctx, func() error { return q.c.removeAll(ctx, paths) }); err != nil {
		return len(paths), err
	}
	return len(paths), failed
}
