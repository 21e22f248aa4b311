// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vsc-zk/internal/level"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Leader leads a session, over all its ZooKeeper sessions. What another leader would have to know is in
// S/meta and the notes beside it (ledger.go); here is only what can be had again by reading.
type Leader struct {
	client *member.Client
	base   *guard.Base
	cfg    Config
	asked  Asked
	work   Work
	life   context.Context // of the process, for the walk
	id     string          // tells this leader from others
	began  time.Time       // when the session did

	ledger    *ledger
	report    *report
	clients   *clients
	bandwidth bandwidth
	steering  *member.Steering // in the ZooKeeper session of now
	order     *order           // under way
	requeuing []wire.Task      // what has failed and is still to be queued again
	skips     *skips
	observer  *observer
	flushing  atomic.Int64 // paths that were sent and wait until their destination has flushed them
	account   *account
	survey    *survey
	queues    queues
	splitter  *splitter
	judge     *judge
	list      *pathsFile // what PathsFrom holds; nil: not read yet
	changed   *changes   // what Changed holds; nil: not read yet
	feed      *feed      // of this phase; nil: it is not begun

	over      bool            // what is left is given up
	notes     map[string]bool // of hard links, that cannot be read and were told of
	broken    error           // why the session could not be led to its end
	counts    *wire.Counts    // set once the clean-up has begun
	again     int             // failures that the clean-up found queued again
	foreign   int             // paths that the clean-up found in a queue, and nobody had queued
	cleaner   string          // who cleans up the run of another leader; "": it is this one's
	held      bool            // what was kept back for the hard links is counted
	suspended bool            // the run stays as it is
	concluded bool            // the account is told
	result    error           // of the session, once it is

	ending context.Context // ended: the run is to end before its work is done
	end    context.CancelCauseFunc
	mu     sync.Mutex // guards what follows
	exists bool       // there is a run to be ended
}

// ErrLives says that a run has another leader.
var ErrLives = errors.New("the run has another master")

// New makes the leader of a session that has not begun. Life is the process's context; work is its own
// jobs, nil if it only leads.
func New(life context.Context, client *member.Client, base *guard.Base, cfg Config, asked Asked, work Work) *Leader {
	cfg = cfg.withDefaults()
	l := &Leader{
		client: client, base: base, cfg: cfg, asked: asked, work: work, life: life, id: rand.Text(), began: time.Now(),
		ledger: newLedger(client.Tree), report: &report{failed: cfg.Failed, log: client.Log},
	}
	l.queues = queues{base: base.Dir, all: cfg.Lines > 0, ledger: l.ledger}
	l.ending, l.end = context.WithCancelCause(context.Background())
	l.clients = &clients{works: work != nil, unknown: l.unknownToPython(), log: client.Log}
	l.observer = &observer{works: work != nil, log: client.Log}
	l.account = newAccount(l.ledger, l.report, l.clients, l.queues, base, asked.Rsync.Verify, client.Log)
	l.skips = &skips{base: base, told: map[string]bool{}}
	// Only Go sources can send ranges; and the rules of a user's own options mean something else for files
	// that are listed one by one.
	l.survey = newSurvey(base, cfg, func() bool { return l.clients.goSources.Load() && !asked.Rsync.HasRules() }, client.Timing.PathCheck, client.Log)
	l.survey.skips = l.skips
	l.judge = &judge{ledger: l.ledger, account: l.account, aside: map[string]bool{}, suspect: map[string]time.Time{}}
	l.splitter = newSplitter(l.ledger, l.account, l.survey, l.queues, client.Tree, l.leavesOver, cfg.walksAgain(), client.Log)
	l.splitter.skips = l.skips
	return l
}

func (l *Leader) log() *slog.Logger { return l.client.Log }

// End has this leader end before the work is done, for a cause: it hands the run over to a source that
// stands by. With none, the other clients give back what they have, and leave, what is unfinished is
// told, and the run stays for whoever goes on with it. False if no run has begun; then none will.
func (l *Leader) End(cause error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(cause)
	return l.exists
}

// Begun tells whether there is a run of this leader's, or one that it cleans up.
func (l *Leader) Begun() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.exists
}

// commit says that there is a run from now on; an error if there is to be none.
func (l *Leader) commit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending.Err() != nil {
		return context.Cause(l.ending)
	}
	l.exists = true
	return nil
}

// Close ends what goes on over lost ZooKeeper sessions.
func (l *Leader) Close() {
	l.end(nil)
	if l.feed != nil {
		l.feed.close()
	}
	if l.changed != nil {
		l.changed.file.Close()
	}
	l.report.leave()
}

