// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
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

// netcatPaths are queued instead of a tree in the netcat test run.
const netcatPaths = 15

// feed walks the tree and queues what it finds. The walk goes on over a lost
// ZooKeeper session; S/meta tells whether the last transaction was applied.
type feed struct {
	client  *client
	cancel  context.CancelFunc
	batches chan [][]byte
	walkErr error // valid once batches is closed

	pending [][]byte // taken from batches, not yet known to be queued
	total   atomic.Int64
	done    bool
}

func newFeed(c *client) *feed { return &feed{client: c} }

// queued is the number of entries queued so far.
func (f *feed) queued() int { return int(f.total.Load()) }

// start begins the walk, which close ends.
func (f *feed) start() {
	ctx, cancel := context.WithCancel(context.Background()) // outlives a ZooKeeper session; ended by close
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

// walk sends the entries of the tree in batches.
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
	err := f.client.entries(ctx, func(value []byte) error {
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

// entries emits all encoded entries of the source.
func (c *client) entries(ctx context.Context, emit func([]byte) error) error {
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
	state, version, ok, err := m.readMeta(ctx, m.epoch.Load())
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("cannot go on: the state of session %q in ZooKeeper is gone or is another run's", m.tree.name())
	}
	begin := time.Now()
	for {
		if f.pending == nil {
			select {
			case batch, more := <-f.batches:
				if !more {
					return f.finish(ctx, m, state, version, time.Since(begin))
				}
				f.pending = batch
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if state, version, err = f.put(ctx, m, state, version); err != nil {
			return err
		}
	}
}

// put queues the pending batch exactly once: the transaction moves S/meta, so
// after a lost reply, also one of an earlier session, meta tells whether it was
// applied.
func (f *feed) put(ctx context.Context, m *member, state meta, version int32) (meta, int32, error) {
	before := int(f.total.Load())
	after := before + len(f.pending)
	for state.Queued == before {
		next := state
		next.Queued = after
		ops := []zkclient.Op{zkclient.OpSet(m.tree.meta(), next.encode(), version)}
		paths, ext := m.Queue(m.tree.pathQueue()), m.Queue(m.tree.extQueue())
		for _, value := range f.pending {
			queue := paths
			if m.onlyForGo(value) {
				queue = ext
			}
			ops = append(ops, queue.PutOp(value, zkclient.DefaultPriority))
		}
		err := m.Multi(ctx, ops...)
		if err == nil {
			state, version = next, version+1
			break
		}
		if !errors.Is(err, zkclient.ErrConnectionLoss) && !errors.Is(err, zkclient.ErrBadVersion) {
			return state, version, fmt.Errorf("cannot queue paths: %w", err)
		}
		var ok bool
		if state, version, ok, err = m.readMeta(ctx, m.epoch.Load()); err != nil {
			return state, version, err
		} else if !ok {
			return state, version, fmt.Errorf("cannot go on: the state of session %q in ZooKeeper is gone or is another run's", m.tree.name())
		}
	}
	if state.Queued != after {
		return state, version, fmt.Errorf("cannot go on: %d paths are queued in session %q where this master has queued %d: is there another master?", state.Queued, m.tree.name(), before)
	}
	f.total.Store(int64(after))
	f.pending = nil
	return state, version, nil
}

// finish records that the walk is over, if it came to its end.
func (f *feed) finish(ctx context.Context, m *member, state meta, version int32, took time.Duration) error {
	if f.walkErr != nil {
		return fmt.Errorf("cannot build the path queue: %w", f.walkErr)
	}
	state.Walked = true
	if _, err := m.Set(ctx, m.tree.meta(), state.encode(), version); err != nil && !errors.Is(err, zkclient.ErrBadVersion) {
		return fmt.Errorf("cannot record that the walk is over: %w", err)
	}
	f.done = true
	f.client.log.Info("pathqueue building finished")
	f.client.log.Debug(fmt.Sprintf("%d paths queued in %.3f s", f.queued(), took.Seconds()))
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
		return false
	}
	rel, err := entry.Rel(c.base)
	if err != nil {
		return false
	}
	return strings.ContainsAny(rel, "\n\r") || strings.HasPrefix(rel, "#") || strings.HasPrefix(rel, ";")
}
