// SPDX-License-Identifier: LGPL-2.1-or-later

package pool

import (
	"context"
	"errors"
	"fmt"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Offer is a destination's side: what it has published of itself.
type Offer struct {
	m     *member.Member
	dest  wire.Dest
	slots int
}

// NewOffer publishes the key of this client, and how many slots it has, if that is more than one:
// whoever sets a destination aside has to know how many entries there should be. The port is published
// already.
func NewOffer(ctx context.Context, m *member.Member, port, slots int, key wire.Key) (*Offer, error) {
	o := &Offer{m, wire.Dest{Port: port, Whoami: m.Client.Whoami}, slots}
	if err := publish(ctx, m, m.Tree.Key(m.Client.Whoami), key.Encode()); err != nil || slots == 1 {
		return o, err
	}
	return o, publish(ctx, m, m.Tree.Slots(m.Client.Whoami), wire.EncodeNumber(slots))
}

// publish sets the content of an ephemeral node of this ZooKeeper session. One of the client's lost
// session is replaced in one transaction: a Python worker crashes when it finds no port.
func publish(ctx context.Context, m *member.Member, path string, data []byte) error {
	for {
		stat, found, err := m.ZK.Exists(ctx, path)
		switch {
		case err != nil:
			return err
		case found && stat.EphemeralOwner == m.ZK.SessionID():
			_, err = m.ZK.Set(ctx, path, data, -1)
		case found:
			ours := func(ctx context.Context) (bool, error) {
				stat, found, err := m.ZK.Exists(ctx, path)
				return found && stat.EphemeralOwner == m.ZK.SessionID(), err
			}
			err = m.ZK.Settle(ctx, ours, zkclient.OpDelete(path), zkclient.OpCreate(path, data, zkclient.Ephemeral))
		default:
			_, err = m.ZK.CreatePath(ctx, path, data, zkclient.Ephemeral)
		}
		if !errors.Is(err, zkclient.ErrNoNode) && !errors.Is(err, zkclient.ErrNodeExists) {
			return err
		}
	}
}

// PublishPort sets S/portmap of this client.
func PublishPort(ctx context.Context, m *member.Member, port int) error {
	return publish(ctx, m, m.Tree.PortMap(m.Client.Whoami), wire.EncodeNumber(port))
}

// Activate makes this destination available and sees to it that it is in the queue with all its
// slots.
func (o *Offer) Activate(ctx context.Context) error {
	return underLock(ctx, o.m, func() error {
		state, err := o.ownState(ctx)
		if err != nil {
			return err
		}
		if state != wire.Active {
			if err := o.setState(ctx, wire.Active); err != nil {
				return err
			}
			o.say("Destination %s was activated")
		}
		return offer(ctx, o.m, o.dest, o.slots)
	})
}

// Pause says that nothing can be received into the base of this destination.
func (o *Offer) Pause(ctx context.Context) error {
	return underLock(ctx, o.m, func() error {
		state, err := o.ownState(ctx)
		if err != nil {
			return err
		}
		switch state {
		case wire.Active:
			if err := o.setState(ctx, wire.Paused); err != nil {
				return err
			}
			o.say("Destination %s was paused")
		case "":
			o.say("Destination %s not yet activated")
		default:
			o.m.Log.Warn(fmt.Sprintf("Wanted to pause destination %s, but old state was %s", o.dest.Whoami, state), "destination", o.dest.Whoami)
		}
		return nil
	})
}

func (o *Offer) say(format string) {
	o.m.Log.Info(fmt.Sprintf(format, o.dest.Whoami), "destination", o.dest.Whoami)
}

// Queued tells whether this destination is in the queue with all its slots.
func (o *Offer) Queued(ctx context.Context) (bool, error) {
	n, err := queued(ctx, o.m, o.dest)
	return n >= o.slots, err
}

// ownState returns the state of this destination, in a node that belongs to this ZooKeeper session:
// one that a worker has made would vanish with that worker, one of this client's lost session when that
// expires.
func (o *Offer) ownState(ctx context.Context) (string, error) {
	path := o.m.Tree.Dest(o.dest.Whoami)
	data, stat, err := o.m.ZK.Get(ctx, path)
	if err == nil && stat.EphemeralOwner == o.m.ZK.SessionID() {
		return string(data), nil
	}
	if err == nil {
		err = o.m.ZK.Delete(ctx, path)
	}
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return "", fmt.Errorf("cannot take over the state of this destination: %w", err)
	}
	if _, err := o.m.ZK.CreatePath(ctx, path, data, zkclient.Ephemeral); err != nil {
		return "", fmt.Errorf("cannot make the state of this destination: %w", err)
	}
	return string(data), nil
}

func (o *Offer) setState(ctx context.Context, state string) error {
	if _, err := o.m.ZK.Set(ctx, o.m.Tree.Dest(o.dest.Whoami), []byte(state), -1); err != nil {
		return fmt.Errorf("cannot set this destination to %s: %w", state, err)
	}
	return nil
}
