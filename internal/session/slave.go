// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/zkclient"
)

// retryPriority puts a path that its slave could not work on before the others.
const retryPriority = 50

// slave is the part of a source that runs rsync, over all its ZooKeeper sessions.
type slave struct {
	*client
	guard *guard
	pace  *pace
	ahead *pathbuilder.Prefetcher // nil: nothing is looked at before rsync does

	leads bool // this source is also the master

	mu     sync.Mutex
	blamed map[string]int       // failures of destinations at a path
	faulty map[string][]string  // paths a destination has failed at, in a row
	aside  map[string]time.Time // destinations that are set aside, until when
	stats  rsyncrunner.Stats    // not yet added to the session's counters
}

func newSlave(ctx context.Context, c *client) (*slave, error) {
	g, err := newGuard(ctx, c)
	if err != nil {
		return nil, err
	}
	var ahead *pathbuilder.Prefetcher
	if c.cfg.Prefetch > 0 && !c.cfg.Netcat {
		ahead = pathbuilder.NewPrefetcher(g.tree, c.cfg.Prefetch)
	}
	return &slave{
		ahead:  ahead,
		client: c, guard: g, pace: newPace(c.cfg.BatchTime, c.cfg.Batch),
		blamed: map[string]int{}, faulty: map[string][]string{}, aside: map[string]time.Time{}, stats: rsyncrunner.Stats{},
	}, nil
}

// crew is a slave in one ZooKeeper session: what its jobs share.
type crew struct {
	*slave
	m       *member
	waiting context.Context // ends when the run is over
	paths   *zkclient.Queue
	ext     *zkclient.Queue
	dests   *zkclient.Queue
	extOpen <-chan struct{} // closed: the master knows the extensions, and ext is of this run
	noDest  func()          // says, once, that a job waits for a destination
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

	c := &crew{
		slave: s, m: m, waiting: waiting, extOpen: m.extOpen(waiting),
		paths: m.Queue(m.tree.pathQueue()), ext: m.Queue(m.tree.extQueue()), dests: m.Queue(m.tree.destQueue()),
		noDest: sync.OnceFunc(func() {
			s.log.Warn("No free destination, waiting for one (each job of a source needs a destination of its own)")
		}),
	}
	if !s.leads {
		m.background(func() { s.missMaster(waiting, m) })
	}
	jobs, together := errgroup.WithContext(ctx)
	for range max(s.cfg.Jobs, 1) {
		jobs.Go(func() error { return newWorker(c).work(together) })
	}
	if err := jobs.Wait(); err != nil {
		return err
	}
	<-flushed
	return errors.Join(s.addStats(ctx, m), s.ended(watch))
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

// load is how many paths wait in a queue, and how many jobs the destinations can
// serve at once.
func (c *crew) load(ctx context.Context, queue *zkclient.Queue) (waiting, jobs int, err error) {
	counts := [3]int{}
	group, limited := errgroup.WithContext(ctx)
	for i, path := range []string{queue.Path() + "/entries", queue.Path() + "/taken", c.tree.destQueue() + "/entries"} {
		group.Go(func() error {
			stat, _, err := c.m.Exists(limited, path)
			counts[i] = int(stat.NumChildren)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	return max(counts[0]-counts[1], 0), max(counts[2], 1), nil
}

// blame counts the failures of destinations at a path; true at the last one that
// is allowed.
func (s *slave) blame(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blamed[path]++; s.blamed[path] < attempts {
		return false
	}
	delete(s.blamed, path)
	return true
}

// praise forgets what was held against a path.
func (s *slave) praise(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blamed, path)
}

// faultsInRow is at how many different paths in a row a destination may fail
// before it is set aside.
const faultsInRow = 3

// fault notes that a destination has failed at a path, and says at how many in a
// row that makes.
func (s *slave) fault(whoami, path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.faulty[whoami], path) {
		s.faulty[whoami] = append(s.faulty[whoami], path)
	}
	return len(s.faulty[whoami])
}

// works notes that a destination has served a run.
func (s *slave) works(whoami string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faulty, whoami)
}

// setAside keeps a destination from being used, with all its slots.
func (s *slave) setAside(whoami string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faulty, whoami)
	s.aside[whoami] = time.Now().Add(s.cfg.Timing.SetAside)
}

func (s *slave) isAside(whoami string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.aside[whoami])
}
