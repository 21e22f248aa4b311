// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// cleanup logs what became of every path, removes the session's nodes, releases the lock and writes the
// done-file. Session, parties, watch, lock and port nodes stay, as in the original. What cannot be
// removed stays too, and is named.
func (l *Leader) cleanup(ctx context.Context, m *member.Member, lock *zkclient.Lock) error {
	l.account.durable.ending = true
	if _, err := l.account.drain(ctx, m, true); err != nil {
		return err
	}
	if l.counts == nil {
		if err := l.judge.look(ctx, m); err != nil {
			return err
		}
		l.countUnfinished()
	}
	unfinished := func(value []byte) error {
		l.unfinished(wire.Text(value))
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
	if stage := l.ledger.now().Stage; !l.held && (!stage.Linked || stage.Phase == wire.Linking && !stage.Fed) { // what was kept back for the last phase was not sent
		tasks, err := l.heldTasks(ctx, m)
		if err != nil {
			return err
		}
		l.ledger.expect(tasks)
		for _, task := range tasks {
			l.counts.Unfinished++
			l.again--
			l.unfinished(task.Value)
		}
		l.held = true
	}
	if err := l.account.durable.drain(ctx, m, unfinished); err != nil {
		return err
	}
	if missing := l.ledger.missing(); len(missing) > 0 {
		l.log().Error(fmt.Sprintf("%d paths have left the queue without a result", len(missing)), "event", "lost-paths", "paths", len(missing))
	}
	l.tellMissing()
	stats, err := logStats(ctx, m)
	if err != nil {
		return err
	}
	if stats != nil {
		l.observer.totals.Take(stats)
	}
	l.log().Info("Output:")
	if err := drainQueue(ctx, m, m.Tree.OutputQueue(), func(v []byte) error { l.log().Info(wire.Text(v).String()); return nil }); err != nil {
		return err
	}
	parts, err := l.parts(ctx, m)
	if err != nil {
		return err
	}
	// S/meta, the last of them, tells whoever takes over now that this is the clean-up.
	nodes := m.Tree.OfSession()
	err = member.Each(ctx, nodes[:len(nodes)-1], func(ctx context.Context, _ int, node string) error { return l.remove(ctx, m, node) })
	if err != nil {
		return err
	}
	result := l.conclude() // before nobody can take over any more
	if err := l.bury(ctx, m); err != nil {
		return err
	}
	if err := l.seeOff(ctx, m); err != nil {
		return err
	}
	if len(parts) > 1 {
		l.log().Warn(fmt.Sprintf("The run had %d masters; what became of the paths is told in the logs and reports of each: %s", len(parts), strings.Join(parts, ", ")),
			"event", "parts", "clients", parts)
	}
	if err := lock.Release(ctx); err != nil {
		return fmt.Errorf("cannot release the master's lock: %w", err)
	}
	l.log().Info("Cleanup done: Lock, Queues and watch removed")
	return result
}

// remove deletes a node of the session, or says that it stays.
func (l *Leader) remove(ctx context.Context, m *member.Member, path string) error {
	err := m.ZK.DeleteTree(ctx, path)
	if err != nil && !refused(err) {
		return fmt.Errorf("cannot clean up the session: %w", err)
	}
	if err != nil {
		l.log().Warn(fmt.Sprintf("%v. It stays; have it deleted by an administrator of ZooKeeper, or use another session name", err),
			"event", "foreign", "znode", path, "error", err)
	}
	return nil
}

// parts are the masters that the run had, each with its report.
func (l *Leader) parts(ctx context.Context, m *member.Member) (all []string, err error) {
	names, err := m.Children(ctx, m.Tree.Parts())
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	contents, err := m.ReadAll(ctx, m.Tree.Parts(), names)
	if err != nil {
		return nil, err
	}
	for _, data := range contents {
		part, err := wire.DecodePart(data)
		if err != nil {
			continue // somebody else's
		}
		text := wire.Text(part.Who).String()
		if part.Report != "" {
			text += " (" + part.Report.String() + ")"
		}
		all = append(all, text)
	}
	return all, nil
}

// countUnfinished makes the final counts.
func (l *Leader) countUnfinished() {
	counts := l.ledger.now().Ended
	counts.Unfinished = l.ledger.unfinished()
	if lost := l.ledger.lost; lost > 0 {
		l.log().Error(fmt.Sprintf("%d paths have left the queue without a result", lost), "event", "lost-paths", "paths", lost)
	}
	l.counts = &counts
}

// unfinished tells of a path that nobody has ended.
func (l *Leader) unfinished(path wire.Text) {
	if !l.ledger.ends(path) {
		l.account.setAside("a queue", path, "the master has not queued it, or it had ended already")
		l.counts.Failed++
		l.foreign++
		return
	}
	if l.account.hasFailed(path) { // before it was queued again
		l.account.forget(path)
		l.counts.Failed--
		l.again++
	}
	l.log().Warn("Unfinished Path "+path.String(), "path", path, "outcome", "unfinished")
	l.report.unfinished(path)
}

// tellMissing tells of the paths that are in no queue.
func (l *Leader) tellMissing() {
	for _, path := range l.ledger.missing() {
		l.unfinished(path)
	}
}

// conclude writes the files and turns the counts into the session's result. What cannot be written is in the
// log.
func (l *Leader) conclude() error {
	if l.concluded {
		return l.result
	}
	l.concluded = true
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
		"changed", c.Changed, "unfinished", c.Unfinished, "skipped", c.Skipped, "deleted", c.Deleted)
	l.account.lacks.tell()
	lost = errors.Join(lost, l.report.close(l.ledger.now().Paths()+l.foreign-l.again, l.account.failures(), *l.counts))
	err := errors.Join(l.broken, l.counts.Problem(), lost)
	if l.cutShort() {
		broken := l.broken
		if errors.Is(broken, wire.ErrHalted) { // no signal, which has a status of its own
			broken = fmt.Errorf("%w: %w", wire.ErrEnded, broken)
		}
		err = errors.Join(fmt.Errorf("%w; %w: %s. To go on %s", broken, wire.ErrIncomplete, c.String(), howToGoOn), lost)
	}
	if lost := l.ledger.now().Lost; lost > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d groups of hard links were not kept", wire.ErrIncomplete, lost))
	}
	l.result = err
	return err
}

// howToGoOn is what to type after a run that was ended before its work was done.
const howToGoOn = "start its clients again, the first source with --resume"

// drainQueue empties a queue, handing out each value.
func drainQueue(ctx context.Context, m *member.Member, queue string, each func([]byte) error) error {
	if _, err := m.ZK.Queue(queue).Drain(ctx, each); err != nil {
		return fmt.Errorf("cannot empty %s: %w", queue, err)
	}
	return nil
}
