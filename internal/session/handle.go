// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/zkclient"
)

// handle works on what was taken until the fate of each path is known, or until
// it cannot be worked on here and now; then it is for others again. Paths that
// could not be sent together are tried one by one, so that a bad one costs only
// itself.
func (w *worker) handle(ctx context.Context, b batch) error {
	rest, deleted := b.entries, 0
	if len(rest) > 1 {
		var err error
		if rest, deleted, err = w.together(ctx, b); err != nil {
			return errors.Join(err, w.release(ctx, batch{rest, b.queue}))
		}
	}
	began := time.Now()
	for i, entry := range rest {
		err := w.alone(ctx, batch{[]*zkclient.Entry{entry}, b.queue}, deleted)
		deleted = 0
		// Nothing here can be sent now, or others have nothing to do.
		if err != nil || w.waiting.Err() != nil || w.dests.held == nil ||
			time.Since(began) >= w.cfg.Timing.SplitAfter && w.someIdle(ctx) {
			return errors.Join(err, w.release(ctx, batch{rest[i+1:], b.queue}))
		}
	}
	return nil
}

// someIdle tells whether jobs are without work.
func (c *crew) someIdle(ctx context.Context) bool {
	stat, _, err := c.m.Exists(ctx, c.tree.idle())
	return err == nil && stat.NumChildren > 0
}

// release makes entries free for others again.
func (w *worker) release(ctx context.Context, b batch) error {
	if len(b.entries) == 0 || ctx.Err() != nil { // they are free at the end of the ZooKeeper session
		return nil
	}
	err := b.queue.ReleaseAll(ctx, b.entries)
	if errors.Is(err, zkclient.ErrNotHeld) {
		return nil
	}
	return err
}

// together sends several paths in one run. It returns those still held, which
// are to be tried one by one, and how many entries were deleted that no result
// tells of.
func (w *worker) together(ctx context.Context, b batch) (rest []*zkclient.Entry, deleted int, err error) {
	res := result{Who: w.whoami}
	for res.Attempts < attempts {
		res.Attempts++
		dest, err := w.destFor(ctx)
		if err != nil {
			return b.entries, 0, err
		}
		if dest == nil || w.baseProblem() != nil {
			break
		}
		sent, err := w.attemptTogether(ctx, b, dest, &res)
		switch {
		case errors.Is(err, errAsked), errors.Is(err, errDestLost):
			if ops := w.undone(&res); len(ops) > 0 && ctx.Err() == nil {
				if err := w.m.Multi(ctx, ops...); err != nil {
					w.log.Warn(err.Error())
				}
			}
			return nil, 0, w.release(ctx, b)
		case err != nil:
			return b.entries, 0, err
		case sent.again: // files vanished under rsync's hands, nothing else is wrong
			continue
		case len(sent.ended) == 0:
			return sent.rest, res.Deleted, nil
		}
		if len(res.Paths) == 0 { // what was sent has to be tried again
			deleted = res.Deleted
		}
		return sent.rest, deleted, w.endAll(ctx, batch{sent.ended, b.queue}, sent.results)
	}
	return b.entries, res.Deleted, nil
}

// alone tries one path until its fate is known.
func (w *worker) alone(ctx context.Context, b batch, deleted int) error {
	began := time.Now()
	res := result{Paths: b.values(), Who: w.whoami, Deleted: deleted}
	for {
		dest, err := w.destFor(ctx)
		if err != nil {
			return errors.Join(err, w.giveBack(ctx, b, retryPriority, &res))
		}
		if dest == nil || w.baseProblem() != nil {
			return w.giveBack(ctx, b, retryPriority, &res)
		}
		again, err := w.attempt(ctx, b, dest, &res)
		switch {
		case err != nil:
			return errors.Join(err, w.giveBack(ctx, b, retryPriority, &res))
		case again == no:
			res.Seconds = time.Since(began).Seconds()
			if res.Outcome == outcomeFailed {
				w.log.Error(fmt.Sprintf("There were issues with path %s!", printable(string(b.entries[0].Value))))
			}
			return w.endAll(ctx, b, []result{res})
		case again == handOver:
			return w.handOver(ctx, b, &res)
		case again == later && !sleep(w.waiting, w.cfg.Timing.Retry*time.Duration(res.Attempts)):
			return w.giveBack(ctx, b, retryPriority, &res)
		case again == byOthers:
			if err := w.giveBack(ctx, b, zkclient.DefaultPriority, &res); err != nil {
				return err
			}
			sleep(w.waiting, w.cfg.Timing.Retry) // a job with another destination goes first
			return nil
		}
	}
}

