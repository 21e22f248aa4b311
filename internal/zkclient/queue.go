// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// DefaultPriority is kazoo's; lower ones come first.
const DefaultPriority = 100

// staleAfter is how many names in a row that turn out to be taken make the local copy not worth going on with.
const staleAfter = 16

// Queue is kazoo's LockingQueue. An entry that is taken stays in the queue until it is consumed, and is free again when it
// is released or when the taker's session ends.
type Queue struct {
	c    *Client
	path string
	id   string // what this object writes into the taken nodes

	mu     sync.Mutex
	held   map[string]*Entry // what this object has taken, or is trying to (nil)
	view   *view             // what was free when the queue was last read
	misses int               // names of view in a row that were taken by others

	reading chan struct{} // held by whoever reads the queue
}

// view is the local copy of the names that are free.
type view struct {
	groups         []group // lowest first
	read           time.Time
	turn           <-chan struct{}
	entries, taken *watch
}

// group holds names of equal priority, in no order.
type group struct {
	prefix string
	names  []string
}

// Queue returns the queue at path; nothing is made before the first Ensure or Put.
func (c *Client) Queue(path string) *Queue {
	return &Queue{c: c, path: path, id: randomHex(), held: make(map[string]*Entry), reading: make(chan struct{}, 1)}
}

// Path is where the queue is.
func (q *Queue) Path() string { return q.path }

func (q *Queue) entries() string { return join(q.path, "entries") }
func (q *Queue) takenBy() string { return join(q.path, "taken") }

// Ensure makes the queue's nodes where they are missing.
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

// Len is the number of entries, taken ones included; 0 if there is no queue.
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

// PutOp is the operation that puts one value, for another entry's Consume. The queue must have been made (Ensure).
func (q *Queue) PutOp(value []byte, priority int) Op {
	return OpCreate(join(q.entries(), entryPrefix(priority)), value, Sequential)
}

func entryPrefix(priority int) string {
	return fmt.Sprintf("entry-%03d-", min(max(priority, 0), 999))
}

// Put appends values at a priority of 0 to 999. Many values go in several transactions of at most 1000 entries and 512 KiB, in
// order; on an error those before are in the queue. After a lost connection a transaction is looked for among the
// entries younger than the call; it is repeated if none of it is there, so a value can be put twice if another client has
// consumed it meanwhile, but none is lost.
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
	first, err := q.c.nextSequence(ctx, q.entries())
	for {
		if errors.Is(err, ErrNoNode) {
			if err = q.ensure(ctx); err == nil {
				first, err = q.c.nextSequence(ctx, q.entries())
			}
		}
		if err != nil {
			return err
		}
		_, err = q.c.multi(ctx, batch)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrNoNode):
			continue
		case !errors.Is(err, ErrConnectionLoss):
			return err
		}
		values := make(map[string]bool, len(batch))
		for _, op := range batch {
			values[string(op.data)] = true
		}
		var name string
		name, err = q.c.findSince(ctx, q.entries(), prefix, first, Sequential, func(data []byte) bool { return values[string(data)] })
		if name != "" {
			return nil
		}
	}
}

// Take waits until it has an entry. What an abandoned Take still gets is released.
func (q *Queue) Take(ctx context.Context) (*Entry, error) {
	e, err := await(ctx, q.c, func() (*Entry, error) {
		since := time.Now()
		for {
			e, v, err := q.take(ctx, since)
			if e != nil || err != nil {
				return e, err
			}
			if err := q.c.wait(ctx, v.turn, v.entries, v.taken); err != nil {
				return nil, err
			}
			since = v.changed()
		}
	}, q.abandon)
	return e, q.c.fail("take from the queue", q.path, err)
}

// TryTake takes an entry if one is free now, else it returns nil.
func (q *Queue) TryTake(ctx context.Context) (*Entry, error) {
	e, err := await(ctx, q.c, func() (*Entry, error) {
		e, _, err := q.take(ctx, time.Now())
		return e, err
	}, q.abandon)
	return e, q.c.fail("take from the queue", q.path, err)
}

// abandon gives back what nobody waits for any more.
func (q *Queue) abandon(e *Entry) {
	if e != nil {
		q.c.discard(e.takenPath())
		q.forget(e.Name)
	}
}

// take returns an entry, or the view that showed none, read at or after since.
func (q *Queue) take(ctx context.Context, since time.Time) (*Entry, *view, error) {
	for {
		name, v, err := q.next(ctx, since)
		if err != nil || name == "" {
			return nil, v, err
		}
		e, err := q.claim(ctx, name)
		if e != nil || err != nil {
			return e, v, err
		}
	}
}

