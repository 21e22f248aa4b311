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

// A session can change its leader at any moment. What the next one needs is in ZooKeeper before it is acted
// on: S/meta says what was queued and what became of it, in which phase and how far the session is; the
// queues hold what is open; failures, cuts and leftovers are notes. The first walk goes on after its
// cursor. In later walks an earlier leader's stamps are missing: what has a ctime since the session began
// is taken for changed, and sent again rather than lost.

// Reopen tells whether there is a run to go on with, when this source has the lock. One that was being
// suspended when its leader died goes on.
func Reopen(ctx context.Context, m *member.Member) (bool, error) {
	data, stat, ok, err := m.Read(ctx, m.Tree.Ready())
	if err != nil || !ok {
		return false, err
	}
	m.Client.SetEpoch(stat.Czxid)
	meta, _, known, err := m.Meta(ctx)
	if err != nil {
		return false, err
	}
	ops, err := unstop(ctx, m)
	if string(data) == wire.Stop && known && meta.End != "" && meta.End != wire.Done {
		meta.End = ""
		ops = append(ops, zkclient.OpSet(m.Tree.Meta(), meta.Encode(), -1), zkclient.OpSet(m.Tree.Ready(), []byte(wire.Start), -1))
	}
	if err == nil {
		err = m.ZK.Settle(ctx, nil, ops...)
	}
	if err != nil {
		return false, fmt.Errorf("cannot go on with the run: %w", err)
	}
	return string(data) != wire.Stop || known, nil
}

// unstop takes back that the run is to be stopped, if it is: that is done, or somebody goes on with it.
func unstop(ctx context.Context, m *member.Member) ([]zkclient.Op, error) {
	data, _, _, err := m.Read(ctx, m.Tree.Control())
	if err != nil {
		return nil, err
	}
	control, err := wire.DecodeControl(data)
	if err != nil || !control.Stop {
		return nil, nil // what cannot be read asks for nothing
	}
	control.Stop = false
	return []zkclient.Op{zkclient.OpSet(m.Tree.Control(), control.Encode(), -1)}, nil
}

// load reads what an earlier leader has left. It changes nothing but the session of a Python one, which gets
// the nodes that leaders of this program need.
func (l *Leader) load(ctx context.Context, m *member.Member) error {
	stat, found, err := m.ZK.Exists(ctx, m.Tree.Ready())
	if err != nil || !found {
		return errors.Join(err, fmt.Errorf("cannot go on with the run: %s is gone", m.Tree.Ready()))
	}
	l.client.SetEpoch(stat.Czxid)
	meta, _, ok, err := m.Meta(ctx)
	if err != nil {
		return err
	}
	if !ok {
		if err := l.adopt(ctx, m); err != nil {
			return err
		}
	}
	open, err := openPaths(ctx, m)
	if err != nil {
		return err
	}
	if !ok {
		if meta, err = l.newMeta(m, stat.Czxid); err != nil {
			return err
		}
		meta.Queued = total(open)
		meta.Stage.Fed, meta.Stage.Gaps, meta.Stage.Whole = true, true, true
		if _, err := m.ZK.Create(ctx, m.Tree.Meta(), meta.Encode(), zkclient.Persistent); err != nil {
			return err
		}
	}
	l.began = time.Unix(meta.Began, 0)
	if err := l.ledger.loadNotes(ctx, m); err != nil {
		return err
	}
	if err := l.account.inherit(ctx, m); err != nil {
		return err
	}
	contents, err := l.ledger.deeper.contents(ctx, m)
	if err != nil {
		return err
	}
	var deeper []string
	for _, dir := range contents {
		deeper = append(deeper, string(dir))
	}
	l.survey.inherit(meta.Plan, deeper, l.began)
	l.ledger.inherit(meta, open)
	return l.splitter.inherit(ctx, m)
}

