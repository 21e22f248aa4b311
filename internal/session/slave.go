// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/zkclient"
)

// retryPriority puts a path that its slave could not work on before the others.
const retryPriority = 50

// slave is a source that runs rsync, over all its ZooKeeper sessions.
type slave struct {
	*client
	sender *rsyncrunner.Sender

	mu    sync.Mutex
	stats rsyncrunner.Stats // not yet added to the session's counters
}

func newSlave(c *client) *slave {
	return &slave{
		client: c,
		stats:  rsyncrunner.Stats{},
		sender: &rsyncrunner.Sender{
			Options: c.cfg.Rsync, Output: c.cfg.Output, Logger: c.log,
			// Less than what is left of the ZooKeeper session when its loss is noticed.
			StopGrace: time.Second,
		},
	}
}

// play works on paths until the run is over.
func (s *slave) play(ctx context.Context, m *member) error {
	s.joined()
	watch := m.watchReady(ctx)
	select {
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
	m.background(func() { s.flushStats(waiting, m) })

	turn := &turn{
		slave: s, m: m, dests: newDests(m), waiting: waiting,
		paths: m.Queue(m.tree.pathQueue()), ext: m.Queue(m.tree.extQueue()), extOpen: m.extOpen(waiting),
		completed: m.Queue(m.tree.completedQueue()), failed: m.Queue(m.tree.failedQueue()),
	}
	// A Python master leaves this to the first who puts a path there.
	for _, queue := range []*zkclient.Queue{turn.completed, turn.failed} {
		if err := queue.Ensure(ctx); err != nil {
			return fmt.Errorf("cannot make the queues for results: %w", err)
		}
	}
	for {
		err := turn.next(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case waiting.Err() != nil:
			s.log.Debug("the run is over")
			return s.addStats(ctx, m)
		case err != nil:
			return err
		}
	}
}

// turn is a slave's work in one ZooKeeper session.
type turn struct {
	*slave
	m         *member
	dests     *dests
	waiting   context.Context // ends when the run is over
	paths     *zkclient.Queue
	ext       *zkclient.Queue
	extOpen   <-chan struct{} // closed: ext is of this run
	completed *zkclient.Queue
	failed    *zkclient.Queue
}

// next waits for the base path, a destination and a path, and works on that.
func (t *turn) next(ctx context.Context) error {
	if !t.waitBase() {
		return nil
	}
	if _, err := t.dests.get(t.waiting); err != nil {
		return err
	}
	work, err := t.take(t.waiting)
	if err != nil {
		return fmt.Errorf("cannot take a path: %w", err)
	}
	return t.handle(ctx, work)
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

// waitBase waits until the base path is there; false if the run ended first.
func (t *turn) waitBase() bool {
	for {
		problem := t.baseProblem()
		if problem == "" {
			return true
		}
		t.log.Warn(problem + ", waiting")
		for wait := t.cfg.Timing.NoPath; wait > 0 && t.baseProblem() != ""; wait -= t.cfg.Timing.PathCheck {
			if !sleep(t.waiting, t.cfg.Timing.PathCheck) {
				return false
			}
		}
	}
}

// baseProblem says why nothing can be sent from the base path now, "" if it can.
func (t *turn) baseProblem() string {
	if t.cfg.Netcat {
		return ""
	}
	if t.cfg.VerifyPath && !t.baseIsDir() {
		return "Basepath not available"
	}
	if err := t.checkNotEmpty(); err != nil {
		return err.Error()
	}
	return ""
}

// handle tries a path until it is done, has failed for good, or cannot be worked
// on here and now; then it is for others again.
func (t *turn) handle(ctx context.Context, w work) error {
	for attempt := 1; ; attempt++ {
		dest, err := t.destFor(ctx)
		if err != nil {
			return err
		}
		if dest == nil || t.baseProblem() != "" {
			return t.end(ctx, w, w.queue, retryPriority)
		}
		ok, err := t.send(ctx, w.Value, dest)
		if err != nil {
			return err
		}
		if ok {
			return t.end(ctx, w, t.completed, zkclient.DefaultPriority)
		}
		if attempt == attempts {
			t.log.Error(fmt.Sprintf("There were issues with path %s!", w.name()))
			return t.end(ctx, w, t.failed, zkclient.DefaultPriority)
		}
		if !sleep(t.waiting, t.cfg.Timing.Retry) {
			return t.release(ctx, w)
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

// end moves the entry into another queue, or back to the front of its own, in
// one transaction.
func (t *turn) end(ctx context.Context, w work, to *zkclient.Queue, priority int) error {
	err := w.Consume(ctx, to.PutOp(w.Value, priority))
	if errors.Is(err, zkclient.ErrNotHeld) {
		t.log.Warn(fmt.Sprintf("Path %s was no longer held by this client: its result is not recorded, another client works on it", w.name()))
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot record the result of path %s: %w", w.name(), err)
	}
	return nil
}

func (t *turn) release(ctx context.Context, w work) error {
	if err := w.Release(ctx); err != nil && !errors.Is(err, zkclient.ErrNotHeld) {
		return fmt.Errorf("cannot give path %s back: %w", w.name(), err)
	}
	return nil
}

// send makes one attempt; false if the path was not sent. An error is one that
// ends this client, not one of the path.
func (t *turn) send(ctx context.Context, value []byte, dest *heldDest) (bool, error) {
	if t.cfg.Netcat {
		return t.sendLine(ctx, value, dest)
	}
	entry, err := pathbuilder.Decode(value)
	if err != nil {
		t.log.Error(err.Error())
		return false, nil
	}
	rel, err := entry.Rel(t.base)
	if err != nil {
		return false, fmt.Errorf("%w: every source of a session must see the tree at the same path (--rsyncpath)", err)
	}
	t.log.Info(fmt.Sprintf("%s is sending path %s to %s %d", t.whoami, printable(entry.Path), dest.host, dest.port))
	result, err := t.sender.Run(ctx, rsyncrunner.Job{
		Base: t.base, Names: []string{rel}, Recursive: entry.Recursive,
		URL: rsyncrunner.URL(dest.host, dest.port, t.tree.module()),
	})
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		t.log.Error(err.Error())
		return false, nil
	}
	if t.cfg.Rsync.Verbose {
		t.log.Info("Verbose file list output is: " + result.FileList)
	}
	t.collect(result.Stats)
	if !result.OK() {
		t.log.Warn(strings.Join(append([]string{
			fmt.Sprintf("rsync of path %s to %s %d: %s", printable(string(value)), dest.host, dest.port, result)}, result.Errors...), "\n"))
	}
	return result.OK(), nil
}

func (t *turn) sendLine(ctx context.Context, value []byte, dest *heldDest) (bool, error) {
	line := fmt.Sprintf("%s is sending %s", t.whoami, value)
	err := rsyncrunner.SendLine(ctx, net.JoinHostPort(dest.host, strconv.Itoa(dest.port)), line)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		t.log.Warn(err.Error())
	}
	return err == nil, nil
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
func (s *slave) flushStats(ctx context.Context, m *member) {
	for sleep(ctx, s.cfg.Timing.StatsFlush) {
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
		return fmt.Errorf("cannot add to the session's statistics: %w", err)
	}
	return nil
}

// heldDest is a destination this slave has locked.
type heldDest struct {
	entry  *zkclient.Entry
	host   string
	port   int
	whoami string
}

// parseDest reads an entry of S/destQueue: "<port>:<host>:<pid>".
func parseDest(entry *zkclient.Entry) (*heldDest, error) {
	port, name, _ := strings.Cut(string(entry.Value), ":")
	host, _, ok := strings.Cut(name, ":")
	number, err := strconv.Atoi(port)
	if err != nil || !ok || host == "" {
		return nil, fmt.Errorf("cannot use destination %q: not of the form port:host:pid", entry.Value)
	}
	return &heldDest{entry: entry, host: host, port: number, whoami: name}, nil
}

// dests takes destinations for a slave, one at a time, and keeps the one it has
// as long as that is fine.
type dests struct {
	m      *member
	queue  *zkclient.Queue
	held   *heldDest
	warned bool
}

func newDests(m *member) *dests { return &dests{m: m, queue: m.Queue(m.tree.destQueue())} }

// get returns a destination that is connected, active and has the right port;
// it waits for one until ctx ends.
func (d *dests) get(ctx context.Context) (*heldDest, error) {
	for {
		if d.held == nil {
			entry, err := d.take(ctx)
			if err != nil {
				return nil, fmt.Errorf("cannot take a destination: %w", err)
			}
			held, err := parseDest(entry)
			if err != nil {
				d.m.log.Error(err.Error())
				if err := entry.Consume(ctx); err != nil && !errors.Is(err, zkclient.ErrNotHeld) {
					return nil, fmt.Errorf("cannot remove a destination: %w", err)
				}
				continue
			}
			d.held = held
		}
		usable, err := d.m.destUsable(ctx, d.held)
		if err != nil {
			return nil, err
		}
		if usable {
			return d.held, nil
		}
		d.held = nil
	}
}

// take waits for an entry, saying once if that takes long.
func (d *dests) take(ctx context.Context) (*zkclient.Entry, error) {
	if d.warned {
		return d.queue.Take(ctx)
	}
	short, cancel := context.WithTimeout(ctx, d.m.cfg.Timing.Retry)
	defer cancel()
	entry, err := d.queue.Take(short)
	if err == nil || short.Err() == nil || ctx.Err() != nil {
		return entry, err
	}
	d.warned = true
	d.m.log.Warn("No free destination, waiting for one (a slave needs a destination of its own)")
	return d.queue.Take(ctx)
}
