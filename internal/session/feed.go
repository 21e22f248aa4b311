// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/zkclient"
)

// A transaction that queues entries is bounded by count and by bytes: the
// server drops a connection that sends it more than 1,048,575 bytes at once.
const (
	feedEntries  = 500
	feedBytes    = 256 << 10
	feedOverhead = 150 // bytes of an operation beside its value: path, ACL, headers
)

// gather is how long a transaction waits for more entries: a job that finds few takes few, and has one run more.
const gather = 100 * time.Millisecond

// feed queues what its source emits, while that goes on, and so that no more
// than a window of entries wait or are in work. The source goes on over a lost
// ZooKeeper session.
type feed struct {
	life    context.Context // of the process
	client  *client
	ledger  *ledger
	pass    int         // walks before this one
	source  entrySource // the entries, encoded
	cancel  context.CancelFunc
	values  chan []byte
	walkErr error // valid once values is closed

	finished string // logged when all is queued

	pending [][]byte  // taken from values, not yet known to be queued
	settled time.Time // when they may be worked on
	last    text      // of them, in the order of the walk
	after   int       // number of entries queued once pending is; 0: not yet tried
	count   int       // entries queued by this feed
	done    bool
}

// entrySource emits encoded entries until ctx ends.
type entrySource func(ctx context.Context, emit func([]byte) error) error

func newFeed(life context.Context, c *client, l *ledger, pass int, source entrySource) *feed {
	return &feed{life: life, client: c, ledger: l, pass: pass, source: source}
}

