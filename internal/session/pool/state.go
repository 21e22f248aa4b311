// SPDX-License-Identifier: LGPL-2.1-or-later

package pool

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// underLock runs change while this client holds S/destslock.
func underLock(ctx context.Context, m *member.Member, change func() error) (err error) {
	lock := m.ZK.Lock(m.Tree.DestsLock(), m.Client.Whoami)
	if err := lock.Acquire(ctx); err != nil {
		return fmt.Errorf("cannot lock the destinations: %w", err)
	}
	defer func() { err = errors.Join(err, m.Unlock(ctx, lock)) }()
	return change()
}

// usable is a job's look at the destination it has taken. The entry of one that is not fine is
// consumed.
func (p *Pool) usable(ctx context.Context, held *Held) (bool, error) {
	fault, err := p.fault(ctx, held.Dest)
	if err != nil || fault == "" {
		return fault == "", err
	}
	// Once more behind the lock: a destination that comes back looks for its entry there, and must
	// not find one that is about to be consumed.
	err = underLock(ctx, p.m, func() error {
		if fault, err = p.fault(ctx, held.Dest); err != nil {
			return err
		}
		switch fault {
		case "":
			return held.entry.Release(ctx)
		case wire.Paused:
			_, err := p.m.ZK.Set(ctx, p.m.Tree.Dest(held.Dest.Whoami), []byte(wire.Disabled), -1)
			if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
				return err
			}
		case otherPort:
			p.m.Log.Error("destination port not valid", "destination", held.Dest.Whoami, "port", held.Dest.Port)
		}
		p.m.Log.Debug(fmt.Sprintf("Destination %s is taken out of the queue: %s", held.Dest.Whoami, fault), "destination", held.Dest.Whoami)
		return held.entry.Consume(ctx)
	})
	if errors.Is(err, zkclient.ErrNotHeld) {
		err = nil
	}
	return false, err
}

// What can be wrong with a destination, beside its states.
const (
	gone      = "gone"
	otherPort = "port"
)

// fault says what is wrong with a destination, "" if nothing is. One whose port is published is
// connected: the node goes with its ZooKeeper session. One without a state counts as active: a Python
// one that does not verify its path never sets any.
func (p *Pool) fault(ctx context.Context, dest wire.Dest) (string, error) {
	valid := false
	var state string
	group, limited := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		valid, err = hasPort(limited, p.m, dest)
		return err
	})
	group.Go(func() (err error) {
		state, err = p.state(limited, dest.Whoami)
		return err
	})
	if err := group.Wait(); err != nil {
		return "", err
	}
	if valid {
		if state == wire.Paused || state == wire.Disabled {
			return state, nil
		}
		return "", nil
	}
	connected, err := p.m.Party(wire.PartyAll).Has(ctx, dest.Whoami)
	if err == nil && !connected {
		return gone, nil
	}
	return otherPort, err
}

// state is what a destination says of itself, "" if it says nothing.
func (p *Pool) state(ctx context.Context, whoami string) (string, error) {
	data, _, _, err := p.m.Read(ctx, p.m.Tree.Dest(whoami))
	return string(data), err
}

// know finds out by what a destination that was taken is known.
func (p *Pool) know(ctx context.Context, held *Held) (err error) {
	held.Key, held.Go = nil, true
	data, stat, ok, err := p.m.Read(ctx, p.m.Tree.Key(held.Dest.Whoami))
	if err != nil {
		return fmt.Errorf("cannot read the key of destination %s: %w", held.Dest.Whoami, err)
	}
	if key, err := wire.DecodeKey(data, stat.EphemeralOwner != 0); ok && err == nil {
		held.Key = &key
		return nil
	}
	held.Go, err = p.m.Party(wire.PartyExt).Has(ctx, held.Dest.Whoami)
	return err
}

// hasPort tells whether the port of an entry is still the destination's.
func hasPort(ctx context.Context, m *member.Member, dest wire.Dest) (bool, error) {
	port, _, _, err := m.Read(ctx, m.Tree.PortMap(dest.Whoami))
	if err != nil {
		return false, fmt.Errorf("cannot read the port of destination %s: %w", dest.Whoami, err)
	}
	return string(port) == string(wire.EncodeNumber(dest.Port)), nil
}

// slotsOf is how many entries of its queue a destination should have.
func slotsOf(ctx context.Context, m *member.Member, whoami string) (int, error) {
	data, _, _, err := m.Read(ctx, m.Tree.Slots(whoami))
	if err != nil {
		return 0, fmt.Errorf("cannot read the slots of destination %s: %w", whoami, err)
	}
	n, err := wire.DecodeNumber(data)
	if err != nil || n < 1 {
		return 1, nil
	}
	return min(n, wire.MaxSlots), nil
}

// offer puts a destination into its queue until it is there so many times: one entry too much would
// send it a job too much. The caller holds S/destslock.
func offer(ctx context.Context, m *member.Member, path string, dest wire.Dest, times int) error {
	there, err := queued(ctx, m, path, dest)
	if err != nil || there >= times {
		return err
	}
	queue := m.ZK.Queue(path)
	if err := queue.Ensure(ctx); err != nil {
		return fmt.Errorf("cannot make the queue of destinations: %w", err)
	}
	for ; there < times; there++ {
		if err := queue.Put(ctx, zkclient.DefaultPriority, dest.Encode()); err != nil {
			return fmt.Errorf("cannot put a destination into the queue: %w", err)
		}
	}
	m.Log.Info(fmt.Sprintf("Added destination %s to queue with port %d", dest.Whoami, dest.Port), "destination", dest.Whoami, "port", dest.Port)
	return nil
}

// queued counts the entries of a destination in its queue.
func queued(ctx context.Context, m *member.Member, path string, dest wire.Dest) (int, error) {
	entries, value := path+"/entries", string(dest.Encode())
	names, err := m.Children(ctx, entries)
	if err != nil {
		return 0, fmt.Errorf("cannot read the queue of destinations: %w", err)
	}
	n := 0
	for _, name := range names {
		data, _, _, err := m.Read(ctx, entries+"/"+name)
		if err != nil {
			return 0, fmt.Errorf("cannot read the queue of destinations: %w", err)
		}
		if string(data) == value {
			n++
		}
	}
	return n, nil
}
