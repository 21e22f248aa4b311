// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"container/list"
	"context"
	"sync"
)

const (
	defaultWalkers = 8
	defaultLimit   = 1 << 16 // directories and children
)

// readAhead reads directories before the walk comes to them.
//
// It decides what is read when, never the order of the entries. The walk asks for one directory
// after the other by load, which waits for the reader that has the directory already, or else reads
// it itself. So the walk never waits for a directory that nobody reads, whatever the limit.
type readAhead struct {
	read  func(context.Context, *dir)
	limit int // stop when so many directories and their children are read ahead of the walk

	mu      sync.Mutex
	wake    sync.Cond // there may be something to read, or it is over
	todo    list.List // of *dir, in the order of the walk: being read, or with children to read
	held    int       // what is read ahead of the walk
	stopped bool
}

func newReadAhead(read func(context.Context, *dir)) *readAhead {
	r := &readAhead{read: read, limit: defaultLimit}
	r.wake.L = &r.mu
	return r
}

// start starts n readers, one of which is the caller of load. The function that it returns ends the
// others and waits for them; ctx must have ended before.
func (r *readAhead) start(ctx context.Context, n int) (stop func()) {
	var readers sync.WaitGroup
	for range n - 1 {
		readers.Go(func() {
			for d := r.next(); d != nil; d = r.next() {
				r.read(ctx, d)
				r.finish(d)
			}
		})
	}
	return func() {
		r.mu.Lock()
		r.stopped = true
		r.mu.Unlock()
		r.wake.Broadcast()
		readers.Wait()
	}
}

// first reads the directory that the walk begins with.
func (r *readAhead) first(ctx context.Context, d *dir) error {
	r.mu.Lock()
	d.place = r.todo.PushBack(d)
	r.mu.Unlock()
	return r.load(ctx, d, true)
}

// pass returns a child that the walk has come to, and its directory forgets it. If mine is true
// nobody reads the child yet, and the caller has to.
func (r *readAhead) pass(d *dir, i int) (c child, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i == d.unread {
		r.claim(d)
		mine = true
	}
	c = d.children[i]
	d.children[i] = child{}
	return c, mine
}

// load returns when d has been read; with mine, by this goroutine.
func (r *readAhead) load(ctx context.Context, d *dir, mine bool) error {
	if mine {
		r.read(ctx, d)
		r.finish(d)
	}
	select {
	case <-d.done:
		r.release(d)
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // d.err may be no more than its echo
		return context.Cause(ctx)
	}
	return nil
}

// next waits for a directory that is to be read and returns the one that the walk will need first;
// nil at the end.
func (r *readAhead) next() *dir {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.stopped {
		if r.held < r.limit {
			// At most one directory per reader is passed over.
			for e := r.todo.Front(); e != nil; e = e.Next() {
				if d := e.Value.(*dir); d.unread >= 0 {
					return r.claim(d)
				}
			}
		}
		r.wake.Wait()
	}
	return nil
}

// claim takes the first unread child of a directory for a reader. It stands before the directory in
// todo.
func (r *readAhead) claim(d *dir) *dir {
	c := &d.children[d.unread]
	c.dir = newDir(join(d.path, c.name), d.level+1, int(c.depth))
	c.dir.place = r.todo.InsertBefore(c.dir, d.place)
	r.advance(d)
	return c.dir
}

// advance moves on to the next child of a directory that is to be read.
func (r *readAhead) advance(d *dir) {
	for d.unread++; d.unread < len(d.children); d.unread++ {
		if d.children[d.unread].kind == shallow {
			return
		}
	}
	r.todo.Remove(d.place)
	d.place = nil
}

// finish tells the readers of the children of a directory that was read.
func (r *readAhead) finish(d *dir) {
	r.mu.Lock()
	r.advance(d)
	r.held += 1 + len(d.children)
	more := d.place != nil
	r.mu.Unlock()
	close(d.done)
	if more {
		r.wake.Broadcast()
	}
}

// release takes a directory that the walk has come to out of the count: what the walk needs now is
// not ahead of it, however much it is.
func (r *readAhead) release(d *dir) {
	r.mu.Lock()
	was := r.held
	r.held -= 1 + len(d.children)
	free := was >= r.limit && r.held < r.limit
	r.mu.Unlock()
	if free {
		r.wake.Broadcast()
	}
}