// forget drops what this leader knows of a session that another one has led since.
func (l *Leader) forget() {
	if l.feed != nil {
		l.feed.close()
		l.feed = nil
	}
	clear(l.account.told)
	clear(l.account.failed)
	l.splitter.cut = nil
	l.order, l.requeuing = nil, nil
	l.skips.forget()
	l.over, l.broken = false, nil
}

// adopt makes the nodes that a leader of this program needs in the session of a Python one. The queue of that
// may not hold all of the tree: when it is empty the whole tree is walked.
func (l *Leader) adopt(ctx context.Context, m *member.Member) error {
	// What is there already is of yet another session, whose clean-up did not know it.
	for _, path := range m.Tree.OfLeader() {
		if err := m.ZK.DeleteTree(ctx, path); err != nil {
			return err
		}
	}
	if err := m.ZK.Queue(m.Tree.ExtQueue()).Ensure(ctx); err != nil {
		return err
	}
	if l.cfg.walksAgain() {
		if err := l.survey.chooseDepth(ctx); err != nil {
			return err
		}
	}
	return l.ensure(ctx, m)
}

// total is how many paths are open.
func total(open map[wire.Text]int) (n int) {
	for _, times := range open {
		n += times
	}
	return n
}

// openPaths are the paths in the queues, with the leader to be cut, and in results that are not counted yet.
// They are read in the order in which paths go on, so that one that does meanwhile is seen at least once.
// Being seen twice means nothing: a Python worker makes its record before it takes the path out of the
// queue.
func openPaths(ctx context.Context, m *member.Member) (map[wire.Text]int, error) {
	open := map[wire.Text]int{}
	for _, queue := range []string{m.Tree.PathQueue(), m.Tree.ExtQueue()} {
		contents, err := m.Contents(ctx, queue+"/entries")
		if err != nil {
			return nil, err
		}
		for _, value := range contents {
			if value != nil {
				open[wire.Text(value)]++
			}
		}
	}
	see := func(paths ...wire.Text) {
		for _, path := range paths {
			open[path] = max(open[path], 1)
		}
	}
	for _, parent := range []string{m.Tree.Split(), m.Tree.CompletedQueue() + "/entries", m.Tree.FailedQueue() + "/entries"} {
		contents, err := m.Contents(ctx, parent)
		if err != nil {
			return nil, err
		}
		for _, value := range contents {
			if value != nil {
				see(wire.Text(value))
			}
		}
	}
	contents, err := m.Contents(ctx, m.Tree.Results())
	if err != nil {
		return nil, err
	}
	for _, data := range contents {
		if r, err := wire.DecodeResult(data); err == nil {
			see(r.Paths...)
		}
	}
	return open, nil
}

// claim makes this leader the one of the session.
func (l *Leader) claim(ctx context.Context, m *member.Member) error {
	now := l.ledger.now()
	if differences := now.Terms.Differences(l.asked.Terms); len(differences) > 0 {
		return fmt.Errorf("cannot go on with the run of session %q: this source was started with other options than its master: %s",
			m.Tree.Name(), wire.JoinDifferences(differences))
	}
	own, err := l.newMeta(m, now.Epoch)
	if err != nil {
		return err
	}
	if own.Plan.List != now.Plan.List {
		return fmt.Errorf("cannot go on with the run of session %q: its master was started with another list of paths (--paths-from, --changed) than this source", m.Tree.Name())
	}
	if err := l.report.goOn(l.cfg.Report, m.Tree.Name(), l.base.Dir, now.ID); err != nil {
		l.log().Error(err.Error()+"; the run goes on without", "error", err)
	}
	var ops []zkclient.Op
	if now.End != wire.Done { // else the nodes may be on their way out
		part := wire.Part{Who: m.Client.Whoami, Report: wire.Text(l.cfg.Report)}
		ops = append(ops, zkclient.OpCreate(m.Tree.Parts()+"/part-", part.Encode(), zkclient.Sequential))
	}
	surplus := l.ledger.surplus
	if err := l.ledger.update(ctx, m, func(meta *wire.Meta) {
		meta.Lead, meta.Timeout = l.id, own.Timeout
		meta.Queued += surplus
		stage := &meta.Stage
		// Where a later walk stood its cursor does not tell, as it may go back; and groups of hard links are
		// not put together alike twice.
		if !stage.Fed && (stage.Phase == wire.Walking && (stage.Pass > 0 || stage.Whole) || stage.Phase == wire.Linking && stage.Found > 0) {
			stage.Fed, stage.Gaps = true, true
		}
	}, ops...); err != nil {
		return fmt.Errorf("cannot take over the session: %w", err)
	}
	if surplus > 0 {
		l.log().Warn(fmt.Sprintf("%d paths are in the queue that had ended already: they are sent once more", surplus), "event", "surplus", "paths", surplus)
	}
	l.log().Warn(fmt.Sprintf("This source is the master from now on: %d of %d paths are left in the queue", len(l.ledger.missing()), now.Paths()),
		"event", "took-over", "source", m.Client.Whoami, "remaining", len(l.ledger.missing()), "queued", now.Paths())
	return nil
}

