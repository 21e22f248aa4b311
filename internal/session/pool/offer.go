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
	queue string
	dest  wire.Dest
	slots int
}

// NewOffer publishes how many slots this client has, if that is more than one: whoever sets a destination
// aside has to know how many entries there should be. Port and key are published already. One that is open
// serves sources of the Python version, too.
func NewOffer(ctx context.Context, m *member.Member, port, slots int, open bool) (*Offer, error) {
	o := &Offer{m, m.Tree.ExtDestQueue(), wire.Dest{Port: port, Whoami: m.Client.Whoami}, slots}
	if open {
		o.queue = m.Tree.DestQueue()
	}
	if slots == 1 {
		return o, nil
	}
	return o, m.Publish(ctx, m.Tree.Slots(m.Client.Whoami), wire.EncodeNumber(slots))
}

// PublishPort sets S/portmap of this client.
func PublishPort(ctx context.Context, m *member.Member, port int) error {
	return m.Publish(ctx, m.Tree.PortMap(m.Client.Whoami), wire.EncodeNumber(port))
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
		return offer(ctx, o.m, o.queue, o.dest, o.slots)
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
	n, err := queued(ctx, o.m, o.queue, o.dest)
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