// Start is the first time as the leader, with the lock just acquired.
func (l *Leader) Start(ctx context.Context, m *member.Member, lock *zkclient.Lock, ready *member.Ready) error {
	err := l.begin(ctx, m)
	if errors.Is(err, ErrUnclean) {
		return l.recover(ctx, m, lock, err)
	}
	if err != nil {
		return err
	}
	l.client.Joined()
	l.log().Log(ctx, level.Notice, fmt.Sprintf("This source is the master of session %s and sends %s", wire.Text(l.client.Tree.Name()), wire.Text(l.base.Dir)), "event", "master", "path", wire.Text(l.base.Dir))
	return l.lead(ctx, m, lock, ready, l.employ(ctx, m, ready))
}

// TakeOver goes on where another leader was, with the lock just acquired. working tells how this source's
// own jobs end, which may be at work already; nil: they are still to begin.
func (l *Leader) TakeOver(ctx context.Context, m *member.Member, lock *zkclient.Lock, ready *member.Ready, working <-chan error) error {
	if err := l.commit(); err != nil {
		return err
	}
	if err := l.load(ctx, m); err != nil {
		return err
	}
	if err := l.remember(); err != nil {
		l.log().Error(err.Error()+"; the run goes on without", "error", err)
	}
	if err := l.claim(ctx, m); err != nil {
		return err
	}
	l.client.Joined()
	if working == nil {
		working = l.employ(ctx, m, ready)
	}
	return l.lead(ctx, m, lock, ready, working)
}

// Resume goes on in a new ZooKeeper session. The lock of the lost one may still be there for a while.
// Another source that has got it in the meantime leads now, or has cleaned up this session: then this one
// is not kept waiting for the lock.
func (l *Leader) Resume(ctx context.Context, m *member.Member, ready *member.Ready) error {
	lock := m.ZK.Lock(m.Tree.Lock(), l.id)
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.Background(func() {
		defer cancel(nil)
		select {
		case <-ready.Gone:
			return
		case <-l.ending.Done():
		case <-waiting.Done():
			return
		}
		_ = zkclient.Sleep(waiting, m.Client.Timing.Ending)
	})
	if l.Begun() {
		m.Background(func() { cancel(l.replaced(waiting, m)) })
	}
	err := lock.Acquire(waiting)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(context.Cause(waiting), ErrLives):
		return errors.Join(ErrLives, m.Unlock(ctx, lock))
	case waiting.Err() != nil && l.counts != nil:
		return l.conclude() // only the last step of the clean-up was open
	case waiting.Err() != nil && l.ending.Err() != nil:
		return l.lost(fmt.Errorf("%w, and another client has the master's lock: look whether it has taken over the run", context.Cause(l.ending)))
	case waiting.Err() != nil:
		return l.lost(m.Client.Ended())
	case err != nil:
		return err
	}
	if l.ledger.now().ID == "" { // lost before it was known that the session has begun
		return l.Start(ctx, m, lock, ready)
	}
	if l.counts == nil {
		if err := l.ledger.settle(ctx, m); err != nil {
			return l.unsettled(m, err)
		}
		if l.ledger.now().Lead != l.id { // another has led, and is gone again
			l.forget()
			return l.TakeOver(ctx, m, lock, ready, nil)
		}
	}
	return l.lead(ctx, m, lock, ready, l.employ(ctx, m, ready))
}

// replaced waits until another source leads, which then has the lock: ErrLives. Nil: it need not be waited for any more.
func (l *Leader) replaced(ctx context.Context, m *member.Member) error {
	for {
		if zkclient.Sleep(ctx, 2*m.Client.Timing.Poll) != nil { // time to get the lock if it is free
			return nil
		}
		meta, _, ok, err := m.Meta(ctx)
		if err != nil {
			return nil
		}
		if ok && meta.ID == l.ledger.now().ID && meta.Lead != l.id && meta.Lead != "" {
			return ErrLives
		}
	}
}

// lead leads the session from where it is to its end. If the leader cannot go on, the session ends all the
// same: the other clients must not wait for it.
func (l *Leader) lead(ctx context.Context, m *member.Member, lock *zkclient.Lock, ready *member.Ready, working <-chan error) error {
	if l.counts == nil {
		if err := l.run(ctx, m, ready, working); err != nil || l.counts != nil {
			return err
		}
		l.suspended = l.cutShort()
	}
	if l.suspended {
		return l.suspend(ctx, m, lock)
	}
	return l.cleanup(ctx, m, lock)
}

