// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

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
	fault, err := m.destFault(ctx, dest)
	if err != nil || fault == "" {
		return fault == "", err
	}
	// Once more behind the lock: a destination that comes back looks for its
	// entry there, and must not find one that is about to be consumed.
	err = m.underDestsLock(ctx, func() error {
		if fault, err = m.destFault(ctx, dest); err != nil {
			return err
		}
		switch fault {
		case "":
			return dest.entry.Release(ctx)
		case statePaused:
			_, err := m.Set(ctx, m.tree.dest(dest.whoami), []byte(stateDisabled), -1)
			if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
				return err
			}
		case faultPort:
			m.log.Error("destination port not valid")
		}
		m.log.Debug(fmt.Sprintf("Destination %s is taken out of the queue: %s", dest.whoami, fault))
		return dest.entry.Consume(ctx)
	})
	if errors.Is(err, zkclient.ErrNotHeld) {
		err = nil
	}
	return false, err
}

// What a source can find wrong with a destination, beside its states.
const (
	faultGone = "gone"
	faultPort = "port"
)

// destFault says what is wrong with a destination, "" if nothing is. One whose
// port is published is connected: the node goes with its ZooKeeper session.
func (m *member) destFault(ctx context.Context, dest *heldDest) (string, error) {
	valid := false
	var state []byte
	group, limited := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		valid, err = m.hasPort(limited, dest)
		return err
	})
	group.Go(func() (err error) {
		if state, _, err = m.Get(limited, m.tree.dest(dest.whoami)); errors.Is(err, zkclient.ErrNoNode) {
			err = nil
		}
		return err
	})
	if err := group.Wait(); err != nil {
		return "", err
	}
	if valid {
		if s := string(state); s == statePaused || s == stateDisabled {
			return s, nil
		}
		return "", nil
	}
	connected, err := m.all.Has(ctx, dest.whoami)
	if err == nil && !connected {
		return faultGone, nil
	}
	return faultPort, err
}

// hasPort tells whether the port of a queue entry is still the destination's.
func (m *member) hasPort(ctx context.Context, dest *heldDest) (bool, error) {
	port, _, err := m.Get(ctx, m.tree.portMap(dest.whoami))
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return false, fmt.Errorf("cannot read the port of destination %s: %w", dest.whoami, err)
	}
	return string(port) == strconv.Itoa(dest.port), nil
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

// enqueueDest puts this destination into S/destQueue, as often as it has slots.
func (m *member) enqueueDest(ctx context.Context, port int) error {
	return m.offer(ctx, destValue(port, m.whoami), m.cfg.Slots)
}

// destValue is an entry of S/destQueue.
func destValue(port int, whoami string) string { return fmt.Sprintf("%d:%s", port, whoami) }

// destQueued tells whether this destination is in S/destQueue with all its slots.
func (m *member) destQueued(ctx context.Context, port int) (bool, error) {
	n, err := m.inDestQueue(ctx, destValue(port, m.whoami))
	return n >= m.cfg.Slots, err
}

// inDestQueue counts the entries of S/destQueue that have a value.
func (m *member) inDestQueue(ctx context.Context, value string) (int, error) {
	entries := m.tree.destQueue() + "/entries"
	names, err := m.Children(ctx, entries)
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return 0, fmt.Errorf("cannot read the queue of destinations: %w", err)
	}
	n := 0
	for _, name := range names {
		data, _, err := m.Get(ctx, entries+"/"+name)
		if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
			return 0, fmt.Errorf("cannot read the queue of destinations: %w", err)
		}
		if err == nil && string(data) == value {
			n++
		}
	}
	return n, nil
}

// publishSlots says how many entries of S/destQueue this destination has, if that
// is more than one: whoever sets one aside has to know how many there should be.
func (m *member) publishSlots(ctx context.Context) error {
	if m.cfg.Slots == 1 {
		return nil
	}
	path, data := m.tree.slots(m.whoami), strconv.AppendInt(nil, int64(m.cfg.Slots), 10)
	for {
		_, err := m.CreatePath(ctx, path, data, zkclient.Ephemeral)
		if !errors.Is(err, zkclient.ErrNodeExists) {
			return err
		}
		stat, found, err := m.Exists(ctx, path)
		if err != nil || found && stat.EphemeralOwner == m.SessionID() {
			return err
		}
		// One of a lost ZooKeeper session of this client.
		if err := m.Delete(ctx, path); err != nil && !errors.Is(err, zkclient.ErrNoNode) {
			return err
		}
	}
}

// slotsOf is how many entries of S/destQueue a destination should have.
func (m *member) slotsOf(ctx context.Context, whoami string) (int, error) {
	data, _, err := m.Get(ctx, m.tree.slots(whoami))
	if errors.Is(err, zkclient.ErrNoNode) {
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot read the slots of destination %s: %w", whoami, err)
	}
	n, err := strconv.Atoi(string(data))
	if err != nil || n < 1 {
		return 1, nil
	}
	return n, nil
}

// offer puts a destination into S/destQueue until it is there so many times: one
// entry too much would send it a source too much. The caller holds S/destslock.
func (m *member) offer(ctx context.Context, value string, times int) error {
	there, err := m.inDestQueue(ctx, value)
	if err != nil || there >= times {
		return err
	}
	queue := m.Queue(m.tree.destQueue())
	if err := queue.Ensure(ctx); err != nil {
		return fmt.Errorf("cannot make the queue of destinations: %w", err)
	}
	for ; there < times; there++ {
		if err := queue.Put(ctx, zkclient.DefaultPriority, []byte(value)); err != nil {
			return fmt.Errorf("cannot put a destination into the queue: %w", err)
		}
	}
	port, name, _ := strings.Cut(value, ":")
	m.log.Info(fmt.Sprintf("Added destination %s to queue with port %s", name, port))
	return nil
}
