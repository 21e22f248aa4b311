// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"fmt"
	"strconv"
	"strings"

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

// netcatPaths are queued instead of a tree in the netcat test run.
const netcatPaths = 15

// feed queues what its source emits. The source goes on over a lost ZooKeeper
// session.
type feed struct {
	life    context.Context // of the process
	client  *client
	ledger  *ledger
	source  entrySource // the entries, encoded
	cancel  context.CancelFunc
	batches chan [][]byte
	walkErr error // valid once batches is closed

	finished string // logged when all is queued

	pending [][]byte // taken from batches, not yet known to be queued
	after   int      // number of entries queued once pending is; 0: not yet tried
	count   int      // entries queued by this feed
	done    bool
}

// entrySource emits encoded entries until ctx ends.
type entrySource func(ctx context.Context, emit func([]byte) error) error

func newFeed(life context.Context, c *client, l *ledger, source entrySource) *feed {
	return &feed{life: life, client: c, ledger: l, source: source}
}

// start begins the walk, which close ends.
func (f *feed) start() {
	ctx, cancel := context.WithCancel(f.life) // outlives a ZooKeeper session; ended by close
	f.cancel = cancel
	f.batches = make(chan [][]byte, 4)
	go func() {
		defer close(f.batches)
		f.walkErr = f.walk(ctx)
	}()
}

func (f *feed) close() {
	if f.cancel == nil {
		return
	}
	f.cancel()
	for range f.batches {
	}
}

// walk sends the entries in batches.
func (f *feed) walk(ctx context.Context) error {
	var batch [][]byte
	size := 0
	flush := func() error {
		select {
		case f.batches <- batch:
			batch, size = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := f.source(ctx, func(value []byte) error {
		batch = append(batch, value)
		size += len(value) + feedOverhead
		if len(batch) < feedEntries && size < feedBytes {
			return nil
		}
		return flush()
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	return err
}

// stamps remembers the directories that the walks of a run have queued, in the
// state they had then.
type stamps map[uint64]struct{}

// walk emits what has changed since the last walk with these stamps; everything
// in the first one.
func (s stamps) walk(ctx context.Context, c *client, emit func([]byte) error) error {
	err := pathbuilder.WalkStamped(ctx, c.walkOptions(), func(found pathbuilder.Found) error {
		if _, seen := s[found.Stamp]; seen {
			return nil
		}
		if !found.Young { // else the next walk could not tell a change from none
			s[found.Stamp] = struct{}{}
		}
		return emit(found.Encode())
	})
	if err != nil {
		return err
	}
	return c.checkNotEmpty() // what was there at the start may have been unmounted meanwhile
}

// walksAgain tells whether a run looks, at its end, for what has changed.
func (c *client) walksAgain() bool { return !c.cfg.Netcat && c.cfg.PathsFrom == "" }

// entries emits all encoded entries of the source.
func (c *client) entries(ctx context.Context, emit func([]byte) error) error {
	if c.cfg.PathsFrom != "" {
		entries, _, err := readEntries(c.cfg.PathsFrom, c.base)
		for _, entry := range entries {
			if err == nil {
				err = emit(entry)
			}
		}
		return err
	}
	if c.cfg.Netcat {
		for i := range netcatPaths {
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

func (c *client) walkOptions() pathbuilder.Options {
	return pathbuilder.Options{
		Base: c.base, Depth: c.cfg.Depth, Subpaths: c.cfg.Subpaths,
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
	if f.batches == nil {
		f.start()
	}
	for {
		if f.pending == nil {
			select {
			case batch, more := <-f.batches:
				if !more {
					return f.finish()
				}
				f.pending = batch
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := f.put(ctx, m); err != nil {
			return err
		}
	}
}

// put queues the pending batch exactly once: the ledger tells whether a
// transaction of an earlier ZooKeeper session was applied.
func (f *feed) put(ctx context.Context, m *member) error {
	if f.after == 0 {
		f.after = f.ledger.now().Queued + len(f.pending)
	}
	if f.ledger.now().Queued < f.after {
		var ops []zkclient.Op
		paths, ext := m.Queue(m.tree.pathQueue()), m.Queue(m.tree.extQueue())
		for _, value := range f.pending {
			queue := paths
			if m.onlyForGo(value) {
				queue = ext
			}
			ops = append(ops, queue.PutOp(value, zkclient.DefaultPriority))
		}
		if err := f.ledger.update(ctx, m, func(mt *meta) { mt.Queued = f.after }, ops...); err != nil {
			return fmt.Errorf("cannot queue paths: %w", err)
		}
	}
	f.count += len(f.pending)
	f.pending, f.after = nil, 0
	return nil
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
		return true // the pass for hard links
	}
	rel, err := entry.Rel(c.base)
	if err != nil {
		return false
	}
	return strings.ContainsAny(rel, "\n\r") || strings.HasPrefix(rel, "#") || strings.HasPrefix(rel, ";")
}
