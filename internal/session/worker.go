// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/zkclient"
)

// worker is one of the jobs of a slave: it holds at most one destination, and
// runs one rsync at a time.
type worker struct {
	*crew
	dests *dests
}

func newWorker(c *crew) *worker { return &worker{crew: c, dests: newDests(c)} }

// work goes on until the run is over.
func (w *worker) work(ctx context.Context) error {
	for {
		err := w.next(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case w.waiting.Err() != nil:
			if err != nil && !errors.Is(err, context.Canceled) {
				w.log.Warn(err.Error())
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// next waits for the base path, a destination and paths, and works on those.
func (w *worker) next(ctx context.Context) error {
	if !w.waitBase() {
		return nil
	}
	if _, err := w.dests.get(w.waiting); err != nil {
		return err
	}
	b, err := w.take(w.waiting)
	if err != nil {
		return err
	}
	return w.handle(ctx, b)
}

// waitBase waits until the base path is as it should be; false if the run ended
// first.
func (w *worker) waitBase() bool {
	for {
		problem := w.baseProblem()
		if problem == nil {
			return true
		}
		w.dests.release() // others can use it meanwhile
		w.log.Warn(problem.Error() + ", waiting")
		for wait := w.cfg.Timing.NoPath; wait > 0 && w.baseProblem() != nil; wait -= w.cfg.Timing.PathCheck {
			if !sleep(w.waiting, w.cfg.Timing.PathCheck) {
				return false
			}
		}
	}
}

// batch is what a worker has taken: entries of one queue and one kind.
type batch struct {
	entries []*zkclient.Entry
	queue   *zkclient.Queue
}

// values are the entries as they stand in the queue.
func (b batch) values() []text {
	values := make([]text, len(b.entries))
	for i, e := range b.entries {
		values[i] = text(e.Value)
	}
	return values
}

// name is the batch in a log line.
func (b batch) name() string {
	first := printable(string(b.entries[0].Value))
	if len(b.entries) == 1 {
		return "path " + first
	}
	return fmt.Sprintf("path %s and %d more", first, len(b.entries)-1)
}

// kind tells what a batch is; in the netcat test run all paths are alike.
func (c *client) kind(value []byte) int {
	if c.cfg.Netcat {
		return shallow
	}
	return kindOf(value)
}

// take waits for paths in one of the two queues until ctx ends.
func (w *worker) take(ctx context.Context) (batch, error) {
	for {
		queues := []*zkclient.Queue{w.paths}
		if w.extended() {
			queues = append(queues, w.ext)
		}
		for _, queue := range queues {
			n, same, err := w.fairly(ctx, queue)
			if err != nil {
				return batch{}, err
			}
			if entries, err := queue.TryTakeSome(ctx, n, same); len(entries) > 0 || err != nil {
				return batch{entries, queue}, err
			}
		}
		if err := w.await(ctx); err != nil {
			return batch{}, err
		}
	}
}

// fairly says how many entries to take from a queue at once, and which of them
// may go together.
func (w *worker) fairly(ctx context.Context, queue *zkclient.Queue) (n int, same func(first, value []byte) bool, err error) {
	if w.cfg.Batch == 1 {
		return 1, nil, nil
	}
	waiting, jobs, err := w.load(ctx, queue)
	if err != nil {
		return 0, nil, err
	}
	var sizes [single + 1]int
	for kind := range sizes {
		sizes[kind] = w.pace.size(kind, waiting, jobs)
		n = max(n, sizes[kind])
	}
	var with []byte
	taken, size := 0, 0
	return n, func(first, value []byte) bool {
		if !bytes.Equal(first, with) { // a new try
			with, taken, size = first, 1, len(first)
		}
		kind := w.kind(first)
		if kind != w.kind(value) || taken >= sizes[kind] || size+len(value) > maxBatchBytes {
			return false
		}
		taken, size = taken+1, size+len(value)
		return true
	}, nil
}

// maxBatchBytes bounds the paths of a batch together: their results have to fit
// into one transaction, and JSON may write one byte as six.
const maxBatchBytes = 80 << 10

// await waits until something is in one of the two queues, the second one once it
// is open.
func (w *worker) await(ctx context.Context) error {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	queues := []*zkclient.Queue{w.paths, w.ext}
	results := make(chan error, len(queues))
	for _, queue := range queues {
		go func() {
			if queue == w.ext {
				select {
				case <-w.extOpen:
				case <-limited.Done():
				}
			}
			results <- queue.Await(limited)
		}()
	}
	err := w.idle(limited, results)
	cancel()
	for range len(queues) - 1 {
		<-results
	}
	return err
}

// idle waits for the first of results. If that takes long, a node in S/idle tells
// the master that here is a job without work.
func (w *worker) idle(ctx context.Context, results <-chan error) error {
	timer := time.NewTimer(w.cfg.Timing.Idle)
	defer timer.Stop()
	select {
	case first := <-results:
		return first
	case <-timer.C:
	}
	select {
	case first := <-results:
		return first
	case <-w.extOpen:
	}
	node, err := w.m.CreatePath(ctx, w.tree.idle()+"/"+rand.Text(), nil, zkclient.Ephemeral)
	if err != nil {
		return <-results // which ends for the same reason, or the master is not told
	}
	first := <-results
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := w.m.Delete(last, node); err != nil && !errors.Is(err, zkclient.ErrNoNode) && !errors.Is(err, zkclient.ErrSessionLost) {
		w.log.Debug(err.Error()) // it goes with the ZooKeeper session
	}
	return first
}
