// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// staleAfter is how many names in a row must turn out to be taken until the local copy is
	// not worth going on with.
	staleAfter = 16
	// maxTaken is how many bytes the values that are taken at once may have. They must fit into
	// one transaction together with what becomes of them.
	maxTaken = 256 << 10
	// MaxEntry is how many bytes a value may have: it must fit into one transaction together with
	// what becomes of it. What is larger is not taken.
	MaxEntry = 768 << 10
)

// Take waits until it has an entry. What an abandoned Take still gets is released.
//
// Lost reply: settled.
func (q *Queue) Take(ctx context.Context) (*Entry, error) {
	entry, err := await(ctx, q.c, func() (*Entry, error) {
		since := time.Now()
		for {
			freed := q.releases()
			entries, v, err := q.take(ctx, since, 1, nil)
			if err != nil {
				return nil, err
			}
			if len(entries) > 0 {
				return entries[0], nil
			}
			if err := q.c.wait(ctx, v.turn, freed, v.entries, v.taken); err != nil {
				return nil, err
			}
			since = v.changed()
		}
	}, func(e *Entry) { q.abandon([]*Entry{e}) })
	return entry, q.c.fail("take from the queue", q.path, err)
}

// TryTakeSome takes what is free now, up to n entries of equal priority, in one transaction; nil if
// nothing is free. They are neighbours as far as those are free. same says whether one may go
// with the first (nil: all may). The values have at most 256 KiB together, and n counts up to
// 500. When others are quicker with one of them, it takes a single one instead. What an abandoned
// TryTakeSome still gets is released.
//
// Lost reply: settled.
func (q *Queue) TryTakeSome(ctx context.Context, n int, same func(first, next *Entry) bool) ([]*Entry, error) {
	entries, err := await(ctx, q.c, func() ([]*Entry, error) {
		entries, _, err := q.take(ctx, time.Now(), n, same)
		return entries, err
	}, q.abandon)
	return entries, q.c.fail("take from the queue", q.path, err)
}

// Await returns when an entry is free, which others may take all the same. It asks the server,
// because what is in the local copy was tried already.
func (q *Queue) Await(ctx context.Context) error {
	_, err := await(ctx, q.c, func() (struct{}, error) {
		since := time.Now()
		q.stale()
		for {
			freed := q.releases()
			names, v, err := q.next(ctx, since, 1)
			if len(names) > 0 || err != nil {
				q.tried(names, nil)
				return struct{}{}, err
			}
			if err := q.c.wait(ctx, v.turn, freed, v.entries, v.taken); err != nil {
				return struct{}{}, err
			}
			since = v.changed()
		}
	}, nil)
	return q.c.fail("wait for the queue", q.path, err)
}

// releases is closed when this object lets go of a name, even of one that it has only tried.
func (q *Queue) releases() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.freed
}

// abandon gives back what nobody waits for any more.
func (q *Queue) abandon(entries []*Entry) {
	if len(entries) == 0 {
		return
	}
	q.disown(entries)
	q.discard(entries)
	q.forget(names(entries))
}

// discard deletes those taken nodes that are ours. The end of the session would do the same.
func (q *Queue) discard(entries []*Entry) {
	if err := q.untake(entries); err != nil && !errors.Is(err, ErrNotHeld) && !q.c.over() {
		q.c.log.Debug(fmt.Sprintf("Cannot release entries of the queue %s: %v", q.c.full(q.path), err), "znode", q.c.full(q.path), "error", err)
	}
}

// take returns entries or, when there are none, the view that says so, read at or after since.
func (q *Queue) take(ctx context.Context, since time.Time, n int, same func(first, next *Entry) bool) ([]*Entry, *view, error) {
	n = min(max(n, 1), maxOps/2) // two operations each
	for {
		names, v, err := q.next(ctx, since, n)
		if err != nil || len(names) == 0 {
			return nil, v, err
		}
		entries, refused, err := q.claim(ctx, v, names, same)
		if len(entries) > 0 || err != nil {
			return entries, v, err
		}
		if refused {
			n = 1
		}
	}
}

