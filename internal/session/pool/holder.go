// SPDX-License-Identifier: LGPL-2.1-or-later

package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// ErrLost is the cause of the end of Held.Lost.
var ErrLost = errors.New("the destination has left")

// Judge is what a worker knows of destinations that the protocol does not.
type Judge struct {
	Unfit func(*Held) string                 // why this worker does not use a destination; "": it does
	Probe func(context.Context, *Held) error // whether one answers
}

// Pool is what the jobs of a worker share in one ZooKeeper session.
type Pool struct {
	m       *member.Member
	record  *Record
	queues  []*zkclient.Queue // the first one that has something is taken from
	judge   Judge
	waiting context.Context // ends when the session is over
	noDest  func()          // says, once, that a job waits for a destination
}

// New makes the pool of a worker. Waiting ends when nobody needs a destination any more.
func New(m *member.Member, record *Record, judge Judge, waiting context.Context) *Pool {
	return &Pool{
		m: m, record: record, queues: []*zkclient.Queue{m.ZK.Queue(m.Tree.ExtDestQueue()), m.ZK.Queue(m.Tree.DestQueue())}, judge: judge, waiting: waiting,
		noDest: sync.OnceFunc(func() {
			m.Log.Warn("No free destination, waiting for one (each job of a source needs a destination of its own)", "event", "no-destination")
		}),
	}
}

// Held is a destination that a job has locked.
type Held struct {
	Dest wire.Dest
	Go   bool            // it knows the extensions
	Key  *wire.Key       // of a Go destination; nil: it has published none that is good
	Lost context.Context // ends, with ErrLost, when the destination leaves or takes another port

	entry *zkclient.Entry
	queue *zkclient.Queue
	drop  func() // ends the watch for that
}

// Addr is where the destination listens.
func (h *Held) Addr() string { return net.JoinHostPort(h.Dest.Host(), strconv.Itoa(h.Dest.Port)) }

// Holder takes destinations for a job, one at a time, and keeps the one it has as long as that is
// fine.
type Holder struct {
	pool *Pool
	held *Held
}

// Holder makes the holder of one job.
func (p *Pool) Holder() *Holder { return &Holder{pool: p} }

// Holds tells whether there is a destination.
func (h *Holder) Holds() bool { return h.held != nil }

// Get returns a destination that is connected, active, has the right port, and is fit for this worker; it
// waits for one until ctx ends.
func (h *Holder) Get(ctx context.Context) (*Held, error) {
	var unfit []*Held // kept until another is found, not to be met again at once
	defer func() { h.pool.giveBack(unfit) }()
	for {
		if h.held == nil {
			held, err := h.take(ctx, len(unfit) > 0)
			if err != nil {
				return nil, err
			}
			if held == nil {
				h.pool.giveBack(unfit)
				unfit = nil
				if err := zkclient.Sleep(ctx, h.pool.m.Client.Timing.Retry); err != nil {
					return nil, err
				}
				continue
			}
			if held.Dest.Whoami == "" || h.pool.record.isAside(held.Dest.Whoami) { // the second: another of its slots
				if err := consume(ctx, held); err != nil {
					return nil, err
				}
				continue
			}
			h.hold(held)
		}
		usable, err := h.pool.usable(ctx, h.held)
		if err != nil {
			return nil, err
		}
		if !usable {
			h.letGo()
			continue
		}
		if h.held.Lost.Err() != nil { // it was away, and is back as it was
			if err := h.pool.know(ctx, h.held); err != nil {
				return nil, err
			}
			h.hold(h.held)
		}
		why := h.pool.judge.Unfit(h.held)
		if why == "" {
			return h.held, nil
		}
		held := h.letGo()
		if h.pool.record.unfit(held.Dest.Whoami, why) {
			h.pool.m.Log.Warn(fmt.Sprintf("Destination %s is not used by this source: %s", held.Dest.Whoami, why),
				"event", "unfit-destination", "destination", held.Dest.Whoami, "error", why)
		}
		unfit = append(unfit, held)
	}
}

// giveBack lets others have destinations.
func (p *Pool) giveBack(held []*Held) {
	for _, h := range held {
		if err := h.entry.Release(p.waiting); err != nil && !errors.Is(err, zkclient.ErrNotHeld) && p.waiting.Err() == nil {
			p.m.Log.Warn(err.Error(), "destination", h.Dest.Whoami, "error", err)
		}
	}
}

// take waits for an entry, saying once if that takes long; with try it does not wait, and gives nil if there is
// none. Nobody's name is that of an entry that cannot be read.
func (h *Holder) take(ctx context.Context, try bool) (*Held, error) {
	say := time.AfterFunc(h.pool.m.Client.Timing.Retry, h.pool.noDest)
	defer say.Stop()
	for {
		held, err := h.pool.tryTake(ctx)
		if held != nil || err != nil || try {
			return held, err
		}
		if err := h.pool.await(ctx); err != nil {
			return nil, err
		}
	}
}

// tryTake takes an entry that is free now; nil if none is.
func (p *Pool) tryTake(ctx context.Context) (*Held, error) {
	for _, queue := range p.queues {
		entries, err := queue.TryTakeSome(ctx, 1, nil)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			continue
		}
		held := &Held{entry: entries[0], queue: queue}
		if held.Dest, err = wire.DecodeDest(entries[0].Value); err != nil {
			p.m.Log.Error(err.Error(), "error", err)
			return held, nil
		}
		return held, p.know(ctx, held)
	}
	return nil, nil
}

// await waits until something is in one of the queues.
func (p *Pool) await(ctx context.Context) error {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(p.queues))
	for _, queue := range p.queues {
		go func() { results <- queue.Await(limited) }()
	}
	first := <-results
	cancel()
	for range len(p.queues) - 1 {
		<-results
	}
	return first
}

