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
	"time"

	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// morePasses bounds the walks after the first: a tree that never comes to rest must not keep a session
// from its end.
const morePasses = 3

// Leader leads a session, over all its ZooKeeper sessions: what it has done so far is remembered here.
type Leader struct {
	client *member.Client
	base   *guard.Base
	cfg    Config
	asked  Asked
	work   Work
	life   context.Context // of the process, for the walk
	id     string          // tells this leader's session from others
	began  time.Time

	ledger    *ledger
	report    *report
	clients   *clients
	bandwidth bandwidth
	account   *account
	survey    *survey
	queues    queues
	splitter  *splitter
	judge     *judge
	list      *pathsFile // what PathsFrom holds; nil: not read yet
	feed      *feed      // of this pass; nil before the session has begun

	pass      int             // walks that are done
	walked    bool            // this pass is a walk
	changed   int             // entries of the last walk
	linking   bool            // the pass for hard links has come
	over      bool            // all passes are done
	linksLost int             // groups of hard links beyond the bounds
	notes     map[string]bool // of hard links, that cannot be read and were told of
	broken    error           // why the session could not be led to its end
	counts    *wire.Counts    // set once the clean-up has begun
	again     int             // failures that the clean-up found queued again
	foreign   int             // paths that the clean-up found in a queue, and nobody had queued
	cleaner   string          // who cleans up the run of another leader; "": it is this one's

	ending context.Context // ended: the run is to end before its work is done
	end    context.CancelCauseFunc
	mu     sync.Mutex // guards what follows
	exists bool       // there is a run to be ended
}

// ErrLives says that a run has a leader, which was not connected for a while.
var ErrLives = errors.New("the run has a master, which has connected again")

// New makes the leader of a session that has not begun. Life is the process's context; work is its own
// jobs, nil if it only leads.
func New(life context.Context, client *member.Client, base *guard.Base, cfg Config, asked Asked, work Work) (*Leader, error) {
	cfg = cfg.withDefaults()
	report, err := openReport(cfg.Report, cfg.Failed, client.Tree.Name(), base.Dir, client.Log)
	if err != nil {
		return nil, err
	}
	l := &Leader{
		client: client, base: base, cfg: cfg, asked: asked, work: work, life: life, id: rand.Text(), began: time.Now(),
		ledger: &ledger{}, report: report, queues: queues{base: base.Dir, all: cfg.Lines > 0},
	}
	l.ending, l.end = context.WithCancelCause(context.Background())
	l.clients = &clients{works: work != nil, unknown: l.unknownToPython(), log: client.Log}
	l.account = newAccount(l.ledger, report, l.clients, l.queues, base, asked.Rsync.Verify, client.Log)
	// Only Go sources can send ranges; and the rules of a user's own options mean something else for files
	// that are listed one by one.
	l.survey = newSurvey(base, cfg, func() bool { return l.clients.goSources.Load() && !asked.Rsync.HasRules() }, client.Timing.PathCheck, client.Log)
	l.judge = &judge{ledger: l.ledger, account: l.account, aside: map[string]bool{}, suspect: map[string]time.Time{}}
	l.splitter = newSplitter(l.ledger, l.account, l.survey, l.queues, cfg.walksAgain(), client.Log)
	return l, nil
}

func (l *Leader) log() *slog.Logger { return l.client.Log }

// End has the run ended before its work is done, for a cause: the other clients give back what they
// have, and leave, what is unfinished is told, and all is cleaned up. False if no run has begun; then
// none will.
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
	return l.lead(ctx, m, lock, ready)
}

// Resume goes on in a new ZooKeeper session. The lock of the lost one may still be there for a while.
// A source that has got it in the meantime gives it back when it sees whose place in the line this is.
// If it has cleaned up this session instead, it must not be kept waiting by a leader that waits for the
// lock.
func (l *Leader) Resume(ctx context.Context, m *member.Member, ready *member.Ready) error {
	lock := m.ZK.Lock(m.Tree.Lock(), l.id)
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	m.Background(func() {
		defer cancel()
		select {
		case <-ready.Gone:
			return
		case <-l.ending.Done():
		case <-waiting.Done():
			return
		}
		_ = zkclient.Sleep(waiting, m.Client.Timing.Ending)
	})
	err := lock.Acquire(waiting)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case waiting.Err() != nil && l.counts != nil:
		return l.conclude() // only the last step of the clean-up was open
	case waiting.Err() != nil && l.ending.Err() != nil:
		return l.lost(fmt.Errorf("%w, and another client has the master's lock: start one source to clean up", context.Cause(l.ending)))
	case waiting.Err() != nil:
		return l.lost(m.Client.Ended())
	case err != nil:
		return err
	}
	if l.feed == nil { // lost before it was known that the session has begun
		return l.Start(ctx, m, lock, ready)
	}
	return l.lead(ctx, m, lock, ready)
}

// lead leads the session from where it is to its end. If the leader cannot go on, the session ends all the
// same: the other clients must not wait for it.
func (l *Leader) lead(ctx context.Context, m *member.Member, lock *zkclient.Lock, ready *member.Ready) error {
	if l.counts == nil {
		if err := l.run(ctx, m, ready); err != nil || l.counts != nil {
			return err
		}
	}
	return l.cleanup(ctx, m, lock)
}

