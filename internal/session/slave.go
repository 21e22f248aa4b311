// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/zkclient"
)

// retryPriority puts a path that its slave could not work on before the others.
const retryPriority = 50

// slave is a source that runs rsync, over all its ZooKeeper sessions.
type slave struct {
	*client
	guard  *guard
	blamed map[string]int // failures of destinations at a path

	deleted int // entries, for paths that were given back

	mu    sync.Mutex
	stats rsyncrunner.Stats // not yet added to the session's counters
}

func newSlave(ctx context.Context, c *client) (*slave, error) {
	g, err := newGuard(ctx, c)
	if err != nil {
		return nil, err
	}
	return &slave{client: c, guard: g, blamed: map[string]int{}, stats: rsyncrunner.Stats{}}, nil
}

// play works on paths until the run is over.
func (s *slave) play(ctx context.Context, m *member, watch *readyWatch) error {
	s.joined()
	select {
	case <-watch.stopped:
		return s.ended(watch)
	case <-watch.started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Waiting for work ends with the run; work in hand does not.
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	m.background(func() {
		select {
		case <-watch.stopped:
			cancel()
		case <-waiting.Done():
		}
	})
	flushed := make(chan struct{})
	m.background(func() {
		defer close(flushed)
		s.flushStats(ctx, waiting, m)
	})
	m.background(func() { s.missMaster(waiting, m) })

	turn := &turn{
		slave: s, m: m, dests: newDests(m, waiting), waiting: waiting, extOpen: m.extOpen(waiting),
		paths: m.Queue(m.tree.pathQueue()), ext: m.Queue(m.tree.extQueue()),
	}
	for {
		err := turn.next(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case waiting.Err() != nil:
			if err != nil && !errors.Is(err, context.Canceled) {
				s.log.Warn(err.Error())
			}
			<-flushed
			return errors.Join(s.addStats(ctx, m), s.ended(watch))
		case err != nil:
			return err
		}
	}
}

// ended is the end of the run as a slave sees it.
func (s *slave) ended(watch *readyWatch) error {
	select {
	case <-watch.gone:
		s.log.Warn("The run was cleaned up by another source")
	default:
		s.log.Debug("the run is over")
	}
	return nil
}

// missMaster warns of a run that has lost its master: its slaves finish the
// queue, but nobody ends it.
func (s *slave) missMaster(ctx context.Context, m *member) {
	for sleep(ctx, s.cfg.Timing.Leave) {
		contenders, err := m.Children(ctx, m.tree.lock())
		if err == nil && len(contenders) == 0 {
			s.log.Warn("This run has no master any more. Its paths will be sent; to end it stop all clients, then start one source alone")
		}
	}
}

// turn is a slave's work in one ZooKeeper session.
type turn struct {
	*slave
	m       *member
	dests   *dests
	waiting context.Context // ends when the run is over
	paths   *zkclient.Queue
	ext     *zkclient.Queue
	extOpen <-chan struct{} // closed: the master knows the extensions, and ext is of this run
}

// next waits for the base path, a destination and a path, and works on that.
func (t *turn) next(ctx context.Context) error {
	if !t.waitBase() {
		return nil
	}
	if _, err := t.dests.get(t.waiting); err != nil {
		return err
	}
	w, err := t.take(t.waiting)
	if err != nil {
		return err
	}
	return t.handle(ctx, w)
}

// waitBase waits until the base path is as it should be; false if the run ended
// first.
func (t *turn) waitBase() bool {
	for {
		problem := t.baseProblem()
		if problem == nil {
			return true
		}
		t.dests.release() // others can use it meanwhile
		t.log.Warn(problem.Error() + ", waiting")
		for wait := t.cfg.Timing.NoPath; wait > 0 && t.baseProblem() != nil; wait -= t.cfg.Timing.PathCheck {
			if !sleep(t.waiting, t.cfg.Timing.PathCheck) {
				return false
			}
		}
	}
}

// work is a path this slave has taken.
type work struct {
	*zkclient.Entry
	queue *zkclient.Queue // where it was taken
}

// name is the path as log lines show it.
func (w work) name() string { return printable(string(w.Value)) }

// take waits for a path in one of the two queues until ctx ends.
func (t *turn) take(ctx context.Context) (work, error) {
	queues := []*zkclient.Queue{t.paths}
	select {
	case <-t.extOpen:
		queues = append(queues, t.ext)
	default:
	}
	for _, queue := range queues {
		if entry, err := queue.TryTake(ctx); entry != nil || err != nil {
			return work{entry, queue}, err
		}
	}
	return t.takeFirst(ctx)
}

// takeFirst waits at both queues, at the second one once it is open. What
// another queue gives at the same time is given back.
func (t *turn) takeFirst(ctx context.Context) (work, error) {
	type taken struct {
		work
		err error
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	queues := []*zkclient.Queue{t.paths, t.ext}
	results := make(chan taken, len(queues))
	for _, queue := range queues {
		go func() {
			if queue == t.ext {
				select {
				case <-t.extOpen:
				case <-limited.Done():
				}
			}
			entry, err := queue.Take(limited)
			results <- taken{work{entry, queue}, err}
		}()
	}
	first := <-results
	cancel()
	for range len(queues) - 1 {
		switch other := <-results; {
		case other.err != nil:
		case first.err != nil:
			first = other
		default:
			if err := other.Release(ctx); err != nil && !errors.Is(err, zkclient.ErrNotHeld) {
				return work{}, errors.Join(err, first.Release(ctx))
			}
		}
	}
	return first.work, first.err
}

// handle tries a path until its fate is known, or until it cannot be worked on
// here and now; then it is for others again.
func (t *turn) handle(ctx context.Context, w work) error {
	began := time.Now()
	res := result{Paths: []text{text(w.Value)}, Who: t.whoami}
	for {
		dest, err := t.destFor(ctx)
		if err != nil {
			return err
		}
		if dest == nil || t.baseProblem() != nil {
			return t.giveBack(ctx, w, retryPriority, &res)
		}
		again, err := t.attempt(ctx, w, dest, &res)
		switch {
		case err != nil:
			return errors.Join(err, t.giveBack(ctx, w, retryPriority, &res))
		case again == no:
			res.Seconds = time.Since(began).Seconds()
			return t.end(ctx, w, res)
		case again == later && !sleep(t.waiting, t.cfg.Timing.Retry*time.Duration(res.Attempts)):
			return t.giveBack(ctx, w, retryPriority, &res)
		case again == byOthers:
			if err := t.giveBack(ctx, w, zkclient.DefaultPriority, &res); err != nil {
				return err
			}
			sleep(t.waiting, t.cfg.Timing.Retry) // a slave with another destination goes first
			return nil
		}
	}
}

// destFor returns a destination for a path in hand; nil if there is none within
// Timing.NoDest.
func (t *turn) destFor(ctx context.Context) (*heldDest, error) {
	limited, cancel := context.WithTimeout(t.waiting, t.cfg.Timing.NoDest)
	defer cancel()
	dest, err := t.dests.get(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return dest, err
}

// end records what became of a path, in the transaction that removes it.
func (t *turn) end(ctx context.Context, w work, res result) error {
	if res.Outcome == outcomeFailed {
		t.log.Error(fmt.Sprintf("There were issues with path %s!", w.name()))
	}
	res.Deleted += t.deleted
	t.deleted = 0
	return t.leave(ctx, w, func() (zkclient.Op, error) { return t.record(ctx, res) })
}

// giveBack puts a path into its queue again, before or behind the others. What was
// deleted for it is told with the next result of this slave.
func (t *turn) giveBack(ctx context.Context, w work, priority int, res *result) error {
	t.deleted += res.Deleted
	return t.leave(ctx, w, func() (zkclient.Op, error) { return w.queue.PutOp(w.Value, priority), nil })
}

func (t *turn) leave(ctx context.Context, w work, to func() (zkclient.Op, error)) error {
	op, err := to()
	if err == nil {
		err = w.Consume(ctx, op)
	}
	if errors.Is(err, zkclient.ErrNotHeld) {
		t.log.Warn(fmt.Sprintf("Path %s was no longer held by this client: its result is not recorded, another client works on it", w.name()))
		return nil
	}
	return err
}

// record makes the operation that records a result: a node of S/results if the
// master knows them, else an entry in the queues that a Python master reads.
func (t *turn) record(ctx context.Context, res result) (zkclient.Op, error) {
	select {
	case <-t.extOpen:
		return zkclient.OpCreate(t.m.tree.results()+"/result-", res.encode(), zkclient.Sequential), nil
	default:
	}
	queue := t.m.Queue(t.m.tree.failedQueue())
	if res.Outcome == outcomeCompleted || res.Outcome == outcomeVanished {
		queue = t.m.Queue(t.m.tree.completedQueue())
	}
	// A Python master leaves it to the first who puts a path there to make it.
	return queue.PutOp([]byte(res.Paths[0]), zkclient.DefaultPriority), queue.Ensure(ctx)
}

// collect keeps the statistics of a run for the next flush.
func (s *slave) collect(stats rsyncrunner.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range stats {
		s.stats[name] += n
	}
}

// flushStats adds to the session's counters every now and then: nine more
// operations a path would be most of the work of a short one.
func (s *slave) flushStats(ctx, waiting context.Context, m *member) {
	for sleep(waiting, s.cfg.Timing.StatsFlush) {
		// Not given up at the end of the run: whether it was applied would be unknown.
		if err := s.addStats(ctx, m); err != nil && ctx.Err() == nil {
			s.log.Warn(err.Error())
		}
	}
}

func (s *slave) addStats(ctx context.Context, m *member) error {
	s.mu.Lock()
	stats := s.stats
	s.stats = rsyncrunner.Stats{}
	s.mu.Unlock()
	if len(stats) == 0 {
		return nil
	}
	if err := m.AddCounters(ctx, m.tree.stats(), stats); err != nil {
		if ctx.Err() == nil && !errors.Is(err, zkclient.ErrSessionLost) { // else they may have been added
			s.collect(stats)
		}
		return err
	}
	return nil
}
