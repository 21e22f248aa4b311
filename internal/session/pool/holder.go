// SPDX-License-Identifier: LGPL-2.1-or-later

package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// ErrLost is the cause of the end of Held.Lost.
var ErrLost = errors.New("the destination has left")

// Pool is what the jobs of a worker share in one ZooKeeper session.
type Pool struct {
	m       *member.Member
	record  *Record
	queue   *zkclient.Queue
	waiting context.Context // ends when the session is over
	noDest  func()          // says, once, that a job waits for a destination
}

// New makes the pool of a worker. Waiting ends when nobody needs a destination any more.
func New(m *member.Member, record *Record, waiting context.Context) *Pool {
	return &Pool{
		m: m, record: record, queue: m.ZK.Queue(m.Tree.DestQueue()), waiting: waiting,
		noDest: sync.OnceFunc(func() {
			m.Log.Warn("No free destination, waiting for one (each job of a source needs a destination of its own)", "event", "no-destination")
		}),
	}
}

// Held is a destination that a job has locked.
type Held struct {
	Dest   wire.Dest
	Module string          // by which it is asked for its rsync module
	Lost   context.Context // ends, with ErrLost, when the destination leaves or takes another port

	entry *zkclient.Entry
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

// Get returns a destination that is connected, active and has the right port; it waits for one until
// ctx ends.
func (h *Holder) Get(ctx context.Context) (*Held, error) {
	for {
		if h.held == nil {
			entry, err := h.take(ctx)
			if err != nil {
				return nil, err
			}
			dest, err := wire.DecodeDest(entry.Value)
			held := &Held{Dest: dest, entry: entry}
			if err != nil {
				h.pool.m.Log.Error(err.Error(), "error", err)
			}
			if err != nil || h.pool.record.isAside(dest.Whoami) { // the second: another of its slots
				if err := consume(ctx, held); err != nil {
					return nil, err
				}
				continue
			}
			h.hold(held)
		}
		usable, err := h.pool.usable(ctx, h.held)
		if err == nil && usable && h.held.Module == "" {
			h.held.Module, err = h.pool.module(ctx, h.held.Dest.Whoami)
		}
		if err != nil {
			return nil, err
		}
		if usable {
			if h.held.Lost.Err() != nil { // it was away, and is back as it was
				h.hold(h.held)
			}
			return h.held, nil
		}
		h.letGo()
	}
}

// take waits for an entry, saying once if that takes long.
func (h *Holder) take(ctx context.Context) (*zkclient.Entry, error) {
	short, cancel := context.WithTimeout(ctx, h.pool.m.Client.Timing.Retry)
	defer cancel()
	entry, err := h.pool.queue.Take(short)
	if err == nil || short.Err() == nil || ctx.Err() != nil {
		return entry, err
	}
	h.pool.noDest()
	return h.pool.queue.Take(ctx)
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
		err := held.entry.Release(h.pool.waiting)
		if err != nil && !errors.Is(err, zkclient.ErrNotHeld) && h.pool.waiting.Err() == nil {
			h.pool.m.Log.Warn(err.Error(), "destination", held.Dest.Whoami, "error", err)
		}
	}
}

// Served says that the held destination has served a run.
func (h *Holder) Served() {
	if h.held != nil {
		h.pool.record.served(h.held.Dest.Whoami)
	}
}

// Fault says that the held destination has failed at a path, and lets go of it. It goes behind the
// others, or is set aside. Answers is false if the path cannot have been at fault.
func (h *Holder) Fault(ctx context.Context, path string) (answers bool, err error) {
	held := h.letGo()
	if held == nil {
		return true, nil
	}
	p, pause := h.pool, h.pool.m.Client.Timing.SetAside
	problem := rsyncrunner.Probe(ctx, held.Addr(), p.m.Tree.Module())
	if problem == nil && held.Module != p.m.Tree.Module() {
		problem = rsyncrunner.ProbeHidden(ctx, held.Addr(), held.Module)
	}
	faults := p.record.fault(held.Dest.Whoami, path)
	if problem == nil && faults < faultsInRow && !p.record.isAside(held.Dest.Whoami) {
		return true, consume(ctx, held, p.queue.PutOp(held.entry.Value, zkclient.DefaultPriority))
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
		err = errors.Join(err, consume(ctx, held, p.queue.PutOp(held.entry.Value, zkclient.DefaultPriority)))
	}()
	var others []*zkclient.Entry // back into their places
	defer func() {
		if len(others) > 0 {
			if e := p.queue.ReleaseAll(ctx, others); e != nil && !errors.Is(e, zkclient.ErrNotHeld) {
				err = errors.Join(err, e)
			}
		}
	}()
	for range exchanges {
		entries, err := p.queue.TryTakeSome(ctx, 1, nil)
		if err != nil {
			return false, false, err
		}
		if len(entries) == 0 {
			break
		}
		dest, err := wire.DecodeDest(entries[0].Value)
		if err == nil && !tried(dest.Whoami) && !p.record.isAside(dest.Whoami) {
			h.hold(&Held{Dest: dest, entry: entries[0]})
			return true, true, nil // Get looks whether it is fine
		}
		others = append(others, entries[0])
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
			return offer(ctx, p.m, held.Dest, slots)
		})
	}
	if err != nil && ctx.Err() == nil {
		p.m.Log.Warn(fmt.Sprintf("cannot offer destination %s again: %v", held.Dest.Whoami, err), "destination", held.Dest.Whoami, "error", err)
	}
}