// destFor returns a destination for paths in hand; nil if there is none within
// Timing.NoDest.
func (w *worker) destFor(ctx context.Context) (*heldDest, error) {
	limited, cancel := context.WithTimeout(w.waiting, w.cfg.Timing.NoDest)
	defer cancel()
	dest, err := w.dests.get(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return dest, err
}

// giveBack puts a path into its queue again, before or behind the others.
func (w *worker) giveBack(ctx context.Context, b batch, priority int, res *result) error {
	if ctx.Err() != nil {
		return nil // it is free at the end of the ZooKeeper session
	}
	return w.leave(ctx, b, append(w.undone(res), b.queue.PutOp(b.entries[0].Value, priority)))
}

// handOver gives a path to the master, which cuts it into smaller ones.
func (w *worker) handOver(ctx context.Context, b batch, res *result) error {
	w.log.Info(fmt.Sprintf("Path %s is handed back, to be shared among idle jobs", printable(string(b.entries[0].Value))))
	return w.leave(ctx, b, append(w.undone(res), zkclient.OpCreate(w.tree.split()+"/part-", b.entries[0].Value, zkclient.Sequential)))
}

// undone tells the master what was deleted for a path that has not ended.
func (w *worker) undone(res *result) []zkclient.Op {
	if res.Deleted == 0 || !w.extended() {
		return nil
	}
	return []zkclient.Op{w.resultOp(result{Outcome: outcomeNone, Who: w.whoami, Deleted: res.Deleted})}
}

// extended tells whether the master knows the extensions.
func (c *crew) extended() bool {
	select {
	case <-c.extOpen:
		return true
	default:
		return false
	}
}

// endAll records what became of paths, in the transaction that removes them.
func (w *worker) endAll(ctx context.Context, b batch, results []result) error {
	if len(b.entries) == 0 {
		return nil
	}
	ops, err := w.record(ctx, results)
	if err != nil {
		return err
	}
	return w.leave(ctx, b, ops)
}

func (w *worker) leave(ctx context.Context, b batch, ops []zkclient.Op) error {
	err := b.queue.ConsumeAll(ctx, b.entries, ops...)
	if errors.Is(err, zkclient.ErrNotHeld) {
		w.log.Warn(fmt.Sprintf("The %s: no longer held by this client, so the result is not recorded: another client works on it", b.name()))
		return w.release(ctx, b) // the others of a batch
	}
	return err
}

// record makes the operations that record results: nodes of S/results if the
// master knows them, else entries in the queues that a Python master reads. That
// one knows no third way to end: what was not completed has failed.
func (c *crew) record(ctx context.Context, results []result) ([]zkclient.Op, error) {
	var ops []zkclient.Op
	if c.extended() {
		for _, r := range results {
			ops = append(ops, c.resultOp(r))
		}
		return ops, nil
	}
	for _, r := range results {
		queue := c.m.Queue(c.tree.failedQueue())
		if r.Outcome == outcomeCompleted {
			queue = c.m.Queue(c.tree.completedQueue())
		}
		// A Python master leaves it to the first who puts a path there to make it.
		if err := queue.Ensure(ctx); err != nil {
			return nil, err
		}
		for _, path := range r.Paths {
			ops = append(ops, queue.PutOp([]byte(path), zkclient.DefaultPriority))
		}
	}
	return ops, nil
}

func (c *crew) resultOp(r result) zkclient.Op {
	return zkclient.OpCreate(c.tree.results()+"/result-", r.encode(), zkclient.Sequential)
}
