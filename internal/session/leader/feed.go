// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// A transaction that queues entries is bounded by count and by bytes: the server drops a connection
// that sends it more than 1,048,575 bytes at once.
const (
	feedEntries  = 500
	feedBytes    = 256 << 10
	feedOverhead = 150 // bytes of an operation beside its value: path, ACL, headers
)

// gather is how long a transaction waits for more entries: a job that finds only a few takes only a
// few, and then needs another run for the rest.
const gather = 100 * time.Millisecond

// feed queues what its source emits, while that goes on, and so that no more than a window of entries
// wait or are in work. The source goes on over a lost ZooKeeper session.
type feed struct {
	life    context.Context // of the process
	ledger  *ledger
	queues  queues
	window  int
	source  taskSource
	notes   func(wire.Task) []news // what is noted with a task; nil: nothing
	cancel  context.CancelFunc
	tasks   chan wire.Task
	walkErr error // valid once tasks is closed

	free  func(context.Context) error // returns when something may be queued; nil: at once
	skips *skips                      // what is not to be sent; nil: nothing

	finished func()      // called when all is queued; nil: nothing is
	gaps     func() bool // tells, when all is queued, that it is not all there was; nil: it is

	pending  []wire.Task // taken from tasks, not yet known to be queued
	ended    bool        // and nothing comes after them
	settled  time.Time   // when they may be worked on
	last     wire.Text   // of them, in the order of the walk
	after    int         // number of entries of the phase that are queued once pending is; 0: not yet tried
	expected bool        // the ledger knows them
	done     bool

	keep []wire.Task // of what is pending, once it is expected: what is queued
	over []wire.Task // and what ends as skipped
}

// start begins the walk, which close ends.
func (f *feed) start() {
	ctx, cancel := context.WithCancel(f.life) // outlives a ZooKeeper session; ended by close
	f.cancel = cancel
	f.tasks = make(chan wire.Task, feedEntries)
	go func() {
		defer close(f.tasks)
		f.walkErr = f.source(ctx, func(task wire.Task) error {
			select {
			case f.tasks <- task:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
}

func (f *feed) close() {
	if f.cancel == nil {
		return
	}
	f.cancel()
	for range f.tasks {
	}
}

// next takes what the walk finds within a moment, at least one task; false at the end.
func (f *feed) next(ctx context.Context) (bool, error) {
	size := 0
	add := func(task wire.Task) {
		f.pending, f.last = append(f.pending, task), task.Value
		size += len(task.Value) + feedOverhead
	}
	select {
	case task, more := <-f.tasks:
		if !more {
			return false, nil
		}
		add(task)
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	gathered := time.After(gather)
	for more := true; more && len(f.pending) < min(feedEntries, f.window) && size < feedBytes; {
		var task wire.Task
		select {
		case task, more = <-f.tasks:
			if more {
				add(task)
			}
			f.ended = !more
		case <-gathered:
			more = false
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	f.settled = time.Now().Add(pathbuilder.Settle)
	return true, nil
}

// room waits until something may be queued, and the window has room for what is pending.
func (f *feed) room(ctx context.Context, m *member.Member) error {
	for {
		if f.free != nil {
			if err := f.free(ctx); err != nil {
				return err
			}
		}
		left, err := m.Backlog(ctx)
		if err != nil || left.Total() == 0 || left.Total()+len(f.pending) <= f.window {
			return err
		}
		if err := zkclient.Sleep(ctx, m.Client.Timing.Poll/3); err != nil {
			return err
		}
	}
}

// run queues what is not queued yet, and returns when the walk is over. Workers work while it goes on.
func (f *feed) run(ctx context.Context, m *member.Member) error {
	if f.done {
		return nil
	}
	if f.tasks == nil {
		f.start()
	}
	for {
		if f.pending == nil {
			more, err := f.next(ctx)
			if err != nil {
				return err
			}
			if !more {
				return f.finish(ctx, m)
			}
		}
		if err := f.put(ctx, m); err != nil {
			return err
		}
	}
}

// put queues what is pending exactly once: the ledger tells whether a transaction of an earlier
// ZooKeeper session was applied.
func (f *feed) put(ctx context.Context, m *member.Member) error {
	if f.after == 0 {
		f.after = f.ledger.now().Stage.Found + len(f.pending)
	}
	if f.ledger.now().Stage.Found < f.after {
		if err := zkclient.Sleep(ctx, time.Until(f.settled)); err != nil { // else their stamps would tell too little
			return err
		}
		if err := f.room(ctx, m); err != nil {
			return err
		}
		// What may go into one run of rsync lies together in the queue.
		slices.SortStableFunc(f.pending, func(a, b wire.Task) int { return cmp.Compare(a.Kind, b.Kind) })
		if !f.expected {
			f.keep, f.over = f.skips.sort(f.pending)
			f.ledger.expect(f.keep)
			f.ledger.expect(f.over)
			f.expected = true
		}
		var news []news
		if f.notes != nil {
			for _, task := range f.keep {
				news = append(news, f.notes(task)...)
			}
		}
		err := f.ledger.note(ctx, m, func(meta *wire.Meta) {
			meta.Queued += len(f.keep) + len(f.over)
			meta.Stage.Found, meta.Stage.Cursor = f.after, f.last
			if f.ended && f.walkErr == nil {
				f.complete(meta)
			}
		}, news, append(f.queues.putOps(m, f.keep), skippedOps(m, f.over)...)...)
		if err != nil {
			return fmt.Errorf("cannot queue paths: %w", err)
		}
	}
	f.pending, f.after, f.expected, f.keep, f.over = nil, 0, false, nil, nil
	return nil
}

// queues says into which queue a task belongs, and where in it.
type queues struct {
	base   string
	all    bool // every source may take all tasks
	ledger *ledger
}

// putOps puts each task into the queue that it belongs to; what took long in an earlier run before the others.
func (q queues) putOps(m *member.Member, tasks []wire.Task) []zkclient.Op {
	ops := make([]zkclient.Op, len(tasks))
	paths, ext := m.ZK.Queue(m.Tree.PathQueue()), m.ZK.Queue(m.Tree.ExtQueue())
	for i, task := range tasks {
		queue := paths
		if !q.all && task.OnlyForGo(q.base) {
			queue = ext
		}
		ops[i] = queue.PutOp([]byte(task.Value), wire.Priority(q.ledger.history.known(task.Value)))
	}
	return ops
}

// complete says that all of the phase is queued.
func (f *feed) complete(meta *wire.Meta) {
	meta.Stage.Fed, meta.Stage.Gaps = true, f.gaps != nil && f.gaps()
}

// finish is the end of the walk, if it came to its end.
func (f *feed) finish(ctx context.Context, m *member.Member) error {
	if f.walkErr != nil {
		return fmt.Errorf("cannot build the path queue: %w", f.walkErr)
	}
	if now := f.ledger.now().Stage; !now.Fed && (now.Found > 0 || f.gaps != nil && f.gaps()) {
		if err := f.ledger.update(ctx, m, f.complete); err != nil {
			return fmt.Errorf("cannot note the end of the walk: %w", err)
		}
	}
	f.done = true
	if f.finished != nil {
		f.finished()
	}
	return nil
}