// next picks a name that may be free, and keeps it from the other goroutines. The queue is read again only when the local copy
// is empty and older than since, as old as the poll interval, or proven stale.
func (q *Queue) next(ctx context.Context, since time.Time) (string, *view, error) {
	select {
	case q.reading <- struct{}{}:
		defer func() { <-q.reading }()
	case <-ctx.Done():
		return "", nil, q.c.check(ctx)
	case <-q.c.ctx.Done():
		return "", nil, q.c.check(ctx)
	}
	for {
		q.mu.Lock()
		if q.misses >= staleAfter || q.view != nil && time.Since(q.view.read) > q.c.poll {
			q.view, q.misses = nil, 0
		}
		v := q.view
		if v != nil {
			for name := v.pick(); name != ""; name = v.pick() {
				if _, ours := q.held[name]; !ours {
					q.held[name] = nil
					q.mu.Unlock()
					return name, v, nil
				}
			}
		}
		q.mu.Unlock()
		if v != nil && !v.read.Before(since) {
			return "", v, nil
		}
		v, err := q.look(ctx)
		if err != nil {
			return "", nil, err
		}
		q.mu.Lock()
		q.view, q.misses = v, 0
		q.mu.Unlock()
	}
}

// look reads what is free.
func (q *Queue) look(ctx context.Context) (*view, error) {
	v := &view{read: time.Now(), turn: q.c.reconnected()}
	names, w, err := q.c.childrenW(ctx, q.entries())
	v.entries = w
	if errors.Is(err, ErrNoNode) {
		_, _, v.entries, err = q.c.existsW(ctx, q.entries())
		return v, err
	}
	if err != nil {
		return nil, err
	}
	taken, w, err := q.c.childrenW(ctx, q.takenBy())
	v.taken = w
	if err != nil && !errors.Is(err, ErrNoNode) {
		return nil, err
	}
	v.groups = free(names, taken)
	return v, nil
}

// free groups names, less those taken, by priority.
func free(names, taken []string) []group {
	gone := make(map[string]bool, len(taken))
	for _, name := range taken {
		gone[name] = true
	}
	at := make(map[string]int)
	var groups []group
	for _, name := range names {
		if gone[name] {
			continue
		}
		prefix := name[:strings.LastIndexByte(name, '-')+1]
		i, ok := at[prefix]
		if !ok {
			i = len(groups)
			at[prefix] = i
			groups = append(groups, group{prefix: prefix})
		}
		groups[i].names = append(groups[i].names, name)
	}
	sort.Slice(groups, func(i, j int) bool { return groups[i].prefix < groups[j].prefix })
	return groups
}

// pick removes a random name of the lowest priority, so that many consumers seldom try for the same one.
func (v *view) pick() string {
	for len(v.groups) > 0 {
		g := &v.groups[0]
		if n := len(g.names); n > 0 {
			i := rand.IntN(n)
			name := g.names[i]
			g.names[i] = g.names[n-1]
			g.names = g.names[:n-1]
			return name
		}
		v.groups = v.groups[1:]
	}
	return ""
}

// changed is when a watch of the view fired; now, if none did.
func (v *view) changed() time.Time {
	at := time.Now()
	for _, w := range []*watch{v.entries, v.taken} {
		if w == nil {
			continue
		}
		select {
		case <-w.fired:
			if w.at.Before(at) {
				at = w.at
			}
		default:
		}
	}
	return at
}

// claim tries for one entry; nil means that another has it or that it is consumed.
func (q *Queue) claim(ctx context.Context, name string) (*Entry, error) {
	e := &Entry{Name: name, q: q}
	ours := false
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if ours {
			q.held[name], q.misses = e, 0
			return
		}
		delete(q.held, name)
	}()
	_, err := q.c.create(ctx, e.takenPath(), []byte(q.id), Ephemeral, q.c.acl)
	switch {
	case errors.Is(err, ErrNodeExists):
		q.miss()
		return nil, nil
	case errors.Is(err, ErrNoNode):
		if _, found, err := q.c.exists(ctx, q.entries()); err != nil || !found {
			q.miss()
			return nil, err
		}
		q.mu.Lock()
		q.view = nil // the name is not lost
		q.mu.Unlock()
		return nil, q.ensure(ctx)
	case err != nil:
		return nil, err
	}
	e.Value, _, err = q.c.get(ctx, e.path())
	if err != nil {
		q.c.discard(e.takenPath())
		if errors.Is(err, ErrNoNode) {
			q.miss()
			return nil, nil
		}
		return nil, err
	}
	ours = true
	return e, nil
}

func (q *Queue) miss() {
	q.mu.Lock()
	q.misses++
	q.mu.Unlock()
}

func (q *Queue) forget(name string) {
	q.mu.Lock()
	delete(q.held, name)
	q.mu.Unlock()
}

// Drain hands the value of every entry, taken or not, in order of priority and number, to fn (in this goroutine) and deletes the
// entry afterwards; it returns how many were handed over. Entries that appear meanwhile are left. It never touches the
// taken nodes. When fn fails, what it was given before is deleted, and what it failed on is not.
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
			if errors.Is(err, ErrNoNode) {
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
