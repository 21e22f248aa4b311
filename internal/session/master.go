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
	slave     *slave // works beside leading; nil: not
	stamps    stamps
	deeper    map[string]bool // directories whose entries were cut
	splitter  *splitter
	leftovers [][]byte // entries about what is to be deleted in directories that are sent in ranges
	feed      *feed    // of this pass; nil before the run has begun
	pass      int      // walks that are done
	walked    bool     // this pass is a walk
	changed   int      // entries of the last walk
	linking   bool     // the pass for hard links has come
	over      bool     // all passes are done
	linksLost int      // groups of hard links beyond the bounds
	broken    error    // why the run could not be led to its end
	counts    *Counts  // set once the clean-up has begun
	again     int      // failures that the clean-up found queued again
}

func newMaster(life context.Context, c *client) (*master, error) {
	report, err := openReport(c.cfg.Report, c.cfg.Failed, c.tree.name(), c.base, c.log)
	if err != nil {
		return nil, err
	}
	ledger := &ledger{}
	ms := &master{
		client: c, life: life, id: rand.Text(), began: time.Now(),
		ledger: ledger, report: report, account: newAccount(c, ledger, report), stamps: stamps{}, deeper: map[string]bool{},
	}
	ms.splitter = newSplitter(ms)
	if c.cfg.Jobs > 0 {
		if ms.slave, err = newSlave(life, c); err != nil {
			return nil, err
		}
		ms.slave.leads = true
	}
	return ms, nil
}

func (ms *master) close() {
	if ms.feed != nil {
		ms.feed.close()
	}
}

// start is the first time as the master.
func (ms *master) start(ctx context.Context, m *member, lock *zkclient.Lock, watch *readyWatch) error {
	err := ms.begin(ctx, m)
	if errors.Is(err, ErrUnclean) {
		return ms.recover(ctx, m, lock, err)
	}
	if err != nil {
		return err
	}
	ms.joined()
	return ms.lead(ctx, m, lock, watch)
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
		return ms.start(ctx, m, lock, watch)
	}
	return ms.lead(ctx, m, lock, watch)
}

// lead leads the run from where it is to its end. If the master cannot go on, the
// run ends all the same: the other clients must not wait for it.
func (ms *master) lead(ctx context.Context, m *member, lock *zkclient.Lock, watch *readyWatch) error {
	if ms.counts == nil {
		if err := ms.ledger.settle(ctx, m); err != nil {
			return err
		}
		working := ms.employ(ctx, m, watch)
		if ms.broken == nil {
			err := ms.passes(ctx, m, working)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if errors.Is(err, zkclient.ErrSessionLost) {
				return err
			}
			if ms.broken = err; err != nil {
				ms.log.Error(err.Error() + ". The run ends here")
				ms.feed.close()
				if err := ms.ledger.settle(ctx, m); err != nil { // what it was about to queue may be there
					return err
				}
			}
		}
		if err := m.Multi(ctx, zkclient.OpSet(m.tree.ready(), []byte(watchStop), -1)); err != nil && !errors.Is(err, zkclient.ErrConnectionLoss) {
			return err
		}
		ms.log.Debug("watch set to stop")
		for range working { // what it has in hand
		}
		if err := ms.waitAlone(ctx, m); err != nil {
			return err
		}
	}
	return ms.cleanup(ctx, m, lock)
}

// employ lets this source work too, if it is to. The channel gives the error that
// ends that, and is closed at its end.
func (ms *master) employ(ctx context.Context, m *member, watch *readyWatch) <-chan error {
	working := make(chan error, 1)
	if ms.slave == nil {
		close(working)
		return working
	}
	m.background(func() {
		defer close(working)
		if err := ms.slave.play(ctx, m, watch); err != nil {
			working <- err
		}
	})
	return working
}

// passes works through the tree, and then, a few times, through what has
// changed in it meanwhile: a directory made after its parent was listed would
// otherwise arrive empty. The last pass is for hard links.
func (ms *master) passes(ctx context.Context, m *member, working <-chan error) error {
	for !ms.over {
		if err := ms.work(ctx, m, working); err != nil {
			return err
		}
		if ms.over = ms.over || ms.linking && len(ms.leftovers) == 0; ms.over {
			return nil
		}
		next, err := ms.nextPass(ctx, m)
		if err != nil {
			return err
		}
		ms.feed.close()
		if ms.over = next == nil; !ms.over {
			ms.feed = newFeed(ms.life, ms.client, ms.ledger, ms.pass, next)
			ms.account.nextPass()
		}
	}
	return nil
}