// someStandBy tells whether a source would take over.
func (l *Leader) someStandBy(ctx context.Context, m *member.Member) (bool, error) {
	names, err := m.Children(ctx, m.Tree.Lock())
	if err != nil {
		return false, fmt.Errorf("cannot look who stands by: %w", err)
	}
	for _, name := range names {
		data, stat, ok, err := m.Read(ctx, m.Tree.Lock()+"/"+name)
		if err != nil {
			return false, fmt.Errorf("cannot look who stands by: %w", err)
		}
		if ok && (string(data) == wire.StandBy || string(data) == wire.Resume) && stat.EphemeralOwner != m.ZK.SessionID() {
			return true, nil
		}
	}
	return false, nil
}

// handOver leaves the session to a source that stands by, if there is one.
func (l *Leader) handOver(ctx context.Context, m *member.Member) (handed bool, err error) {
	if handed, err = l.someStandBy(ctx, m); err != nil || !handed {
		return false, err
	}
	if l.feed != nil {
		l.feed.close()
	}
	if err := l.ledger.update(ctx, m, func(*wire.Meta) {}); err != nil { // so that one that has just come knows of this leader
		return false, err
	}
	l.report.leave()
	l.log().Warn("Another source takes over: the run goes on", "event", "handed-over")
	return true, fmt.Errorf("%w: the run goes on under another master", context.Cause(l.ending))
}

// suspend leaves the session as it is, for whoever goes on with it, when all others have left.
func (l *Leader) suspend(ctx context.Context, m *member.Member, lock *zkclient.Lock) error {
	if err := l.ledger.settle(ctx, m); err != nil { // an earlier ZooKeeper session may have got so far
		return l.unsettled(m, err)
	}
	if _, err := l.account.drain(ctx, m, false); err != nil {
		return err
	}
	if l.counts == nil {
		l.countUnfinished()
	}
	ops, err := unstop(ctx, m)
	if err == nil {
		err = l.ledger.update(ctx, m, func(meta *wire.Meta) { meta.End, meta.Lead = "", "" }, append(ops, zkclient.OpSet(m.Tree.Ready(), []byte(wire.Start), -1))...)
	}
	if err != nil {
		return fmt.Errorf("cannot leave the session in order: %w", err)
	}
	l.tellMissing()
	if err := lock.Release(ctx); err != nil {
		return fmt.Errorf("cannot release the master's lock: %w", err)
	}
	return l.conclude()
}

// seeOff waits a moment for those that stand by, who leave when the session is over: who has the lock next
// might find no session.
func (l *Leader) seeOff(ctx context.Context, m *member.Member) error {
	for until := time.Now().Add(l.client.Timing.Settle); time.Now().Before(until); {
		if some, err := l.someStandBy(ctx, m); err != nil || !some {
			return err
		}
		if err := zkclient.Sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