// run does the work of the session, and returns when all others have left.
func (l *Leader) run(ctx context.Context, m *member.Member, ready *member.Ready, working <-chan error) error {
	if err := l.ledger.settle(ctx, m); err != nil {
		return l.unsettled(m, err)
	}
	unsteered, err := l.beSteered(ctx, m)
	if err != nil {
		return err
	}
	defer unsteered()
	defer l.bandwidth.begin(ctx, m)()
	if l.broken == nil && l.ledger.now().End == "" {
		err := l.through(ctx, m, ready, working)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, zkclient.ErrSessionLost) || errors.Is(err, member.ErrRejoin) {
			return err
		}
		if err != nil && l.ending.Err() != nil && !errors.Is(err, wire.ErrHalted) {
			if handed, err := l.handOver(ctx, m); handed || err != nil {
				return err
			}
		}
		if l.broken = err; err != nil {
			l.log().Error(err.Error()+". The run ends here", "event", "broken", "error", err)
			if l.feed != nil {
				l.feed.close()
			}
			if err := l.ledger.settle(ctx, m); err != nil { // what it was about to queue may be there
				return l.unsettled(m, err)
			}
		}
	}
	if l.broken == nil {
		if err := l.account.durable.release(ctx, m); err != nil {
			return err
		}
	}
	if err := l.stop(ctx, m); err != nil {
		return err
	}
	for range working { // what it has in hand
	}
	return l.waitAlone(ctx, m)
}

// through does the work of the run until it is done, or until the run is to end before that.
func (l *Leader) through(ctx context.Context, m *member.Member, ready *member.Ready, working <-chan error) error {
	passing, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	m.Background(func() {
		select {
		case <-l.ending.Done():
			cut(context.Cause(l.ending))
		case <-ready.Broken:
			cut(m.Client.Ended())
		case <-passing.Done():
		}
	})
	unobserve, err := l.observe(passing, m)
	if err != nil {
		return err
	}
	defer unobserve()
	err = l.phases(passing, m, working)
	if err != nil && passing.Err() != nil {
		return context.Cause(passing)
	}
	return err
}

// unsettled is the end of a leader that does not find the session's state.
func (l *Leader) unsettled(m *member.Member, err error) error {
	if errors.Is(err, errNoState) {
		return l.lost(cmp.Or(m.Client.Ended(), err))
	}
	return err
}

// cutShort tells whether the run has ended before its work was done because that was asked for.
func (l *Leader) cutShort() bool {
	return l.broken != nil && (l.ending.Err() != nil || errors.Is(l.broken, wire.ErrHalted))
}

// lost is the end of a leader whose session is not there any more: it tells what it knows.
func (l *Leader) lost(err error) error {
	l.broken = err
	l.countUnfinished()
	l.tellMissing()
	return l.conclude()
}

// stop tells all clients that the session is over, and how. Where the node that tells it is gone they
// know already.
func (l *Leader) stop(ctx context.Context, m *member.Member) error {
	end := wire.Done
	switch {
	case errors.Is(l.broken, wire.ErrHalted):
		end = wire.Halted
	case l.cutShort() || l.broken != nil && l.client.Ended() != nil:
		end = fmt.Sprintf("%v (%s)", l.broken, l.client.Whoami)
	}
	err := l.ledger.update(ctx, m, func(meta *wire.Meta) { meta.End = end }, zkclient.OpSet(m.Tree.Ready(), []byte(wire.Stop), -1))
	switch {
	case err == nil:
		l.log().Debug("watch set to stop")
		return nil
	case ctx.Err() != nil || errors.Is(err, zkclient.ErrSessionLost) || errors.Is(err, member.ErrRejoin):
		return err
	case !errors.Is(err, zkclient.ErrNoNode): // that all others know
		l.log().Warn(fmt.Sprintf("%v; the run is ended by removing %s", err, m.Tree.Ready()), "event", "foreign", "znode", m.Tree.Ready())
	}
	return l.unwatch(ctx, m)
}

// bury removes the watch node and S/meta, and leaves a note about how the session has ended for those who are
// not connected now.
func (l *Leader) bury(ctx context.Context, m *member.Member) error {
	note := wire.Epitaph{Epoch: l.client.Epoch(), Cleaner: l.cleaner}.Encode()
	err := m.ZK.Settle(ctx, func(ctx context.Context) (bool, error) {
		_, found, err := m.ZK.Exists(ctx, m.Tree.Ready())
		return !found, err
	}, zkclient.OpSet(m.Tree.Ended(), note, -1), zkclient.OpDelete(m.Tree.Meta()), zkclient.OpDelete(m.Tree.Ready()))
	if err == nil || !refused(err) {
		return err
	}
	if err := l.unwatch(ctx, m); err != nil { // somebody has changed them
		return err
	}
	return l.remove(ctx, m, m.Tree.Meta())
}