// next picks names that may be free, and keeps them from the other goroutines. It reads the queue
// again only when the local copy has none and is older than since, or is as old as the poll
// interval, or is proven stale.
func (q *Queue) next(ctx context.Context, since time.Time, n int) ([]string, *view, error) {
	select {
	case q.reading <- struct{}{}:
		defer func() { <-q.reading }()
	case <-ctx.Done():
		return nil, nil, q.c.check(ctx)
	case <-q.c.ctx.Done():
		return nil, nil, q.c.check(ctx)
	}
	for {
		v := q.current()
		if v != nil {
			if n > 1 {
				if err := q.refresh(ctx, v); err != nil {
					return nil, nil, err
				}
			}
			if names := q.pick(v, n); len(names) > 0 || !v.read.Before(since) {
				return names, v, nil
			}
		}
		v, err := q.look(ctx)
		if err != nil {
			return nil, nil, err
		}
		q.mu.Lock()
		q.view, q.misses = v, 0
		q.mu.Unlock()
	}
}

// current is the local copy, if it is still worth anything.
func (q *Queue) current() *view {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.misses >= staleAfter || q.view != nil && time.Since(q.view.read) > q.c.poll {
		q.view, q.misses = nil, 0
	}
	return q.view
}

// pick returns up to n names, and keeps them from the other goroutines.
func (q *Queue) pick(v *view, n int) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	names := v.pick(n, func(name string) bool { _, ours := q.held[name]; return ours || q.shunned[name] })
	for _, name := range names {
		q.held[name] = nil
	}
	return names
}

// look reads what is free.
func (q *Queue) look(ctx context.Context) (*view, error) {
	v := &view{read: time.Now(), turn: q.c.reconnected()}
	var err error
	if v.whole, err = q.watchWhole(ctx); err != nil {
		return nil, err
	}
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
	v.taken, v.seen = w, w
	if err != nil && !errors.Is(err, ErrNoNode) {
		return nil, err
	}
	v.buckets = free(names, taken)
	return v, nil
}

// watchWhole returns a watch that fires when the queue is deleted. It is on a node whose data
// nobody ever writes.
func (q *Queue) watchWhole(ctx context.Context) (*watch, error) {
	if w := q.c.armed(watchKey{watchData, q.takenBy()}); w != nil {
		return w, nil
	}
	_, _, w, err := q.c.getW(ctx, q.takenBy())
	if errors.Is(err, ErrNoNode) {
		_, _, w, err = q.c.existsW(ctx, q.takenBy())
	}
	return w, err
}