// nextPass gives what is to be queued now that a pass is done, nil if nothing is.
func (ms *master) nextPass(ctx context.Context, m *member) (entrySource, error) {
	if ms.walked {
		ms.pass++
		ms.walked = false
		ms.changed = ms.feed.count
	}
	if leftovers := ms.leftovers; len(leftovers) > 0 { // the ranges have been sent
		ms.leftovers = nil
		if ms.cfg.Rsync.Delete {
			return emitAll(leftovers), nil
		}
	}
	if ms.linking {
		return nil, nil
	}
	again := ms.walksAgain() && (ms.pass == 1 || ms.changed > 0)
	switch {
	case again && ms.pass > morePasses:
		ms.log.Warn(fmt.Sprintf("The source is still changing: in walk %d, the last, %d directories differed from the walk before", ms.pass, ms.changed))
	case again:
		if ms.pass > 1 {
			ms.log.Info(fmt.Sprintf("%d directories had changed and were sent again", ms.changed))
		}
		ms.walked = true
		return ms.walk, nil
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
	return emitAll(entries), nil
}

// emitAll is a source of the entries given.
func emitAll(entries [][]byte) entrySource {
	return func(_ context.Context, emit func([]byte) error) error {
		for _, entry := range entries {
			if err := emit(entry); err != nil {
				return err
			}
		}
		return nil
	}
}

// firstPass is what a run is about.
func (ms *master) firstPass(ctx context.Context, emit func([]byte) error) error {
	if ms.walksAgain() {
		return ms.walk(ctx, emit)
	}
	return ms.entries(ctx, emit)
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
	if err := ms.account.look(ctx, m); err != nil {
		return err
	}
	ms.walked = ms.walksAgain()
	ms.feed = newFeed(ms.life, ms.client, ms.ledger, ms.pass, ms.firstPass)
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
		if err := ms.chooseDepth(ctx); err != nil {
			return err
		}
		if err := pathbuilder.Check(ctx, ms.walkOptions()); err != nil {
			return err
		}
	} else if ms.cfg.PathsFrom != "" {
		file, err := readEntries(ms.cfg.PathsFrom, ms.base)
		if err != nil {
			return err
		}
		ms.leftovers = file.leftovers
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
	for _, path := range []string{m.tree.results(), m.tree.split(), m.tree.wanted(), m.tree.idle(), path.Dir(m.tree.ready())} {
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
		for _, path := range []string{m.tree.extQueue(), m.tree.results(), m.tree.links(), m.tree.split()} {
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
func (ms *master) work(ctx context.Context, m *member, working <-chan error) (err error) {
	feeding, stop := context.WithCancel(ctx)
	fed := make(chan error, 1)
	m.background(func() {
		defer close(fed)
		fed <- ms.feed.run(feeding, m)
	})
	defer func() {
		stop()
		for range fed { // nothing is queued any more
		}
	}()
	progress, stranded := newProgress(ms.client), &stranded{client: ms.client}
	ended := fed
	for walking := true; ; {
		total := ms.ledger.now().Queued
		left, err := remaining(ctx, m)
		if err != nil {
			return err
		}
		if err := ms.account.drain(ctx, m); err != nil { // after the look at the queues: all that left them
			return err
		}
		done := left.total() == 0 && !walking
		if !done {
			if ms.over, err = stranded.giveUp(ctx, m, left.ext, left.paths+left.split == 0 && !walking); err != nil {
				return err
			}
			done = ms.over
		}
		if err := progress.show(ctx, m, left.total(), total, ms.ledger.now().Ended.Failed, done); err != nil {
			return err
		}
		if done {
			return nil
		}
		if !walking {
			if err := ms.splitter.step(ctx, m); err != nil {
				return err
			}
		}
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			walking, ended = false, nil
		case err, more := <-working:
			if more {
				return err
			}
			working = nil
		case <-time.After(ms.poll()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// poll is how long to wait between two looks: short runs are over at once, and
// long ones cost little.
func (ms *master) poll() time.Duration {
	return max(10*time.Millisecond, min(time.Since(ms.began)/32, ms.cfg.Timing.Poll))
}

// backlog is what has not ended.
type backlog struct {
	paths int // for every source
	ext   int // for Go sources only
	split int // with the master, to be cut
}

func (b backlog) total() int { return b.paths + b.ext + b.split }

// remaining counts the entries of the path queues. What is cut meanwhile is
// counted twice rather than not at all.
func remaining(ctx context.Context, m *member) (left backlog, err error) {
	if left.paths, err = m.Queue(m.tree.pathQueue()).Len(ctx); err != nil {
		return left, err
	}
	if left.ext, err = m.Queue(m.tree.extQueue()).Len(ctx); err != nil {
		return left, err
	}
	stat, _, err := m.Exists(ctx, m.tree.split())
	left.split = int(stat.NumChildren)
	return left, err
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
		if !sleep(ctx, ms.poll()) {
			return context.Cause(ctx)
		}
	}
}
