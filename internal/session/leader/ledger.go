// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// ledger is the leader's hold on S/meta. Whatever changes the numbers of a session goes through it, as
// one transaction with the new content: after a lost reply S/meta tells whether it was applied.
type ledger struct {
	mu      sync.Mutex
	current wire.Meta
}

// now is the last content that is known.
func (l *ledger) now() wire.Meta {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// settle reads how far the session is, at the start of each ZooKeeper session: the reply to the last
// update of the one before may have been lost.
func (l *ledger) settle(ctx context.Context, m *member.Member) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, _, err := l.read(ctx, m)
	if err == nil {
		l.current = state
	}
	return err
}

func (l *ledger) read(ctx context.Context, m *member.Member) (wire.Meta, int32, error) {
	state, version, ok, err := m.Meta(ctx)
	switch {
	case err != nil:
		return wire.Meta{}, 0, err
	case !ok:
		return wire.Meta{}, 0, errCleanedUp(m)
	}
	return state, version, nil
}

// errCleanedUp is the end of a leader whose session somebody else has ended.
func errCleanedUp(m *member.Member) error {
	return fmt.Errorf("cannot go on: session %q was cleaned up by another source while this master had no connection; start it again", m.Tree.Name())
}

// update makes a change, together with the operations it tells of, exactly once as long as the
// ZooKeeper session lasts. After that, settle and the numbers of now tell whether it was made.
func (l *ledger) update(ctx context.Context, m *member.Member, change func(*wire.Meta), ops ...zkclient.Op) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.current
	change(&next)
	next.Step++
	state, version, err := l.read(ctx, m)
	if err != nil {
		return err
	}
	if !state.Equal(l.current) {
		return errSecondLeader(m)
	}
	done := func(ctx context.Context) (bool, error) {
		state, _, err := l.read(ctx, m)
		return err == nil && state.Equal(next), err
	}
	err = m.ZK.Settle(ctx, done, append([]zkclient.Op{zkclient.OpSet(m.Tree.Meta(), next.Encode(), version)}, ops...)...)
	switch {
	case errors.Is(err, zkclient.ErrBadVersion):
		return errSecondLeader(m)
	case err != nil:
		return err
	}
	l.current = next
	return nil
}

func errSecondLeader(m *member.Member) error {
	return fmt.Errorf("cannot go on: another client has changed the state of session %q, is there a second master?", m.Tree.Name())
}
