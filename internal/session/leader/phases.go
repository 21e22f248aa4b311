// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// A session goes through its phases one after the other; each begins when all queues are empty. What a
// phase is about follows from S/meta and the notes alone, so that a leader that takes over does with it
// what the one before would have done.

// morePasses bounds the walks after the first: a tree that never comes to rest must not keep a session
// from its end.
const morePasses = 3

// phases works through them.
func (l *Leader) phases(ctx context.Context, m *member.Member, working <-chan error) error {
	for !l.over && l.ledger.now().Stage.Phase != wire.Ending {
		if l.feed == nil {
			var err error
			if l.feed, err = l.newFeed(ctx, m); err != nil {
				return err
			}
		}
		if err := l.onePhase(ctx, m, working); err != nil {
			return err
		}
		if l.over {
			return nil
		}
		if err := l.advance(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// newFeed is what is to be queued in this phase.
func (l *Leader) newFeed(ctx context.Context, m *member.Member) (*feed, error) {
	now := l.ledger.now().Stage
	f := &feed{life: l.life, ledger: l.ledger, queues: l.queues, window: l.cfg.Window, done: now.Fed, free: l.free, skips: l.skips}
	if l.cfg.Changed != "" {
		f.window = min(f.window, changedWindow)
	}
	switch now.Phase {
	case wire.Walking:
		f.gaps = l.survey.isDisturbed
		f.notes = l.leavesOver
		switch first := now.Pass == 0 && !now.Whole; {
		case first:
			f.source = l.firstPass(now)
			f.finished = func() { l.log().Info("pathqueue building finished", "paths", l.ledger.now().Stage.Found) }
		default:
			f.source = l.walk(round{whole: now.Whole})
		}
	case wire.Leaving:
		tasks, err := l.leftovers(ctx, m)
		if err != nil {
			return nil, err
		}
		f.source = emitAll(tasks)
		f.notes = func(task wire.Task) []news {
			return []news{{&l.ledger.leftovers, m.Tree.Leftover(task.Dir), nil}}
		}
	case wire.Retrying:
		tasks := l.retries(now)
		l.log().Info(fmt.Sprintf("%d paths that have failed are tried once more", len(tasks)), "event", "late-round", "paths", len(tasks))
		f.source = emitAll(tasks)
	case wire.Linking:
		tasks, lost, err := l.linkTasks(ctx, m, true)
		if err != nil {
			return nil, err
		}
		if lost > l.ledger.now().Lost {
			if err := l.ledger.update(ctx, m, func(meta *wire.Meta) { meta.Lost = lost }); err != nil {
				return nil, err
			}
		}
		if len(tasks) > 0 {
			l.log().Info(fmt.Sprintf("Linking files that lie in different paths: %d more entries", len(tasks)), "event", "linking", "entries", len(tasks))
		}
		f.source = emitAll(tasks)
	}
	return f, nil
}

// advance begins the next phase.
func (l *Leader) advance(ctx context.Context, m *member.Member) error {
	if l.cfg.Lines == 0 {
		if err := l.base.Await(ctx, l.log(), l.client.Timing.PathCheck, l.base.Problem); err != nil {
			return err
		}
	}
	l.feed.close()
	l.feed = nil
	now := l.ledger.now().Stage
	next := now
	next.Found, next.Cursor, next.Fed, next.Gaps = 0, "", false, false
	switch {
	case now.Gaps && now.Phase == wire.Walking:
		l.log().Warn("A walk has not seen all of the tree: it is walked again", "event", "walk-again", "path", wire.Text(l.base.Dir))
		next.Whole = now.Whole || now.Pass == 0
	case now.Gaps:
	default:
		l.follow(now, &next)
	}
	if err := l.ledger.update(ctx, m, func(meta *wire.Meta) { meta.Stage = next }); err != nil {
		return fmt.Errorf("cannot begin the next phase of the session: %w", err)
	}
	l.account.nextPhase()
	return nil
}

// follow says which phase comes after one that is done.
func (l *Leader) follow(now wire.Stage, next *wire.Stage) {
	if now.Phase == wire.Walking {
		next.Pass++
		next.Changed, next.Whole = now.Found, false
	}
	if now.Phase != wire.Leaving && l.ledger.leftovers.any() && l.asked.Rsync.Delete { // the ranges have been sent
		next.Phase = wire.Leaving
		return
	}
	walks := l.cfg.walksAgain() && next.Late == 0 && !next.Linked && (next.Pass == 1 || next.Changed > 0)
	switch {
	case walks && next.Pass <= morePasses:
		if next.Pass > 1 {
			l.log().Info(fmt.Sprintf("%d directories had changed and were sent again", next.Changed), "event", "changed-again", "walk", next.Pass, "changed", next.Changed)
		}
		next.Phase = wire.Walking
		return
	case walks:
		l.log().Warn(fmt.Sprintf("The source is still changing: in walk %d, the last, %d directories differed from the walk before", next.Pass, next.Changed),
			"event", "still-changing", "walk", next.Pass, "changed", next.Changed)
	}
	next.Phase = wire.Retrying
	if next.Late < l.cfg.LateRetries && len(l.retries(*next)) > 0 {
		next.Late++
		return
	}
	if !next.Linked {
		next.Phase, next.Linked, next.Late = wire.Linking, true, 0
		return
	}
	next.Phase = wire.Ending
}

// retries are the paths that the late round is about: all but hard links before those are made, and these
// alone after.
func (l *Leader) retries(now wire.Stage) (tasks []wire.Task) {
	for _, path := range l.account.failures() {
		if task := wire.DecodeTask([]byte(path)); path > now.Cursor && (task.Kind == wire.Links) == now.Linked {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

// leftovers are the tasks of the deletions that ranges have left over.
func (l *Leader) leftovers(ctx context.Context, m *member.Member) (tasks []wire.Task, err error) {
	contents, err := l.ledger.leftovers.contents(ctx, m)
	if err != nil {
		return nil, err
	}
	for _, dir := range contents {
		if task := wire.LeftoversTask(string(dir)); dir != nil {
			if _, err := task.Within(l.base.Dir); err == nil { // else somebody else has noted it
				tasks = append(tasks, task)
			}
		}
	}
	slices.SortFunc(tasks, func(a, b wire.Task) int { return cmp.Compare(a.Value, b.Value) })
	return tasks, nil
}

// leavesOver notes the deletions in a directory that is sent in ranges, with the first of these.
func (l *Leader) leavesOver(task wire.Task) []news {
	if task.Kind != wire.Range || task.From != "" || !l.asked.Rsync.Delete {
		return nil
	}
	return []news{{&l.ledger.leftovers, l.client.Tree.Leftover(task.Dir), []byte(task.Dir)}}
}
