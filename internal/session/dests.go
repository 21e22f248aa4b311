// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/zkclient"
)

// heldDest is a destination this slave has locked.
type heldDest struct {
	entry  *zkclient.Entry
	host   string
	port   int
	whoami string

	lost context.Context // ends when the destination leaves, or takes another port
	drop func()          // ends the watch for that
}

// errDestLost is the cause of the end of heldDest.lost.
var errDestLost = errors.New("the destination has left")

// hold begins to watch a destination.
func (d *dests) hold(dest *heldDest) {
	ctx, cancel := context.WithCancelCause(d.waiting)
	dest.lost, dest.drop = ctx, func() { cancel(nil) }
	d.held = dest
	d.m.background(func() {
		port := strconv.Itoa(dest.port)
		err := d.m.WatchData(ctx, d.tree.portMap(dest.whoami), func(data []byte, _ zkclient.Stat, exists bool) {
			if !exists || string(data) != port {
				cancel(errDestLost)
			}
		})
		if ctx.Err() == nil {
			d.m.fail(err)
		}
	})
}

// letGo forgets the held destination, whatever became of its entry.
func (d *dests) letGo() *heldDest {
	held := d.held
	if held != nil {
		held.drop()
	}
	d.held = nil
	return held
}

// release gives the held destination to others.
func (d *dests) release() {
	if held := d.letGo(); held != nil {
		if err := held.entry.Release(d.waiting); err != nil && !errors.Is(err, zkclient.ErrNotHeld) && d.waiting.Err() == nil {
			d.log.Warn(err.Error())
		}
	}
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

// dests takes destinations for a worker, one at a time, and keeps the one it has
// as long as that is fine.
type dests struct {
	*crew
	held *heldDest
}

func newDests(c *crew) *dests { return &dests{crew: c} }

// get returns a destination that is connected, active and has the right port;
// it waits for one until ctx ends.
func (d *dests) get(ctx context.Context) (*heldDest, error) {
	for {
		if d.held == nil {
			entry, err := d.take(ctx)
			if err != nil {
				return nil, err
			}
			held, err := parseDest(entry)
			if err != nil {
				d.log.Error(err.Error())
				if err := entry.Consume(ctx); err != nil && !errors.Is(err, zkclient.ErrNotHeld) {
					return nil, err
				}
				continue
			}
			if d.isAside(held.whoami) { // another of its slots
				if err := d.drop(ctx, held); err != nil {
					return nil, err
				}
				continue
			}
			d.hold(held)
		}
		usable, err := d.m.destUsable(ctx, d.held)
		if err != nil {
			return nil, err
		}
		if usable {
			if d.held.lost.Err() != nil { // it was away, and is back as it was
				d.hold(d.held)
			}
			return d.held, nil
		}
		d.letGo()
	}
}

// take waits for an entry, saying once if that takes long.
func (d *dests) take(ctx context.Context) (*zkclient.Entry, error) {
	short, cancel := context.WithTimeout(ctx, d.cfg.Timing.Retry)
	defer cancel()
	entry, err := d.crew.dests.Take(short)
	if err == nil || short.Err() == nil || ctx.Err() != nil {
		return entry, err
	}
	d.noDest()
	return d.crew.dests.Take(ctx)
}

// works says that the held destination has served a run.
func (d *dests) works() {
	if d.held != nil {
		d.slave.works(d.held.whoami)
	}
}

// fault says that the held destination has failed at a path, and puts it behind
// the others, so that the next attempt meets another one if there is any. One that
// does not answer, or has failed at several paths in a row, is taken out of the
// queue, with all its slots, and put back after a pause. answers is false if the
// path cannot have been at fault.
func (d *dests) fault(ctx context.Context, path string) (answers bool, err error) {
	held := d.letGo()
	if held == nil {
		return true, nil
	}
	problem := rsyncrunner.Probe(ctx, net.JoinHostPort(held.host, strconv.Itoa(held.port)), d.tree.module())
	faults := d.slave.fault(held.whoami, path)
	if problem == nil && faults < faultsInRow && !d.isAside(held.whoami) {
		err := held.entry.Consume(ctx, d.crew.dests.PutOp(held.entry.Value, zkclient.DefaultPriority))
		if errors.Is(err, zkclient.ErrNotHeld) {
			err = nil
		}
		return true, err
	}
	if !d.isAside(held.whoami) {
		why := fmt.Sprintf("failed at %d paths in a row", faults)
		if problem != nil {
			why = problem.Error()
		}
		d.setAside(held.whoami)
		d.log.Error(fmt.Sprintf("Destination %s is set aside for %v: %s", held.whoami, d.cfg.Timing.SetAside, why))
		d.m.background(func() { d.m.putBack(d.waiting, held, d.cfg.Timing.SetAside) })
	}
	return problem == nil, d.drop(ctx, held)
}

// drop takes an entry of a destination out of the queue.
func (d *dests) drop(ctx context.Context, held *heldDest) error {
	if err := held.entry.Consume(ctx); err != nil && !errors.Is(err, zkclient.ErrNotHeld) {
		return err
	}
	return nil
}

// putBack offers a destination again that was set aside, if it is still there.
func (m *member) putBack(ctx context.Context, dest *heldDest, after time.Duration) {
	if !sleep(ctx, after) {
		return
	}
	connected, err := m.all.Has(ctx, dest.whoami)
	if err == nil && connected {
		connected, err = m.hasPort(ctx, dest)
	}
	if err == nil && connected {
		err = m.underDestsLock(ctx, func() error {
			slots, err := m.slotsOf(ctx, dest.whoami)
			if err != nil {
				return err
			}
			return m.offer(ctx, string(dest.entry.Value), slots)
		})
	}
	if err != nil && ctx.Err() == nil {
		m.log.Warn(fmt.Sprintf("cannot offer destination %s again: %v", dest.whoami, err))
	}
}
