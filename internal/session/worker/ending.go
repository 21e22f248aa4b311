// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"errors"
	"fmt"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// retryPriority puts a path that its worker could not work on before the others.
const retryPriority = 50

// endAll records what became of paths, in the transaction that removes them.
func (j *job) endAll(ctx context.Context, b batch, results []wire.Result) error {
	if len(b.tasks) == 0 {
		return nil
	}
	ops, err := j.shift.recordOps(ctx, results)
	if err != nil {
		return err
	}
	return j.leave(ctx, b, ops)
}

// setBack makes paths free for others again, one that was in work alone before all that wait.
func (j *job) setBack(ctx context.Context, b batch, res *wire.Result) error {
	if b.several() {
		return j.setFree(ctx, b, res)
	}
	return j.giveBack(ctx, b, retryPriority, res)
}

// setFree makes paths free where they are in the queue.
func (j *job) setFree(ctx context.Context, b batch, res *wire.Result) error {
	if res.Deleted > 0 && j.shift.knowsExtensions() && ctx.Err() == nil {
		// In a call of its own, which finds out what became of it: nothing else is in the transaction.
		if _, err := j.shift.m.ZK.Create(ctx, j.shift.resultNode(), j.shift.unended(res).Encode(), zkclient.Sequential); err != nil {
			return err
		}
	}
	return j.release(ctx, b)
}

// release makes entries free for others again.
func (j *job) release(ctx context.Context, b batch) error {
	if len(b.tasks) == 0 || ctx.Err() != nil { // they are free at the end of the ZooKeeper session
		return nil
	}
	err := b.queue.ReleaseAll(ctx, b.entries())
	if errors.Is(err, zkclient.ErrNotHeld) {
		return nil
	}
	return err
}

// giveBack puts a path into its queue again, before or behind the others.
func (j *job) giveBack(ctx context.Context, b batch, priority int, res *wire.Result) error {
	if ctx.Err() != nil {
		return nil // it is free at the end of the ZooKeeper session
	}
	return j.leave(ctx, b, append(j.shift.untold(res), b.queue.PutOp([]byte(b.tasks[0].task.Value), priority)))
}

// handOver gives a path to the leader, which cuts it into smaller ones.
func (j *job) handOver(ctx context.Context, b batch, res *wire.Result) error {
	path := b.tasks[0].task.Value
	j.shift.m.Log.Info(fmt.Sprintf("Path %s is handed back, to be shared among idle jobs", path), "event", "handed-back", "path", path)
	return j.leave(ctx, b, append(j.shift.untold(res),
		zkclient.OpCreate(j.shift.m.Tree.Split()+"/part-", []byte(path), zkclient.Sequential)))
}

// leave takes entries out of the queue, together with operations.
func (j *job) leave(ctx context.Context, b batch, ops []zkclient.Op) error {
	err := b.queue.ConsumeAll(ctx, b.entries(), ops...)
	if errors.Is(err, zkclient.ErrNotHeld) {
		j.shift.m.Log.Warn(fmt.Sprintf("The %s: no longer held by this client, so the result is not recorded: another client works on it", b.name()), b.fields()...)
		return j.release(ctx, b) // the others of a batch
	}
	return err
}

// untold tells the leader what was deleted for paths that have not ended.
func (s *shift) untold(res *wire.Result) []zkclient.Op {
	if res.Deleted == 0 || !s.knowsExtensions() {
		return nil
	}
	return []zkclient.Op{s.resultOp(s.unended(res))}
}

// unended tells of deletions for paths that have not ended.
func (s *shift) unended(res *wire.Result) wire.Result {
	return wire.Result{Outcome: wire.Unended, Who: s.m.Client.Whoami, Deleted: res.Deleted}
}

// resultNode is what the nodes of results begin with.
func (s *shift) resultNode() string { return s.m.Tree.Results() + "/result-" }

// recordOps records results: in nodes of S/results if the leader knows them, else in the queues that a
// Python leader reads. That one knows no third way to end: what was not completed has failed.
func (s *shift) recordOps(ctx context.Context, results []wire.Result) ([]zkclient.Op, error) {
	var ops []zkclient.Op
	if s.knowsExtensions() {
		for _, r := range results {
			ops = append(ops, s.resultOp(r))
		}
		return ops, nil
	}
	for _, r := range results {
		queue := s.m.ZK.Queue(s.m.Tree.FailedQueue())
		if r.Outcome == wire.Completed {
			queue = s.m.ZK.Queue(s.m.Tree.CompletedQueue())
		}
		// A Python leader leaves it to the first who puts a path there to make it.
		if err := queue.Ensure(ctx); err != nil {
			return nil, err
		}
		for _, path := range r.Paths {
			ops = append(ops, queue.PutOp([]byte(path), zkclient.DefaultPriority))
		}
	}
	return ops, nil
}

func (s *shift) resultOp(r wire.Result) zkclient.Op {
	return zkclient.OpCreate(s.resultNode(), r.Encode(), zkclient.Sequential)
}
