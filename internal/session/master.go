// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/zkclient"
)

// morePasses bounds the walks after the first: a tree that never comes to rest
// must not keep a run from its end.
const morePasses = 3

// master is the source that holds the lock, over all its ZooKeeper sessions:
// what it has done so far is remembered here.
type master struct {
	*client
	life      context.Context // of the process, for the walk
	id        string          // tells this master's run from others
	began     time.Time       // when this process became the master
	ledger    *ledger
	account   *account
	report    *report
	stamps    stamps
	feed      *feed   // of this pass; nil before the run has begun
	pass      int     // walks that are done
	linking   bool    // the pass for hard links has come
	over      bool    // all passes are done
	linksLost int     // groups of hard links beyond the bounds
	broken    error   // why the run could not be led to its end
	counts    *Counts // set once the clean-up has begun
}

func newMaster(life context.Context, c *client) (*master, error) {
	report, err := openReport(c.cfg.Report, c.cfg.Failed, c.tree.name(), c.base)
	if err != nil {
		return nil, err
	}
	ledger := &ledger{}
	return &master{
		client: c, life: life, id: rand.Text(), began: time.Now(),
		ledger: ledger, report: report, account: newAccount(c, ledger, report), stamps: stamps{},
	}, nil
}

func (ms *master) close() {
	if ms.feed != nil {
		ms.feed.close()
	}
}

// start is the first time as the master.
func (ms *master) start(ctx context.Context, m *member, lock *zkclient.Lock) error {
	err := ms.begin(ctx, m)
	if errors.Is(err, ErrUnclean) {
		return ms.recover(ctx, m, lock, err)
	}
	if err != nil {
		return err
	}
	ms.joined()
	return ms.lead(ctx, m, lock)
}

// resume goes on in a new ZooKeeper session. The lock of the lost one may still
// be there for a while. Somebody who got it in the meantime has cleaned up this
// run, and must not be kept waiting by a master that waits for the lock.
func (ms *master) resume(ctx context.Context, m *member, watch *readyWatch) error {
	lock := m.Lock(m.tree.lock(), "")
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	m.background(func() {
		select {
		case <-watch.gone:
			cancel()
		case <-waiting.Done():
		}
	})
	err := lock.Acquire(waiting)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case waiting.Err() != nil && ms.counts != nil:
		return ms.conclude() // it was only the last step of the clean-up that was open
	case waiting.Err() != nil:
		return m.errCleanedUp()
	case err != nil:
		return err
	}
	if ms.feed == nil { // lost before it was known that the run has begun
		return ms.start(ctx, m, lock)
	}
	return ms.lead(ctx, m, lock)
}

// lead leads the run from where it is to its end. If the master cannot go on, the
// run ends all the same: the other clients must not wait for it.
func (ms *master) lead(ctx context.Context, m *member, lock *zkclient.Lock) error {
	if ms.counts == nil {
		if err := ms.ledger.settle(ctx, m); err != nil {
			return err
		}
		if ms.broken == nil {
			err := ms.passes(ctx, m)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if errors.Is(err, zkclient.ErrSessionLost) {
				return err
			}
			if ms.broken = err; err != nil {
				ms.log.Error(err.Error() + ". The run ends here")
			}
		}
		if err := m.Multi(ctx, zkclient.OpSet(m.tree.ready(), []byte(watchStop), -1)); err != nil && !errors.Is(err, zkclient.ErrConnectionLoss) {
			return err
		}
		ms.log.Debug("watch set to stop")
		if err := ms.waitAlone(ctx, m); err != nil {
			return err
		}
	}
	return ms.cleanup(ctx, m, lock)
}

// passes works through the tree, and then, a few times, through what has
// changed in it meanwhile: a directory made after its parent was listed would
// otherwise arrive empty. The last pass is for hard links.
func (ms *master) passes(ctx context.Context, m *member) error {
	for !ms.over {
		if err := ms.work(ctx, m); err != nil {
			return err
		}
		if ms.over = ms.over || ms.linking; ms.over {
			return nil
		}
		next, err := ms.nextPass(ctx, m)
		if err != nil {
			return err
		}
		ms.feed.close()
		if ms.over = next == nil; !ms.over {
			ms.feed = newFeed(ms.life, ms.client, ms.ledger, next)
			ms.account.nextPass()
		}
	}
	return nil
}