// unwatch is bury without S/meta.
func (l *Leader) unwatch(ctx context.Context, m *member.Member) error {
	note := wire.Epitaph{Epoch: l.client.Epoch(), Cleaner: l.cleaner}.Encode()
	if _, err := m.ZK.Set(ctx, m.Tree.Ended(), note, -1); err != nil && !refused(err) { // else they will not know
		return fmt.Errorf("cannot note the end of the session: %w", err)
	}
	if err := m.ZK.DeleteTree(ctx, m.Tree.Ready()); err != nil {
		return fmt.Errorf("cannot clean up the session: %w", err)
	}
	return nil
}

// employ lets this source work too, if it is to. The channel gives the error that ends that, and is closed
// at its end.
func (l *Leader) employ(ctx context.Context, m *member.Member, ready *member.Ready) <-chan error {
	working := make(chan error, 1)
	if l.work == nil {
		close(working)
		return working
	}
	m.Background(func() {
		defer close(working)
		if err := l.work(ctx, m, ready); err != nil {
			working <- err
		}
	})
	return working
}

// onePhase queues what the phase is about and returns when all of it is queued and every queue of paths is
// empty, entries in work included, or when what is left is stranded. It logs the progress meanwhile.
func (l *Leader) onePhase(ctx context.Context, m *member.Member, working <-chan error) (err error) {
	feeding, stop := context.WithCancel(ctx)
	fed := make(chan error, 1)
	m.Background(func() {
		defer close(fed)
		fed <- l.feed.run(feeding, m)
	})
	defer func() {
		stop()
		for range fed { // nothing is queued any more
		}
	}()
	progress, stranded := newProgress(l.work != nil), &stranded{works: l.work != nil}
	ended := fed
	for walking := true; ; {
		control, _, steered := l.steering.Now()
		total := l.ledger.now().Queued
		left, err := m.Backlog(ctx)
		if err != nil {
			return err
		}
		settled, err := l.account.drain(ctx, m, false) // after the look at the queues: all that left them
		if err != nil {
			return err
		}
		l.flushing.Store(int64(l.account.durable.paths()))
		if left, err = l.judge.watch(ctx, m, left); err != nil {
			return err
		}
		if most := l.cfg.MaxFailures; most > 0 && l.ledger.now().Ended.Failed >= most {
			return fmt.Errorf("cannot go on: %d paths have failed, as many as --max-failures allows", l.ledger.now().Ended.Failed)
		}
		if err := l.steer(ctx, m, left.Total()); err != nil {
			return err
		}
		sent := left.Total() == 0 && settled && !walking
		if control.Stop {
			if sent, err = l.quiet(ctx, m); err != nil {
				return err
			}
			sent = sent && settled
		}
		if sent {
			if err := l.account.durable.ask(ctx, m); err != nil {
				return err
			}
		}
		done := sent && !l.account.durable.open()
		if control.Stop && done {
			return wire.ErrHalted
		}
		if done = done && !control.Held(); !done {
			if l.over, err = stranded.giveUp(ctx, m, left.Ext, left.Paths+left.Split == 0 && !walking); err != nil {
				return err
			}
			done = l.over
		}
		if err := progress.show(ctx, m, left.Total()+l.account.durable.paths(), total, l.ledger.now().Ended.Failed, done); err != nil {
			return err
		}
		if done {
			return nil
		}
		if !walking {
			if err := l.splitter.step(ctx, m, control.Held()); err != nil {
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
		case <-steered:
		case <-time.After(min(l.poll(), l.account.durable.soon())):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// poll is how long to wait between two looks: short sessions are over at once, and long ones cost little.
func (l *Leader) poll() time.Duration {
	return max(10*time.Millisecond, min(time.Since(l.began)/32, l.client.Timing.Poll))
}

// waitAlone returns when all other clients have left, or should have long ago.
func (l *Leader) waitAlone(ctx context.Context, m *member.Member) error {
	all := m.Party(wire.PartyAll)
	began := time.Now()
	for since := began; ; {
		n, err := all.Count(ctx)
		if err != nil {
			return fmt.Errorf("cannot count the clients of the session: %w", err)
		}
		if n <= 1 {
			return nil
		}
		if time.Since(began) >= l.client.Timing.Ghost {
			l.log().Warn(fmt.Sprintf("%d clients do not leave: the clean-up goes on without them", n-1), "event", "ghosts", "count", n-1)
			return nil
		}
		if time.Since(since) >= l.client.Timing.Leave {
			names, err := all.Members(ctx)
			if err != nil {
				return fmt.Errorf("cannot read the clients of the session: %w", err)
			}
			names = slices.DeleteFunc(names, func(n string) bool { return n == l.client.Whoami })
			slices.Sort(names)
			l.log().Warn(fmt.Sprintf("The run is over, still waiting for %d clients to leave: %s", n-1, strings.Join(names, ", ")), "event", "waiting-for-clients", "clients", names)
			since = time.Now()
		}
		if err := zkclient.Sleep(ctx, l.poll()); err != nil {
			return err
		}
	}
}
