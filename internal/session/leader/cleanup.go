// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// cleanup logs what became of every path, removes the session's nodes, releases the lock and writes the
// done-file. Session, parties, watch, lock and port nodes stay, as in the original.
func (l *Leader) cleanup(ctx context.Context, m *member.Member, lock *zkclient.Lock) error {
	l.account.durable.ending = true
	if _, err := l.account.drain(ctx, m, true); err != nil {
		return err
	}
	if l.counts == nil {
		counts := l.ledger.now().Ended
		queues, err := m.Backlog(ctx)
		if err != nil {
			return err
		}
		left := queues.Total() + l.account.durable.paths()
		// What was queued and is neither ended nor in a queue was removed by
		// somebody else: nobody can say that it was done.
		counts.Unfinished = max(left, l.ledger.now().Paths()-counts.Ended())
		if counts.Unfinished > left {
			lost := counts.Unfinished - left
			l.log().Error(fmt.Sprintf("%d paths have left the queue without a result", lost), "event", "lost-paths", "paths", lost)
		}
		l.counts = &counts
	}
	unfinished := func(value []byte) error {
		path := wire.Text(value)
		if l.account.hasFailed(path) { // before it was queued again
			l.account.forget(path)
			l.counts.Failed--
			l.again++
		}
		l.log().Warn("Unfinished Path "+path.String(), "path", path, "outcome", "unfinished")
		l.report.unfinished(path)
		return nil
	}
	for _, queue := range []string{m.Tree.PathQueue(), m.Tree.ExtQueue()} {
		if err := drainQueue(ctx, m, queue, unfinished); err != nil {
			return err
		}
	}
	if err := l.splitter.drain(ctx, m, unfinished); err != nil {
		return err
	}
	if !l.linking { // what was kept back for the last pass was not sent
		tasks, err := l.heldTasks(ctx, m)
		if err != nil {
			return err
		}
		for _, task := range tasks {
			l.counts.Unfinished++
			l.again--
			_ = unfinished([]byte(task.Value))
		}
		l.linking = true // they are counted
	}
	if err := l.account.durable.drain(ctx, m, unfinished); err != nil {
		return err
	}
	if err := logStats(ctx, m); err != nil {
		return err
	}
	l.log().Info("Output:")
	if err := drainQueue(ctx, m, m.Tree.OutputQueue(), func(v []byte) error { l.log().Info(wire.Text(v).String()); return nil }); err != nil {
		return err
	}
	for _, path := range append(m.Tree.OfSession(), m.Tree.Ready()) { // ready last: until then the session is not clean
		if err := m.ZK.DeleteTree(ctx, path); err != nil {
			return fmt.Errorf("cannot clean up the session: %w", err)
		}
	}
	if err := lock.Release(ctx); err != nil {
		return fmt.Errorf("cannot release the master's lock: %w", err)
	}
	l.log().Info("Cleanup done: Lock, Queues and watch removed")
	return l.conclude()
}

// conclude writes the files and turns the counts into the session's result. What cannot be written is in the
// log.
func (l *Leader) conclude() error {
	var lost error
	if l.cfg.DoneFile != "" {
		problem, err := writeDoneFile(l.cfg.DoneFile, *l.counts, time.Now())
		if problem != nil {
			l.log().Error(problem.Error(), "error", problem)
		}
		if err != nil {
			lost = fmt.Errorf("%w; it would have said: %s", err, l.counts)
		}
	}
	c := *l.counts
	l.log().Info("Paths: "+c.String(), "event", "end", "completed", c.Completed, "failed", c.Failed, "vanished", c.Vanished,
		"changed", c.Changed, "unfinished", c.Unfinished, "deleted", c.Deleted)
	lost = errors.Join(lost, l.report.close(l.ledger.now().Paths()-l.again, l.account.failures(), *l.counts))
	err := errors.Join(l.broken, l.counts.Problem(), lost)
	if l.linksLost > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d groups of hard links were not kept", wire.ErrIncomplete, l.linksLost))
	}
	return err
}

// drainQueue empties a queue, handing out each value.
func drainQueue(ctx context.Context, m *member.Member, queue string, each func([]byte) error) error {
	if _, err := m.ZK.Queue(queue).Drain(ctx, each); err != nil {
		return fmt.Errorf("cannot empty %s: %w", queue, err)
	}
	return nil
}