// nextPass gives what is to be queued now that a pass is done, nil if nothing is.
func (ms *master) nextPass(ctx context.Context, m *member) (entrySource, error) {
	changed := ms.feed.count
	ms.pass++
	again := ms.walksAgain() && (ms.pass == 1 || changed > 0)
	switch {
	case again && ms.pass > morePasses:
		ms.log.Warn(fmt.Sprintf("The source is still changing: in walk %d, the last, %d directories differed from the walk before", ms.pass, changed))
	case again:
		if ms.pass > 1 {
			ms.log.Info(fmt.Sprintf("%d directories had changed and were sent again", changed))
		}
		return ms.walkAgain, nil
	}
	entries, lost, err := ms.linkEntries(ctx, m)
	if err != nil {
		return nil, err
	}
	ms.linking = true
	ms.linksLost += lost
	if len(entries) == 0 {
		return nil, nil
	}
	ms.log.Info(fmt.Sprintf("Linking files that lie in different paths: %d more entries", len(entries)))
	return func(_ context.Context, emit func([]byte) error) error {
		for _, entry := range entries {
			if err := emit(entry); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// firstPass emits what a run is about.
func (ms *master) firstPass(ctx context.Context, emit func([]byte) error) error {
	if ms.walksAgain() {
		return ms.stamps.walk(ctx, ms.client, emit)
	}
	return ms.entries(ctx, emit)
}

func (ms *master) walkAgain(ctx context.Context, emit func([]byte) error) error {
	return ms.stamps.walk(ctx, ms.client, emit)
}

// begin makes the nodes of a new run; ErrUnclean if those of an earlier one are
// there.
func (ms *master) begin(ctx context.Context, m *member) error {
	ours, err := ms.started(ctx, m)
	if err != nil {
		return err
	}
	if !ours {
		if err := ms.prepare(ctx, m); err != nil {
			return err
		}
	}
	stat, ok, err := m.Exists(ctx, m.tree.ready())
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("cannot find the session just started: %s is gone", m.tree.ready()))
	}
	first := meta{Format: metaFormat, ID: ms.id, Epoch: stat.Czxid}
	if _, err := m.Set(ctx, m.tree.meta(), first.encode(), -1); err != nil {
		return err
	}
	ms.epoch.Store(stat.Czxid)
	ms.feed = newFeed(ms.life, ms.client, ms.ledger, ms.firstPass)
	ms.feed.finished = "pathqueue building finished"
	return nil
}

// started tells whether this master's run has begun already, which the lost
// reply of an earlier ZooKeeper session may have kept from it; ErrUnclean if
// another run has.
func (ms *master) started(ctx context.Context, m *member) (bool, error) {
	_, ok, err := m.Exists(ctx, m.tree.ready())
	if err != nil || !ok {
		return false, err
	}
	var state meta
	data, _, err := m.Get(ctx, m.tree.meta())
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return false, err
	}
	if err == nil && json.Unmarshal(data, &state) == nil && state.ID == ms.id {
		return true, nil
	}
	return false, fmt.Errorf("%w: %w", ErrUnclean, refusal(fmt.Sprintf("watchnode %s already exists!", m.tree.ready())))
}

// prepare removes what an earlier run has left, makes the queues, and begins:
// the watch node and S/meta in one transaction.
func (ms *master) prepare(ctx context.Context, m *member) error {
	if ms.walksAgain() {
		if err := pathbuilder.Check(ctx, ms.walkOptions()); err != nil {
			return err
		}
	} else if ms.cfg.PathsFrom != "" {
		if _, _, err := readEntries(ms.cfg.PathsFrom, ms.base); err != nil {
			return err
		}
	}
	ms.log.Info("removing old queue and building new queue")
	for _, path := range m.tree.ofRun() {
		if err := m.DeleteTree(ctx, path); err != nil {
			return err
		}
	}
	for _, path := range []string{
		m.tree.pathQueue(), m.tree.extQueue(), m.tree.completedQueue(),
		m.tree.failedQueue(), m.tree.outputQueue(), m.tree.destQueue(),
	} {
		if err := m.Queue(path).Ensure(ctx); err != nil {
			return err
		}
	}
	for _, path := range []string{m.tree.results(), path.Dir(m.tree.ready())} {
		if err := m.EnsurePath(ctx, path); err != nil {
			return err
		}
	}
	if err := m.makeBudget(ctx); err != nil {
		return err
	}
	for {
		err := m.Multi(ctx,
			zkclient.OpCreate(m.tree.ready(), []byte(watchStart), zkclient.Persistent),
			zkclient.OpCreate(m.tree.meta(), meta{Format: metaFormat, ID: ms.id}.encode(), zkclient.Persistent))
		if errors.Is(err, zkclient.ErrConnectionLoss) || errors.Is(err, zkclient.ErrNodeExists) {
			ours, err := ms.started(ctx, m)
			if ours || err != nil {
				return err
			}
			continue
		}
		return err
	}
}

