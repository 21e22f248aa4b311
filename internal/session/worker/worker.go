// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// attempts at a path by one worker.
const attempts = 3

// Config is how a worker works.
type Config struct {
	Jobs      int           // runs at once; 0: one
	Batch     int           // most paths in a run; 1: no batches, 0: 500, which is also the most
	BatchTime time.Duration // how long a run with several paths should take; 0: 5 s
	MaxDelete int           // what the whole session may delete; negative: any number
	Deletes   bool          // rsync deletes at the destination
	Large     int64         // from so many bytes on a file is not begun anew for idle jobs; 0: 64 MiB
}

// Worker works on the paths of a session, over all its ZooKeeper sessions.
type Worker struct {
	client    *member.Client
	cfg       Config
	transport Transport
	pace      *pace
	record    *pool.Record
	causes    *causes
	underway  underway
	noStats   func(error) // says, once, that the session's statistics cannot be kept

	jobs atomic.Int64 // that it runs at once: users may change that

	mu     sync.Mutex
	blamed map[wire.Text][]string // the destinations that have failed at a path, each time
	stats  rsyncrunner.Stats      // not yet added to the session's counters
}

// New makes a worker that has taken nothing yet.
func New(client *member.Client, transport Transport, cfg Config) *Worker {
	cfg.Jobs = max(cfg.Jobs, 1)
	cfg.Batch = min(cmp.Or(cfg.Batch, 500), 500)
	cfg.BatchTime = cmp.Or(cfg.BatchTime, 5*time.Second)
	cfg.Large = cmp.Or(cfg.Large, 64<<20)
	var once sync.Once
	noStats := func(err error) {
		once.Do(func() {
			client.Log.Warn(fmt.Sprintf("The session has no statistics: %v", err), "event", "foreign", "error", err)
		})
	}
	w := &Worker{
		noStats: noStats, client: client, cfg: cfg, transport: transport, pace: newPace(cfg.BatchTime, cfg.Batch), record: pool.NewRecord(), causes: newCauses(),
		blamed: map[wire.Text][]string{}, stats: rsyncrunner.Stats{},
	}
	w.jobs.Store(int64(cfg.Jobs))
	return w
}

// shift is a worker in one ZooKeeper session: what its jobs share.
type shift struct {
	worker   *Worker
	m        *member.Member
	waiting  context.Context // ends when the session is over
	broken   context.Context // ends when it is over before its work is done: what is in hand is given back
	paths    *zkclient.Queue
	ext      *zkclient.Queue
	pool     *pool.Pool
	budget   member.Budget
	steering *member.Steering
	gate     *gate
	extended <-chan struct{} // closed: the leader knows the extensions, and ext is of this session
}

// Play works on paths until the session is over.
func (w *Worker) Play(ctx context.Context, m *member.Member, ready *member.Ready) error {
	select {
	case <-ready.Stopped:
		w.client.Log.Debug("the run is over")
		return nil
	case <-ready.Started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := w.transport.publish(ctx, m); err != nil {
		return err
	}
	defer w.client.Tell(w.tell)()
	// Waiting for work ends with the session; work in hand does not.
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	m.Background(func() {
		select {
		case <-ready.Stopped:
			cancel()
		case <-waiting.Done():
		}
	})
	var shaping sync.WaitGroup
	defer shaping.Wait()
	broken, end := context.WithCancel(ctx)
	defer end()
	m.Background(func() {
		select {
		case <-ready.Broken:
			end()
		case <-broken.Done():
		}
	})
	steering, err := m.Steer(ctx, func(c wire.Control) { w.transport.skip(c.Skip) })
	if err != nil {
		return err
	}
	gate := newGate()
	shaping.Go(func() { w.transport.shape(broken, m, gate.bound) })
	flushed := make(chan struct{})
	m.Background(func() {
		defer close(flushed)
		w.flushStats(ctx, waiting, m)
	})
	s := &shift{
		worker: w, m: m, waiting: waiting, broken: broken, extended: m.WatchExtended(waiting),
		paths: m.ZK.Queue(m.Tree.PathQueue()), ext: m.ZK.Queue(m.Tree.ExtQueue()),
		pool: pool.New(m, w.record, w.transport.judge(m), waiting), budget: m.Budget(w.cfg.MaxDelete),
		steering: steering, gate: gate,
	}
	jobs, together := errgroup.WithContext(ctx)
	jobs.Go(func() error {
		return s.steer(together, func(number int) {
			jobs.Go(func() error { return (&job{shift: s, number: number, dests: s.pool.Holder()}).work(together) })
		})
	})
	if err := jobs.Wait(); err != nil {
		return err
	}
	<-flushed
	w.client.Log.Debug("the run is over")
	select {
	case <-ready.Gone: // nobody reads them any more
		return nil
	default:
		return w.addStats(ctx, m)
	}
}

// knowsExtensions tells whether the leader does.
func (s *shift) knowsExtensions() bool {
	select {
	case <-s.extended:
		return true
	default:
		return false
	}
}

// load is how many paths wait in a queue, and how many jobs the destinations can serve at once.
func (s *shift) load(ctx context.Context, queue *zkclient.Queue) (waiting, jobs int, err error) {
	counts := [4]int{}
	group, limited := errgroup.WithContext(ctx)
	for i, path := range []string{queue.Path() + "/entries", queue.Path() + "/taken", s.m.Tree.DestQueue() + "/entries", s.m.Tree.ExtDestQueue() + "/entries"} {
		group.Go(func() error {
			stat, _, err := s.m.ZK.Exists(limited, path)
			counts[i] = int(stat.NumChildren)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	return max(counts[0]-counts[1], 0), max(counts[2]+counts[3], 1), nil
}

// someIdle tells whether jobs are without work.
func (s *shift) someIdle(ctx context.Context) bool {
	stat, _, err := s.m.ZK.Exists(ctx, s.m.Tree.Idle())
	return err == nil && stat.NumChildren > 0
}

// blame notes that a destination has failed at a path, and says how often destinations have.
func (w *Worker) blame(path wire.Text, whoami string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blamed[path] = append(w.blamed[path], whoami)
	return len(w.blamed[path])
}

// blames tells whether a destination has failed at a path.
func (w *Worker) blames(path wire.Text, whoami string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.blamed[path], whoami)
}

// praise forgets what was held against a path.
func (w *Worker) praise(path wire.Text) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.blamed, path)
}
