// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"container/list"
	"context"
	"sync"
)

const (
	defaultWalkers = 8
	defaultLimit   = 1 << 16 // children
)

// readAhead reads directories before the walk comes to them.
//
// It only decides what is read when, never the order of the entries: the walk
// asks for one directory after the other by load, which waits for the reader
// that has it already, or else reads it itself. So the walk never waits for
// something nobody does, whatever the limit.
type readAhead struct {
	read  func(context.Context, *dir)
	limit int // stop when this many children are read and not yet emitted

	mu      sync.Mutex
	wake    sync.Cond // there may be something to read, or it is over
	todo    list.List // of *dir, in the order of the walk: not read yet, or being read
	held    int       // children read and not yet released
	stopped bool
}

func newReadAhead(read func(context.Context, *dir)) *readAhead {
	r := &readAhead{read: read, limit: defaultLimit}
	r.wake.L = &r.mu
	return r
}

// start begins with n readers, the one who calls load included. The function
// it gives ends them and waits for them; ctx has to end before.
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

// add makes the first directory known.
func (r *readAhead) add(d *dir) {
	r.mu.Lock()
	d.place = r.todo.PushBack(d)
	r.mu.Unlock()
}

// load returns when d is read.
func (r *readAhead) load(ctx context.Context, d *dir) error {
	r.mu.Lock()
	mine := !d.taken
	d.taken = true
	r.mu.Unlock()
	if mine {
		r.read(ctx, d)
		r.finish(d)
	}
	select {
	case <-d.done:
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // d.err may be but its echo
		return context.Cause(ctx)
	}
	return nil
}

// next waits for the directory that the walk will need first, nil at the end.
func (r *readAhead) next() *dir {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.stopped {
		if r.held < r.limit {
			// At most one directory per reader is passed over.
			for e := r.todo.Front(); e != nil; e = e.Next() {
				if d := e.Value.(*dir); !d.taken {
					d.taken = true
					return d
				}
			}
		}
		r.wake.Wait()
	}
	return nil
}

// finish puts the subdirectories of a directory in its place.
func (r *readAhead) finish(d *dir) {
	r.mu.Lock()
	for _, c := range d.children {
		if c.dir != nil {
			c.dir.place = r.todo.InsertBefore(c.dir, d.place)
		}
	}
	r.todo.Remove(d.place)
	r.held += len(d.children)
	r.mu.Unlock()
	close(d.done)
	r.wake.Broadcast()
}

// release is called for each child the walk has come to.
func (r *readAhead) release() {
	r.mu.Lock()
	r.held--
	below := r.held == r.limit-1
	r.mu.Unlock()
	if below {
		r.wake.Broadcast()
	}
}