// start begins the walk, which close ends.
func (f *feed) start() {
	ctx, cancel := context.WithCancel(f.life) // outlives a ZooKeeper session; ended by close
	f.cancel = cancel
	f.values = make(chan []byte, feedEntries)
	go func() {
		defer close(f.values)
		f.walkErr = f.source(ctx, func(value []byte) error {
			select {
			case f.values <- value:
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
	for range f.values {
	}
}

// next takes what the walk finds within a moment, at least one entry; false at the
// end.
func (f *feed) next(ctx context.Context) (bool, error) {
	size := 0
	add := func(value []byte) {
		f.pending, f.last = append(f.pending, value), text(value)
		size += len(value) + feedOverhead
	}
	select {
	case value, more := <-f.values:
		if !more {
			return false, nil
		}
		add(value)
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	gathered := time.After(gather)
	for more := true; more && len(f.pending) < min(feedEntries, f.client.cfg.Window) && size < feedBytes; {
		var value []byte
		select {
		case value, more = <-f.values:
			if more {
				add(value)
			}
		case <-gathered:
			more = false
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	f.settled = time.Now().Add(pathbuilder.Settle)
	return true, nil
}

// room waits until the window has room for what is pending.
func (f *feed) room(ctx context.Context, m *member) error {
	for {
		left, err := remaining(ctx, m)
		if err != nil || left.total() == 0 || left.total()+len(f.pending) <= f.client.cfg.Window {
			return err
		}
		if !sleep(ctx, f.client.cfg.Timing.Poll/3) {
			return context.Cause(ctx)
		}
	}
}

// walksAgain tells whether a run looks, at its end, for what has changed.
func (c *client) walksAgain() bool { return !c.cfg.Netcat && c.cfg.PathsFrom == "" }

// entries emits all encoded entries of the source.
func (c *client) entries(ctx context.Context, emit func([]byte) error) error {
	if c.cfg.PathsFrom != "" {
		file, err := readEntries(c.cfg.PathsFrom, c.base)
		if err != nil {
			return err
		}
		return emitAll(file.entries)(ctx, emit)
	}
	if c.cfg.Netcat {
		for i := range c.cfg.paths {
			if err := emit([]byte(strconv.Itoa(i))); err != nil {
				return err
			}
		}
		return nil
	}
	if err := pathbuilder.Walk(ctx, c.walkOptions(), func(e pathbuilder.Entry) error { return emit(e.Encode()) }); err != nil {
		return err
	}
	return c.checkNotEmpty() // what was there at the start may have been unmounted meanwhile
}

// autoEntries is how many entries AutoDepth is for: enough to begin with for
// some tens of jobs. What turns out to be large is cut later.
const autoEntries = 100

// chooseDepth finds the depth if it is to be found.
func (c *client) chooseDepth(ctx context.Context) error {
	if c.cfg.Depth != AutoDepth || !c.walksAgain() {
		return nil
	}
	depth, err := pathbuilder.AutoDepth(ctx, c.walkOptions(), autoEntries)
	if err != nil {
		return err
	}
	c.cfg.Depth = depth
	c.log.Info(fmt.Sprintf("Depth %d is chosen for this tree", depth))
	return nil
}

func (c *client) walkOptions() pathbuilder.Options {
	return pathbuilder.Options{
		Base: c.base, Depth: c.cfg.Depth, Subpaths: c.cfg.Subpaths, Walkers: c.cfg.Walkers,
		Exclude: c.cfg.Exclude, ExcludeUser: c.cfg.ExcludeUser,
		Logger: c.cfg.Logger.With("logger", "zkrsync"),
	}
}

// run queues what is not queued yet, returning when the walk is over. Slaves
// work while it goes on.
func (f *feed) run(ctx context.Context, m *member) error {
	if f.done {
		return nil
	}
	if f.values == nil {
		f.start()
	}
	for {
		if f.pending == nil {
			more, err := f.next(ctx)
			if err != nil {
				return err
			}
			if !more {
				return f.finish()
			}
		}
		if err := f.put(ctx, m); err != nil {
			return err
		}
	}
}

// put queues what is pending exactly once: the ledger tells whether a
// transaction of an earlier ZooKeeper session was applied.
func (f *feed) put(ctx context.Context, m *member) error {
	if f.after == 0 {
		f.after = f.ledger.now().Queued + len(f.pending)
	}
	if f.ledger.now().Queued < f.after {
		if !sleep(ctx, time.Until(f.settled)) { // else their stamps would tell too little
			return context.Cause(ctx)
		}
		if err := f.room(ctx, m); err != nil {
			return err
		}
		// What may go into one run of rsync lies together in the queue.
		slices.SortStableFunc(f.pending, func(a, b []byte) int { return cmp.Compare(kindOf(a), kindOf(b)) })
		err := f.ledger.update(ctx, m, func(mt *meta) { mt.Queued, mt.Pass, mt.Cursor = f.after, f.pass, f.last }, m.putOps(f.pending)...)
		if err != nil {
			return fmt.Errorf("cannot queue paths: %w", err)
		}
	}
	f.count += len(f.pending)
	f.pending, f.after = nil, 0
	return nil
}

// putOps puts each value into the queue that it belongs to.
func (m *member) putOps(values [][]byte) []zkclient.Op {
	ops := make([]zkclient.Op, len(values))
	paths, ext := m.Queue(m.tree.pathQueue()), m.Queue(m.tree.extQueue())
	for i, value := range values {
		queue := paths
		if m.onlyForGo(value) {
			queue = ext
		}
		ops[i] = queue.PutOp(value, zkclient.DefaultPriority)
	}
	return ops
}

// finish is the end of the walk, if it came to its end.
func (f *feed) finish() error {
	if f.walkErr != nil {
		return fmt.Errorf("cannot build the path queue: %w", f.walkErr)
	}
	f.done = true
	if f.finished != "" {
		f.client.log.Info(f.finished)
	}
	return nil
}

// onlyForGo tells whether a Python slave would misread the entry: it writes
// line-separated lists without a leading "./", where a line break splits a name
// and a line that begins with # or ; is a comment.
func (c *client) onlyForGo(value []byte) bool {
	if c.cfg.Netcat {
		return false
	}
	entry, err := pathbuilder.Decode(value)
	if err != nil {
		return true // one of those that only Go clients know
	}
	rel, err := entry.Rel(c.base)
	if err != nil {
		return false
	}
	return strings.ContainsAny(rel, "\n\r") || strings.HasPrefix(rel, "#") || strings.HasPrefix(rel, ";")
}
