// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Users steer a run by S/control. The sources heed by themselves what is to be begun and what is not to be sent;
// the leader queues nothing while nothing is to be begun, ends a run that is to be stopped, and does what changes
// the account. How far that is stands in S/meta, and changes in the transactions that do it.

// beSteered begins to follow S/control in a ZooKeeper session. What is asked for is told, and as noted by this source
// if it has no jobs that say so, until end is called or ctx ends.
func (l *Leader) beSteered(ctx context.Context, m *member.Member) (end func(), err error) {
	if l.steering, err = m.Steer(ctx, func(c wire.Control) { l.base.Skip(c.Skip) }); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		before := wire.Control{}
		for {
			control, version, changed := l.steering.Now()
			l.sayHeld(before, control)
			before = control
			if l.work == nil {
				if err := m.Publish(ctx, m.Tree.Heed(m.Client.Whoami), wire.Heed{Version: version, Leads: true}.Encode()); err != nil {
					if ctx.Err() == nil {
						m.Fail(fmt.Errorf("cannot say what was noted of what users ask for: %w", err))
					}
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); telling.Wait() }, nil
}

// sayHeld says what changes for the run as a whole.
func (l *Leader) sayHeld(before, now wire.Control) {
	switch {
	case now.Stop && !before.Stop:
		l.log().Warn("The run is stopped, as was asked for: nothing is begun any more, and it is suspended when nothing is in work", "event", "stopping")
	case now.Paused && !before.Paused:
		l.log().Warn("The run is paused, as was asked for: nothing is begun, and what is in work goes on to its end. zkrsync --unpause ends that", "event", "paused")
	case before.Paused && !now.Paused:
		l.log().Warn("The run is not paused any more", "event", "unpaused")
	}
}

// free returns when something may be queued.
func (l *Leader) free(ctx context.Context) error { return l.steering.AwaitFree(ctx) }

// quiet tells whether no Go source has anything in work, and none will begin anything. Python sources go on.
func (l *Leader) quiet(ctx context.Context, m *member.Member) (bool, error) {
	contents, err := m.Contents(ctx, m.Tree.Heeds())
	if err != nil {
		return false, err
	}
	_, version, _ := l.steering.Now()
	for _, data := range contents {
		if heed, err := wire.DecodeHeed(data); data != nil && err == nil && (heed.Version < version || heed.Running > 0) {
			return false, nil
		}
	}
	return true, nil
}

// order is a transaction that is made exactly once, over lost ZooKeeper sessions too.
type order struct {
	tasks  []wire.Task // that come into the account
	ops    func(*member.Member) []zkclient.Op
	change func(*wire.Steered)
	after  int // how many such transactions were made once this one is; 0: not yet tried
}

// give makes the order that is under way, if there is one.
func (l *Leader) give(ctx context.Context, m *member.Member) error {
	o := l.order
	if o == nil {
		return nil
	}
	if o.after == 0 {
		o.after = l.ledger.now().Steered.Puts + 1
		l.ledger.expect(o.tasks)
		l.account.anew(o.tasks)
	}
	if l.ledger.now().Steered.Puts < o.after {
		if err := l.ledger.update(ctx, m, func(meta *wire.Meta) {
			meta.Queued += len(o.tasks)
			meta.Steered.Puts = o.after
			o.change(&meta.Steered)
		}, o.ops(m)...); err != nil {
			return fmt.Errorf("cannot do what was asked for: %w", err)
		}
	}
	l.order = nil
	return nil
}

// steer does what users have asked for, as far as that can be done now; left is how much is queued.
func (l *Leader) steer(ctx context.Context, m *member.Member, left int) error {
	for {
		if err := l.give(ctx, m); err != nil {
			return err
		}
		control, version, _ := l.steering.Now()
		done := l.ledger.now().Steered
		switch {
		case done.Skips < len(control.Skip):
			if err := l.skip(ctx, m, string(control.Skip[done.Skips])); err != nil {
				return err
			}
		case done.Requeue < control.Requeue && !control.Held() && l.requeue(control.Requeue, left):
			left += len(l.order.tasks)
		case done.Version != version:
			if err := l.ledger.update(ctx, m, func(meta *wire.Meta) { meta.Steered.Version = version }); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// requeue prepares that failed paths are queued again. False if that has to wait: what a walk or a late round may
// queue itself would be in the queue twice.
func (l *Leader) requeue(times, left int) bool {
	stage := l.ledger.now().Stage
	first := stage.Phase == wire.Walking && stage.Pass == 0 && !stage.Whole
	if !stage.Fed && !first || left >= l.cfg.Window {
		return false
	}
	if l.requeuing == nil {
		for _, path := range l.account.failures() {
			if task := wire.DecodeTask([]byte(path)); (task.Kind == wire.Links) == stage.Linked && !l.ledger.isOpen(path) {
				l.requeuing = append(l.requeuing, task)
			}
		}
		l.log().Warn(fmt.Sprintf("%d paths that have failed are queued again, as was asked for", len(l.requeuing)), "event", "requeued", "paths", len(l.requeuing))
	}
	n, size := 0, 0
	for n < len(l.requeuing) && n < min(feedEntries, l.cfg.Window-left) && size < feedBytes {
		size += len(l.requeuing[n].Value) + feedOverhead
		delete(l.account.doubted, l.requeuing[n].Value)
		n++
	}
	last := n == len(l.requeuing)
	keep, over := l.skips.sort(l.requeuing[:n])
	l.requeuing = l.requeuing[n:]
	l.order = &order{
		tasks: slices.Concat(keep, over),
		ops: func(m *member.Member) []zkclient.Op {
			return append(l.queues.putOps(m, keep), skippedOps(m, over)...)
		},
		change: func(s *wire.Steered) {
			if last {
				s.Requeue = times
			}
		},
	}
	if last {
		l.requeuing = nil
	}
	return true
}

// skip prepares that a path below the base is not sent. What of it waits is taken out of the queues; what is in
// work its source ends, if that is a Go one.
func (l *Leader) skip(ctx context.Context, m *member.Member, rel string) error {
	if err := l.takeOut(ctx, m); err != nil {
		return err
	}
	var over []wire.Task
	for _, path := range l.account.failures() {
		if task := wire.DecodeTask([]byte(path)); len(over) < feedEntries && l.skips.all(task) && !l.ledger.isOpen(path) {
			over = append(over, task)
		}
	}
	last := len(over) < feedEntries // else there may be more
	if last {
		for _, path := range slices.Concat(l.ledger.missing(), l.account.failures()) { // these may be queued again
			over = append(over, l.skips.in(wire.DecodeTask([]byte(path)), rel)...)
		}
	}
	l.order = &order{
		tasks: over,
		ops:   func(m *member.Member) []zkclient.Op { return skippedOps(m, over) },
		change: func(s *wire.Steered) {
			if last {
				s.Skips++
			}
		},
	}
	return nil
}

// takeOut ends what waits in the queues and is not to be sent.
func (l *Leader) takeOut(ctx context.Context, m *member.Member) error {
	for _, queue := range []string{m.Tree.PathQueue(), m.Tree.ExtQueue()} {
		names, err := m.Children(ctx, queue+"/entries")
		if err != nil {
			return err
		}
		taken, err := m.Children(ctx, queue+"/taken")
		if err != nil {
			return err
		}
		slices.Sort(names)
		slices.Sort(taken)
		names = slices.DeleteFunc(names, func(name string) bool { _, held := slices.BinarySearch(taken, name); return held })
		contents, err := m.ReadAll(ctx, queue+"/entries", names)
		if err != nil {
			return err
		}
		for i, value := range contents {
			task := wire.DecodeTask(value)
			if value == nil || !l.skips.all(task) || !l.ledger.isOpen(task.Value) {
				continue
			}
			entry := queue + "/entries/" + names[i]
			ops := append([]zkclient.Op{
				zkclient.OpCreate(takenPath(entry), []byte(m.Client.Whoami), zkclient.Ephemeral), // fails if somebody works on it
				zkclient.OpDelete(entry),
				zkclient.OpDelete(takenPath(entry)),
			}, skippedOps(m, []wire.Task{task})...)
			err := m.ZK.Multi(ctx, ops...)
			if err != nil && !refused(err) && !errors.Is(err, zkclient.ErrNodeExists) && !errors.Is(err, zkclient.ErrConnectionLoss) {
				return fmt.Errorf("cannot take a path out of the queue: %w", err)
			}
			// In any other case whoever takes it ends it.
		}
	}
	return nil
}

// skips is what is not to be sent, in the account.
type skips struct {
	base *guard.Base

	mu   sync.Mutex
	told map[string]bool // what stands in the account, by its path below the base
}

// forget drops what is not known to stand in the account.
func (s *skips) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.told)
}

// all tells whether nothing of a task, which is in the account, is to be sent.
func (s *skips) all(task wire.Task) bool {
	rel, err := task.Within(s.base.Dir)
	if task.Err != nil || err != nil || !s.base.SkipsAll(task, rel) {
		return false
	}
	if !task.Kind.Named() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told[rel] = true
	}
	return true
}

// tells whether a path that is not sent, or one that it lies in, stands in the account.
func (s *skips) tells(rel string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knows(rel)
}

// knows is tells for who holds mu.
func (s *skips) knows(rel string) bool {
	for at := rel; at != "."; at = path.Dir(at) {
		if s.told[at] {
			return true
		}
	}
	return false
}

// in is a path for the account that stands for something that is not sent though its task is: none if it does not
// lie there, or is told of.
func (s *skips) in(task wire.Task, rel string) []wire.Task {
	if s.all(task) || !s.concerns(task, rel) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.knows(rel) {
		return nil
	}
	s.told[rel] = true
	return []wire.Task{wire.DirTask(pathbuilder.Entry{Path: path.Join(s.base.Dir, rel), Recursive: true})}
}

// concerns tells whether a task would send something that is not to be sent, or delete it.
func (s *skips) concerns(task wire.Task, rel string) bool {
	dir, err := task.Within(s.base.Dir)
	if task.Err != nil || err != nil {
		return false
	}
	if task.Kind.Named() {
		return slices.ContainsFunc(task.Files, func(file wire.Text) bool { return s.touches(string(file), rel) })
	}
	info, err := os.Lstat(path.Join(s.base.Dir, rel))
	switch {
	case err != nil || !slices.Contains(s.base.SkippedIn(dir, task.Kind == wire.Recursive), rel):
		return false
	case task.Kind == wire.Recursive:
		return true
	}
	return !info.IsDir() && (task.Kind == wire.Shallow || task.Kind == wire.Range) && task.Holds(rel) // a directory is a path of its own
}

// touches is concerns for one name: it is not sent, or it is gone with a directory, or is none any more, that is not
// deleted as what is not to be sent lies in it.
func (s *skips) touches(file, rel string) bool {
	if file == rel || strings.HasPrefix(file, rel+"/") {
		return true
	}
	for at := file; s.base.Config.Delete && at != "."; at = path.Dir(at) {
		if strings.HasPrefix(rel, at+"/") {
			info, err := os.Lstat(path.Join(s.base.Dir, at))
			return err != nil || at == file && !info.IsDir()
		}
	}
	return false
}

// sort parts tasks that are to be queued from those that end at once, with those that stand for what is not sent
// of the others.
func (s *skips) sort(tasks []wire.Task) (keep, over []wire.Task) {
	if s == nil {
		return tasks, nil
	}
	for _, task := range tasks {
		if s.all(task) {
			over = append(over, task)
			continue
		}
		keep = append(keep, task)
		if dir, err := task.Within(s.base.Dir); err == nil && task.Err == nil {
			for _, rel := range s.base.SkippedIn(dir, task.Kind == wire.Recursive || task.Kind.Named()) {
				over = append(over, s.in(task, rel)...)
			}
		}
	}
	return keep, over
}

// skippedOps have tasks end as skipped ones, as a worker does it.
func skippedOps(m *member.Member, tasks []wire.Task) []zkclient.Op {
	if len(tasks) == 0 {
		return nil
	}
	r := wire.Result{Outcome: wire.Skipped, Who: m.Client.Whoami}
	for _, task := range tasks {
		r.Paths = append(r.Paths, task.Value)
	}
	return []zkclient.Op{zkclient.OpCreate(m.Tree.Results()+"/result-", r.Encode(), zkclient.Sequential)}
}