// recover is what a single source does with a run that was not finished: it
// cleans up, so that the next start finds nothing in its way. With others
// around it touches nothing. It returns unclean in any case but a failure.
func (ms *master) recover(ctx context.Context, m *member, lock *zkclient.Lock, unclean error) error {
	clients, err := m.all.Count(ctx)
	if err != nil {
		return fmt.Errorf("cannot count the clients of the session: %w", err)
	}
	if clients > 1 {
		if err := lock.Release(ctx); err != nil {
			return fmt.Errorf("cannot release the master's lock: %w", err)
		}
		return fmt.Errorf("%w There are %d other clients: end them all, wait until ZooKeeper has seen them gone (10 s), then start one source alone to clean up", unclean, clients-1)
	}
	if err := ms.adopt(ctx, m); err != nil {
		return err
	}
	if err := ms.cleanup(ctx, m, lock); err != nil && !errors.Is(err, ErrIncomplete) {
		return err
	}
	return fmt.Errorf("%w It has been cleaned up: start the session again", unclean)
}

// adopt takes over what is known of the run of another master, so that it can be
// cleaned up; a Python one has left nothing.
func (ms *master) adopt(ctx context.Context, m *member) error {
	stat, _, err := m.Exists(ctx, m.tree.ready())
	if err != nil {
		return err
	}
	ms.epoch.Store(stat.Czxid)
	if _, _, ok, err := m.readMeta(ctx); err != nil {
		return err
	} else if !ok {
		// What is in S/extQueue is of yet another run, whose clean-up did not know it.
		for _, path := range []string{m.tree.extQueue(), m.tree.results(), m.tree.links()} {
			if err := m.DeleteTree(ctx, path); err != nil {
				return err
			}
		}
		if err := m.DeleteTree(ctx, m.tree.meta()); err != nil {
			return err
		}
		first := meta{Format: metaFormat, ID: ms.id, Epoch: stat.Czxid}
		if _, err := m.Create(ctx, m.tree.meta(), first.encode(), zkclient.Persistent); err != nil {
			return err
		}
	}
	return ms.ledger.settle(ctx, m)
}

// work queues the tree and returns when all of it is queued and every queue of
// paths is empty, entries in work included, or when what is left is stranded. It
// logs the progress meanwhile.
func (ms *master) work(ctx context.Context, m *member) error {
	fed := make(chan error, 1)
	m.background(func() { fed <- ms.feed.run(ctx, m) })
	progress, stranded := newProgress(ms.client), &stranded{client: ms.client}
	tick := time.NewTicker(ms.cfg.Timing.Poll)
	defer tick.Stop()
	for walking := true; ; {
		total := ms.ledger.now().Queued
		paths, ext, err := remaining(ctx, m)
		if err != nil {
			return err
		}
		left := paths + ext
		if err := ms.account.drain(ctx, m); err != nil { // after the look at the queues: all that left them
			return err
		}
		done := left == 0 && !walking
		if !done {
			if ms.over, err = stranded.giveUp(ctx, m, ext, paths == 0 && !walking); err != nil {
				return err
			}
			done = ms.over
		}
		if err := progress.show(ctx, m, left, total, ms.ledger.now().Ended.Failed, done); err != nil {
			return err
		}
		if done {
			return nil
		}
		select {
		case err := <-fed:
			if err != nil {
				return err
			}
			walking, fed = false, nil
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// remaining counts the entries of the path queues: those for every source, and
// those for Go sources only.
func remaining(ctx context.Context, m *member) (paths, ext int, err error) {
	if paths, err = m.Queue(m.tree.pathQueue()).Len(ctx); err == nil {
		ext, err = m.Queue(m.tree.extQueue()).Len(ctx)
	}
	return paths, ext, err
}

// waitAlone returns when all other clients have left.
func (ms *master) waitAlone(ctx context.Context, m *member) error {
	for since := time.Now(); ; {
		n, err := m.all.Count(ctx)
		if err != nil {
			return fmt.Errorf("cannot count the clients of the session: %w", err)
		}
		if n <= 1 {
			return nil
		}
		if time.Since(since) >= ms.cfg.Timing.Leave {
			names, err := m.all.Members(ctx)
			if err != nil {
				return fmt.Errorf("cannot read the clients of the session: %w", err)
			}
			ms.log.Warn(fmt.Sprintf("The run is over, still waiting for %d clients to leave: %s", n-1, others(names, ms.whoami)))
			since = time.Now()
		}
		if !sleep(ctx, ms.cfg.Timing.Poll) {
			return context.Cause(ctx)
		}
	}
}