// run does the work of the session, and returns when all others have left.
func (l *Leader) run(ctx context.Context, m *member.Member, ready *member.Ready) error {
	if err := l.ledger.settle(ctx, m); err != nil {
		return l.unsettled(m, err)
	}
	defer l.bandwidth.begin(ctx, m)()
	working := l.employ(ctx, m, ready)
	if l.broken == nil {
		err := l.through(ctx, m, ready, working)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, zkclient.ErrSessionLost) {
			return err
		}
		if l.broken = err; err != nil {
			l.log().Error(err.Error()+". The run ends here", "event", "broken", "error", err)
			l.feed.close()
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
	err := l.passes(passing, m, working)
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

// lost is the end of a leader whose session is not there any more: it tells what it knows.
func (l *Leader) lost(err error) error {
	l.broken = err
	l.countUnfinished(0)
	l.tellMissing()
	return l.conclude()
}

// stop tells all clients that the session is over, and how. Where the node that tells it is gone they
// know already.
func (l *Leader) stop(ctx context.Context, m *member.Member) error {
	end := wire.Done
	if l.broken != nil && (l.ending.Err() != nil || l.client.Ended() != nil) {
		end = fmt.Sprintf("%v (%s)", l.broken, l.client.Whoami)
	}
	err := l.ledger.update(ctx, m, func(meta *wire.Meta) { meta.End = end }, zkclient.OpSet(m.Tree.Ready(), []byte(wire.Stop), -1))
	switch {
	case err == nil:
		l.log().Debug("watch set to stop")
		return nil
	case ctx.Err() != nil || errors.Is(err, zkclient.ErrSessionLost):
		return err
	case !errors.Is(err, zkclient.ErrNoNode): // that all others know
		l.log().Warn(fmt.Sprintf("%v; the run is ended by removing %s", err, m.Tree.Ready()), "event", "foreign", "znode", m.Tree.Ready())
	}
	return l.bury(ctx, m)
}

// bury removes the watch node, and leaves a note about how the session has ended for those who are not
// connected now.
func (l *Leader) bury(ctx context.Context, m *member.Member) error {
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

// passes works through the tree, and then, a few times, through what has changed in it meanwhile: a
// directory made after its parent was listed would otherwise arrive empty. The last pass is for hard links.
func (l *Leader) passes(ctx context.Context, m *member.Member, working <-chan error) error {
	for !l.over {
		if err := l.onePass(ctx, m, working); err != nil {
			return err
		}
		if l.over {
			return nil
		}
		next, err := l.nextPass(ctx, m)
		if err != nil {
			return err
		}
		l.feed.close()
		if l.over = next == nil; !l.over {
			l.feed = l.newFeed(next)
			l.account.nextPass()
		}
	}
	return nil
}

func (l *Leader) newFeed(source taskSource) *feed {
	return &feed{life: l.life, ledger: l.ledger, queues: l.queues, window: l.cfg.Window, pass: l.pass, source: source}
}

// nextPass gives what is to be queued now that a pass is done, nil if nothing is.
func (l *Leader) nextPass(ctx context.Context, m *member.Member) (taskSource, error) {
	if l.cfg.Lines == 0 {
		if err := l.base.Await(ctx, l.log(), l.client.Timing.PathCheck, l.base.Problem); err != nil {
			return nil, err
		}
	}
	if l.walked {
		if l.survey.takeDisturbed() {
			l.log().Warn("The base path was away during a walk: it is walked again", "event", "walk-again", "path", wire.Text(l.base.Dir))
			return l.laterWalk, nil
		}
		l.pass++
		l.walked = false
		l.changed = l.feed.count
	}
	if leftovers := l.survey.takeLeftovers(); len(leftovers) > 0 && l.asked.Rsync.Delete { // the ranges have been sent
		return emitAll(leftovers), nil
	}
	if l.linking {
		return nil, nil
	}
	again := l.cfg.walksAgain() && (l.pass == 1 || l.changed > 0)
	switch {
	case again && l.pass > morePasses:
		l.log().Warn(fmt.Sprintf("The source is still changing: in walk %d, the last, %d directories differed from the walk before", l.pass, l.changed),
			"event", "still-changing", "walk", l.pass, "changed", l.changed)
	case again:
		if l.pass > 1 {
			l.log().Info(fmt.Sprintf("%d directories had changed and were sent again", l.changed), "event", "changed-again", "walk", l.pass, "changed", l.changed)
		}
		l.walked = true
		return l.laterWalk, nil
	}
	tasks, lost, err := l.linkTasks(ctx, m, true)
	if err != nil {
		return nil, err
	}
	l.linking = true
	l.linksLost += lost
	if len(tasks) == 0 {
		return nil, nil
	}
	l.log().Info(fmt.Sprintf("Linking files that lie in different paths: %d more entries", len(tasks)), "event", "linking", "entries", len(tasks))
	return emitAll(tasks), nil
}

// onePass queues what the pass is about and returns when all of it is queued and every queue of paths is
// empty, entries in work included, or when what is left is stranded. It logs the progress meanwhile.
func (l *Leader) onePass(ctx context.Context, m *member.Member, working <-chan error) (err error) {
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
		total := l.ledger.now().Queued
		left, err := m.Backlog(ctx)
		if err != nil {
			return err
		}
		settled, err := l.account.drain(ctx, m, false) // after the look at the queues: all that left them
		if err != nil {
			return err
		}
		if left, err = l.judge.watch(ctx, m, left); err != nil {
			return err
		}
		if most := l.cfg.MaxFailures; most > 0 && l.ledger.now().Ended.Failed >= most {
			return fmt.Errorf("cannot go on: %d paths have failed, as many as --max-failures allows", l.ledger.now().Ended.Failed)
		}
		sent := left.Total() == 0 && settled && !walking
		if sent {
			if err := l.account.durable.ask(ctx, m); err != nil {
				return err
			}
		}
		done := sent && !l.account.durable.open()
		if !done {
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
			if err := l.splitter.step(ctx, m); err != nil {
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