// refresh takes out of v what others have taken since, because a batch must be free as a whole. The
// watch that a waiting Take looks at stays the same.
func (q *Queue) refresh(ctx context.Context, v *view) error {
	if v.seen == nil || !v.seen.has() {
		return nil
	}
	taken, w, err := q.c.childrenW(ctx, q.takenBy())
	if err != nil && !errors.Is(err, ErrNoNode) {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	v.seen = w
	for _, name := range taken {
		v.remove(name)
	}
	return nil
}

// claim tries for the entries with these names, whose values it reads first. refused means that
// others are quicker.
func (q *Queue) claim(ctx context.Context, v *view, names []string, same func(first, next *Entry) bool) (entries []*Entry, refused bool, err error) {
	defer func() { q.tried(names, entries) }()
	values, err := q.values(ctx, names)
	if err != nil {
		return nil, false, err
	}
	wanted := q.fitting(names, values, same)
	if len(wanted) == 0 {
		return nil, false, nil
	}
	ok, err := q.acquire(ctx, wanted)
	if err != nil || !ok {
		return nil, true, err
	}
	for _, e := range wanted {
		e.whole = v.whole
	}
	if v.whole.has() { // what was read may be of a queue that is gone; a new one uses its names
		q.discard(wanted)
		q.stale()
		return nil, false, nil
	}
	return wanted, false, nil
}

// values reads the values of entries. A nil one is of an entry that was consumed.
func (q *Queue) values(ctx context.Context, names []string) ([][]byte, error) {
	values := make([][]byte, len(names))
	return values, q.c.each(ctx, len(names), func(ctx context.Context, i int) error {
		data, st, err := q.c.get(ctx, join(q.entries(), names[i]))
		switch {
		case errors.Is(err, ErrNoNode):
			q.miss(names[i])
			return nil
		case errors.Is(err, ErrNoAuth):
			q.shun(names[i], "its ACL keeps this user from reading it")
			return nil
		case err == nil && st.EphemeralOwner != 0:
			q.shun(names[i], "it is ephemeral")
			return nil
		case err == nil && st.NumChildren > 0:
			q.shun(names[i], "it has child nodes")
			return nil
		case len(data) > MaxEntry:
			q.shun(names[i], "it is too large to be given back")
			return nil
		}
		values[i] = bytesOf(data)
		return err
	})
}

// shun leaves an entry alone that could not be removed, or is none. This object does not try for it
// again.
func (q *Queue) shun(name, why string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shunned[name] {
		return
	}
	if q.shunned == nil {
		q.shunned = make(map[string]bool)
	}
	q.shunned[name] = true
	if q.view != nil {
		q.view.remove(name)
	}
	q.c.log.Warn(fmt.Sprintf("Set aside %s, which is no entry as it should be: %s", q.c.full(join(q.entries(), name)), why),
		"event", "foreign", "znode", join(q.entries(), name))
}

// fitting makes entries of those that may be taken together.
func (q *Queue) fitting(names []string, values [][]byte, same func(first, next *Entry) bool) []*Entry {
	var out []*Entry
	size, request := 0, 0
	for i, name := range names {
		if values[i] == nil {
			continue
		}
		e := &Entry{Name: name, Value: values[i], q: q}
		if len(out) > 0 && same != nil && !same(out[0], e) {
			continue
		}
		size += len(e.Value)
		for _, op := range e.acquisition() {
			request += q.c.size(op)
		}
		if len(out) > 0 && (size > maxTaken || request > maxBytes) {
			break
		}
		out = append(out, e)
	}
	return out
}

// acquisition are the operations that take an entry.
func (e *Entry) acquisition() []Op {
	return []Op{OpCheck(e.path(), -1), OpCreate(e.takenPath(), []byte(e.q.id), Ephemeral)}
}

// acquire takes all of the entries or, when one of them is not to be had, none. When the reply is
// lost, one of the taken nodes tells of all. They are never left in doubt: even when ctx ends,
// acquire returns without an error if they were made.
func (q *Queue) acquire(ctx context.Context, entries []*Entry) (bool, error) {
	var ops []Op
	for _, e := range entries {
		ops = append(ops, e.acquisition()...)
	}
	err := q.c.settle(ctx, q.c.ctx, func() error {
		_, err := q.c.multi(ctx, ops)
		return err
	}, entries[0].mine)
	var refused *OpError
	if !errors.As(err, &refused) {
		return err == nil, err
	}
	switch check := refused.Index%2 == 0; {
	case errors.Is(err, ErrNodeExists), errors.Is(err, ErrNoNode) && check:
		q.miss(entries[refused.Index/2].Name)
		return false, nil
	case errors.Is(err, ErrNoNode):
		q.stale()
		return false, q.ensure(ctx)
	}
	return false, err
}

// miss notes that a name of the local copy is not free.
func (q *Queue) miss(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.misses++
	if q.view != nil {
		q.view.remove(name)
	}
}

// stale makes the next Take read the queue.
func (q *Queue) stale() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.view = nil
}

// tried ends the trying for names. Those of entries are ours now.
func (q *Queue) tried(names []string, entries []*Entry) {
	if len(entries) < len(names) {
		defer q.forget(names)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		q.held[e.Name] = e
		if q.view != nil {
			q.view.remove(e.Name)
		}
	}
	if len(entries) > 0 {
		q.misses = 0
	}
}

// disown returns those of entries that were held, and keeps their names from being tried for while
// they are given back.
func (q *Queue) disown(entries []*Entry) []*Entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var known []*Entry
	for _, e := range entries {
		if q.held[e.Name] == e {
			q.held[e.Name] = nil
			known = append(known, e)
		}
	}
	return known
}

// forget lets go of those names that are neither held nor tried for any more.
func (q *Queue) forget(names []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, name := range names {
		if q.held[name] == nil {
			delete(q.held, name)
		}
	}
	close(q.freed)
	q.freed = make(chan struct{})
}