// hold begins to watch a destination.
func (h *Holder) hold(held *Held) {
	p := h.pool
	ctx, cancel := context.WithCancelCause(p.waiting)
	held.Lost, held.drop = ctx, func() { cancel(nil) }
	h.held = held
	p.m.Background(func() {
		port := string(wire.EncodeNumber(held.Dest.Port))
		err := p.m.ZK.WatchData(ctx, p.m.Tree.PortMap(held.Dest.Whoami), func(data []byte, _ zkclient.Stat, exists bool) {
			if !exists || string(data) != port {
				cancel(ErrLost)
			}
		})
		if ctx.Err() == nil {
			p.m.Fail(err)
		}
	})
}

// letGo forgets the held destination, whatever became of its entry.
func (h *Holder) letGo() *Held {
	held := h.held
	if held != nil {
		held.drop()
	}
	h.held = nil
	return held
}

// Release gives the held destination to others.
func (h *Holder) Release() {
	if held := h.letGo(); held != nil {
		h.pool.giveBack([]*Held{held})
	}
}

// Served says that the held destination has served a run.
func (h *Holder) Served() {
	if h.held != nil {
		h.pool.record.served(h.held.Dest.Whoami)
	}
}

// Fault says that the held destination has failed at a path, and lets go of it. It goes behind the
// others, or is set aside. Problem is why it cannot be used at all, if that is known. Answers is false if the
// path cannot have been at fault.
func (h *Holder) Fault(ctx context.Context, path string, problem error) (answers bool, err error) {
	held := h.letGo()
	if held == nil {
		return true, nil
	}
	p, pause := h.pool, h.pool.m.Client.Timing.SetAside
	if problem == nil {
		problem = p.judge.Probe(ctx, held)
	}
	faults := p.record.fault(held.Dest.Whoami, path)
	if problem == nil && faults < faultsInRow && !p.record.isAside(held.Dest.Whoami) {
		return true, consume(ctx, held, held.queue.PutOp(held.entry.Value, zkclient.DefaultPriority))
	}
	if !p.record.isAside(held.Dest.Whoami) {
		why := fmt.Sprintf("failed at %d paths in a row", faults)
		if problem != nil {
			why = problem.Error()
		}
		p.record.setAside(held.Dest.Whoami, pause)
		p.m.Log.Error(fmt.Sprintf("Destination %s is set aside for %v: %s", held.Dest.Whoami, pause, why),
			"event", "set-aside", "destination", held.Dest.Whoami, "seconds", pause.Seconds(), "error", why)
		p.m.Background(func() { p.putBack(held) })
	}
	return problem == nil, consume(ctx, held)
}

// exchanges bounds how many entries Exchange looks at: others wait for them.
const exchanges = 8

// Exchange lets go of the held destination, which has no room for a path, and puts it behind the others;
// nothing is held against it. A destination that was not tried takes its place if one is free. Otherwise
// untried tells whether one is in use that others may give back.
func (h *Holder) Exchange(ctx context.Context, tried func(whoami string) bool) (untried, exchanged bool, err error) {
	held := h.letGo()
	if held == nil {
		return true, false, nil
	}
	p := h.pool
	defer func() {
		err = errors.Join(err, consume(ctx, held, held.queue.PutOp(held.entry.Value, zkclient.DefaultPriority)))
	}()
	var others []*Held // back into their places
	defer func() { p.giveBack(others) }()
	for range exchanges {
		other, err := p.tryTake(ctx)
		if err != nil {
			return false, false, err
		}
		if other == nil {
			break
		}
		if whoami := other.Dest.Whoami; whoami != "" && !tried(whoami) && !p.record.isAside(whoami) && p.judge.Unfit(other) == "" {
			h.hold(other)
			return true, true, nil // Get looks whether it is fine
		}
		others = append(others, other)
	}
	untried, err = p.untried(ctx, tried)
	return untried, false, err
}

// untried tells whether a destination that was not tried is in the session, and not paused.
func (p *Pool) untried(ctx context.Context, tried func(whoami string) bool) (bool, error) {
	names, err := p.m.Party(wire.PartyDests).Members(ctx)
	if err != nil {
		return false, err
	}
	for _, whoami := range names {
		if tried(whoami) || p.record.isAside(whoami) {
			continue
		}
		state, err := p.state(ctx, whoami)
		if err != nil {
			return false, err
		}
		if state != wire.Paused && state != wire.Disabled {
			return true, nil
		}
	}
	return false, nil
}

// consume takes an entry of a destination out of the queue.
func consume(ctx context.Context, held *Held, also ...zkclient.Op) error {
	err := held.entry.Consume(ctx, also...)
	if errors.Is(err, zkclient.ErrNotHeld) {
		return nil
	}
	return err
}

// putBack offers a destination again that was set aside, if it is still there.
func (p *Pool) putBack(held *Held) {
	ctx := p.waiting
	if zkclient.Sleep(ctx, p.m.Client.Timing.SetAside) != nil {
		return
	}
	connected, err := p.m.Party(wire.PartyAll).Has(ctx, held.Dest.Whoami)
	if err == nil && connected {
		connected, err = hasPort(ctx, p.m, held.Dest)
	}
	if err == nil && connected {
		err = underLock(ctx, p.m, func() error {
			slots, err := slotsOf(ctx, p.m, held.Dest.Whoami)
			if err != nil {
				return err
			}
			return offer(ctx, p.m, held.queue.Path(), held.Dest, slots)
		})
	}
	if err != nil && ctx.Err() == nil {
		p.m.Log.Warn(fmt.Sprintf("cannot offer destination %s again: %v", held.Dest.Whoami, err), "destination", held.Dest.Whoami, "error", err)
	}
}
