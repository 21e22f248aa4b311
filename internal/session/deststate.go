// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"vsc-zk/internal/zkclient"
)

// States of a destination, the data of S/dests/<whoami>. They change only under
// S/destslock:
//
//	"" -> active             by the destination: daemon up, base path there
//	active -> paused         by the destination: base path gone
//	paused -> disabled       by a source that meets it; takes it out of the queue
//	paused|disabled -> active  by the destination: base path back
const (
	stateActive   = "active"
	statePaused   = "paused"
	stateDisabled = "disabled"
)

// underDestsLock runs change while this client holds S/destslock.
func (m *member) underDestsLock(ctx context.Context, change func() error) (err error) {
	lock := m.Lock(m.tree.destsLock(), m.whoami)
	if err := lock.Acquire(ctx); err != nil {
		return fmt.Errorf("cannot lock the destinations: %w", err)
	}
	defer func() { err = errors.Join(err, m.unlock(ctx, lock)) }()
	return change()
}

// unlock releases a lock also when ctx has just ended: others wait for it.
func (m *member) unlock(ctx context.Context, lock *zkclient.Lock) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := lock.Release(ctx); err != nil && !errors.Is(err, zkclient.ErrSessionLost) {
		return fmt.Errorf("cannot release a lock: %w", err)
	}
	return nil
}

// destUsable is the source's look at a destination it has taken: it must be
// connected, on the port of its queue entry, and not paused. Otherwise the entry
// is consumed. A destination without a state counts as active: a Python one
// that does not verify its path never sets any.
func (m *member) destUsable(ctx context.Context, dest *heldDest) (bool, error) {
	drop := func(consume func() error) (bool, error) {
		if err := consume(); err != nil && !errors.Is(err, zkclient.ErrNotHeld) {
			return false, fmt.Errorf("cannot take destination %s out of the queue: %w", dest.whoami, err)
		}
		return false, nil
	}
	consume := func() error { return dest.entry.Consume(ctx) }

	connected, err := m.all.Has(ctx, dest.whoami)
	if err != nil {
		return false, fmt.Errorf("cannot look for destination %s: %w", dest.whoami, err)
	}
	if !connected {
		m.log.Debug(fmt.Sprintf("destination %s is not connected any more", dest.whoami))
		return drop(consume)
	}
	port, _, err := m.Get(ctx, m.tree.portMap(dest.whoami))
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return false, fmt.Errorf("cannot read the port of destination %s: %w", dest.whoami, err)
	}
	if string(port) != strconv.Itoa(dest.port) {
		m.log.Error("destination port not valid")
		return drop(consume)
	}
	state, _, err := m.Get(ctx, m.tree.dest(dest.whoami))
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return false, fmt.Errorf("cannot read the state of destination %s: %w", dest.whoami, err)
	}
	switch string(state) {
	case statePaused:
		return drop(func() error { return m.disable(ctx, dest) })
	case stateDisabled:
		return drop(consume)
	}
	return true, nil
}

// disable takes a paused destination out of the queue until it comes back.
func (m *member) disable(ctx context.Context, dest *heldDest) error {
	return m.underDestsLock(ctx, func() error {
		state, _, err := m.Get(ctx, m.tree.dest(dest.whoami))
		if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
			return err
		}
		if string(state) == stateActive { // it has just come back: leave its entry
			return dest.entry.Release(ctx)
		}
		if string(state) == statePaused {
			if _, err := m.Set(ctx, m.tree.dest(dest.whoami), []byte(stateDisabled), -1); err != nil && !errors.Is(err, zkclient.ErrNoNode) {
				return err
			}
		}
		m.log.Debug(fmt.Sprintf("Destination %s was disabled and taken out of the queue", dest.whoami))
		return dest.entry.Consume(ctx)
	})
}

// ownState returns the state of this destination, in a node that belongs to
// this ZooKeeper session: one that a source has made would vanish with that
// source, one of this client's lost session when that expires.
func (m *member) ownState(ctx context.Context) (string, error) {
	path := m.tree.dest(m.whoami)
	data, stat, err := m.Get(ctx, path)
	if err == nil && stat.EphemeralOwner == m.SessionID() {
		return string(data), nil
	}
	if err == nil {
		err = m.Delete(ctx, path)
	}
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return "", fmt.Errorf("cannot take over the state of this destination: %w", err)
	}
	if _, err := m.CreatePath(ctx, path, data, zkclient.Ephemeral); err != nil {
		return "", fmt.Errorf("cannot make the state of this destination: %w", err)
	}
	return string(data), nil
}

func (m *member) setOwnState(ctx context.Context, state string) error {
	if _, err := m.Set(ctx, m.tree.dest(m.whoami), []byte(state), -1); err != nil {
		return fmt.Errorf("cannot set this destination to %s: %w", state, err)
	}
	return nil
}

// activate makes this destination available and sees to it that it is in the
// queue once.
func (m *member) activate(ctx context.Context, port int) error {
	return m.underDestsLock(ctx, func() error {
		state, err := m.ownState(ctx)
		if err != nil {
			return err
		}
		if state != stateActive {
			if err := m.setOwnState(ctx, stateActive); err != nil {
				return err
			}
			m.log.Info(fmt.Sprintf("Destination %s was activated", m.whoami))
		}
		return m.enqueueDest(ctx, port)
	})
}

// pause says that the base path of this destination is gone.
func (m *member) pause(ctx context.Context) error {
	return m.underDestsLock(ctx, func() error {
		state, err := m.ownState(ctx)
		if err != nil {
			return err
		}
		switch state {
		case stateActive:
			if err := m.setOwnState(ctx, statePaused); err != nil {
				return err
			}
			m.log.Info(fmt.Sprintf("Destination %s was paused", m.whoami))
		case "":
			m.log.Info(fmt.Sprintf("Destination %s not yet activated", m.whoami))
		default:
			m.log.Warn(fmt.Sprintf("Wanted to pause destination %s, but old state was %s", m.whoami, state))
		}
		return nil
	})
}

// enqueueDest puts this destination into S/destQueue, unless it is there: a
// second entry would send it a second source.
func (m *member) enqueueDest(ctx context.Context, port int) error {
	value := fmt.Sprintf("%d:%s", port, m.whoami)
	queue := m.Queue(m.tree.destQueue())
	if err := queue.Ensure(ctx); err != nil {
		return fmt.Errorf("cannot make the queue of destinations: %w", err)
	}
	entries := queue.Path() + "/entries"
	names, err := m.Children(ctx, entries)
	if err != nil {
		return fmt.Errorf("cannot read the queue of destinations: %w", err)
	}
	for _, name := range names {
		data, _, err := m.Get(ctx, entries+"/"+name)
		if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
			return fmt.Errorf("cannot read the queue of destinations: %w", err)
		}
		if err == nil && string(data) == value {
			return nil
		}
	}
	if err := queue.Put(ctx, zkclient.DefaultPriority, []byte(value)); err != nil {
		return fmt.Errorf("cannot put this destination into the queue: %w", err)
	}
	m.log.Info(fmt.Sprintf("Added destination %s to queue with port %d", m.whoami, port))
	return nil
}
