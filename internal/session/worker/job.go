// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// job holds at most one destination, and carries on one run at a time.
type job struct {
	shift  *shift
	number int // of the worker's, from 0
	dests  *pool.Holder
	open   context.Context // ends when the job is to begin nothing more, for now or for good
}

// work goes on until the session is over.
func (j *job) work(ctx context.Context) error {
	for {
		err := j.next(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case j.shift.waiting.Err() != nil:
			if err != nil && !errors.Is(err, context.Canceled) {
				j.shift.m.Log.Warn(err.Error(), "error", err)
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// next waits for the base, a destination and paths, and works on those.
func (j *job) next(ctx context.Context) error {
	if !j.shift.gate.lets(j.number) {
		j.dests.Release() // others can use it meanwhile
	}
	open, end, err := j.shift.gate.enter(j.shift.waiting, j.number)
	if err != nil {
		return err
	}
	defer end()
	j.open = open
	b, err := j.begin()
	if err != nil && open.Err() != nil && j.shift.waiting.Err() == nil {
		return nil // held up: it is to wait at the gate
	}
	if err != nil || len(b.tasks) == 0 {
		return err
	}
	defer j.shift.gate.work()()
	return j.handle(ctx, b)
}

// begin is next without the work.
func (j *job) begin() (b batch, err error) {
	if !j.waitBase() {
		return b, nil
	}
	if _, err := j.dests.Get(j.open); err != nil {
		return b, err
	}
	return j.take(j.open)
}

// waitBase waits until the base is as it should be; false if the job is not to begin anything before.
func (j *job) waitBase() bool {
	transport := j.shift.worker.transport
	if transport.problem() != nil {
		j.dests.Release() // others can use it meanwhile
	}
	return transport.await(j.open, j.timing().PathCheck) == nil
}

// held is a task that a job has taken, with its entry.
type held struct {
	task  wire.Task
	entry *zkclient.Entry
}

// batch is what a job has taken: tasks of one queue, and of one kind.
type batch struct {
	tasks []held
	queue *zkclient.Queue
}

func (b batch) several() bool { return len(b.tasks) > 1 }

// part is the batch with other tasks of it.
func (b batch) part(tasks []held) batch { return batch{tasks, b.queue} }

func (b batch) entries() []*zkclient.Entry {
	entries := make([]*zkclient.Entry, len(b.tasks))
	for i, t := range b.tasks {
		entries[i] = t.entry
	}
	return entries
}

// values are the tasks as they stand in the queue.
func values(tasks []held) []wire.Text {
	values := make([]wire.Text, len(tasks))
	for i, t := range tasks {
		values[i] = t.task.Value
	}
	return values
}

// name is the batch in a log line.
func (b batch) name() string {
	first := b.tasks[0].task.Value.String()
	if !b.several() {
		return "path " + first
	}
	return fmt.Sprintf("path %s and %d more", first, len(b.tasks)-1)
}

// fields are the batch in a log line's fields.
func (b batch) fields() []any { return []any{"path", b.tasks[0].task.Value, "paths", len(b.tasks)} }

// take waits for paths in one of the two queues until ctx ends.
func (j *job) take(ctx context.Context) (batch, error) {
	for {
		queues := []*zkclient.Queue{j.shift.paths}
		if j.shift.knowsExtensions() {
			queues = append(queues, j.shift.ext)
		}
		for _, queue := range queues {
			if b, err := j.tryTake(ctx, queue); len(b.tasks) > 0 || err != nil {
				return b, err
			}
		}
		if err := j.await(ctx); err != nil {
			return batch{}, err
		}
	}
}

// maxBatchBytes bounds the paths of a batch together: their results have to fit into one transaction,
// and JSON may write one byte as six.
const maxBatchBytes = 80 << 10

// tryTake takes a fair number of paths of one kind out of a queue, none if none waits.
func (j *job) tryTake(ctx context.Context, queue *zkclient.Queue) (batch, error) {
	w := j.shift.worker
	decoded := map[string]wire.Task{}
	decode := func(value []byte) wire.Task {
		task, ok := decoded[string(value)]
		if !ok {
			task = wire.DecodeTask(value)
			decoded[string(value)] = task
		}
		return task
	}
	n, same := 1, func(_, _ *zkclient.Entry) bool { return false }
	if w.cfg.Batch > 1 {
		waiting, jobs, err := j.shift.load(ctx, queue)
		if err != nil {
			return batch{}, err
		}
		var sizes [wire.Kinds]int
		for kind := range sizes {
			sizes[kind] = w.pace.size(wire.Kind(kind), waiting, jobs)
			n = max(n, sizes[kind])
		}
		var with *zkclient.Entry
		taken, size, most := 0, 0, 0
		same = func(first, next *zkclient.Entry) bool {
			kind := w.transport.kind(decode(first.Value))
			if first != with { // a new try
				with, taken, size, most = first, 1, len(first.Value), w.pace.bounded(sizes[kind], wire.SecondsAt(first.Priority()))
			}
			if kind != w.transport.kind(decode(next.Value)) || taken >= most || size+len(next.Value) > maxBatchBytes {
				return false
			}
			taken, size = taken+1, size+len(next.Value)
			return true
		}
	}
	entries, err := queue.TryTakeSome(ctx, n, same)
	tasks := make([]held, len(entries))
	for i, entry := range entries {
		tasks[i] = held{decode(entry.Value), entry}
	}
	return batch{tasks, queue}, err
}

// await waits until something is in one of the two queues, the second one once it counts.
func (j *job) await(ctx context.Context) error {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, 2)
	go func() { results <- j.shift.paths.Await(limited) }()
	go func() {
		select {
		case <-j.shift.extended:
		case <-limited.Done():
		}
		results <- j.shift.ext.Await(limited)
	}()
	err := j.idle(limited, results)
	cancel()
	<-results
	return err
}

// idle waits for the first of results. If that takes long, a node in S/idle tells the leader that here
// is a job without work.
func (j *job) idle(ctx context.Context, results <-chan error) error {
	m := j.shift.m
	timer := time.NewTimer(m.Client.Timing.Idle)
	defer timer.Stop()
	select {
	case first := <-results:
		return first
	case <-timer.C:
	}
	select {
	case first := <-results:
		return first
	case <-j.shift.extended:
	}
	node, err := m.ZK.CreatePath(ctx, m.Tree.Idle()+"/"+rand.Text(), nil, zkclient.Ephemeral)
	if err != nil {
		return <-results // which ends for the same reason, or the leader is not told
	}
	first := <-results
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := m.ZK.Delete(last, node); err != nil && !errors.Is(err, zkclient.ErrNoNode) && !errors.Is(err, zkclient.ErrSessionLost) {
		m.Log.Debug(err.Error(), "error", err) // it goes with the ZooKeeper session
	}
	return first
}
