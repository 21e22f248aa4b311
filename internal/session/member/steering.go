// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"fmt"
	"sync"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Steering is what users ask for during the run (S/control), as this client knows it in one ZooKeeper session.
// With a leader that does not know the extensions nothing is asked for.
type Steering struct {
	mu      sync.Mutex
	now     wire.Control
	version int32         // of S/control; -1: there is none
	changed chan struct{} // closed when the next one is known
}

// Steer follows S/control until the role ends; whoever of the role asks first begins that. When it returns, what
// was asked for before is known. apply is called with each state, one after the other, before others know it.
func (m *Member) Steer(ctx context.Context, apply func(wire.Control)) (*Steering, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.steering != nil {
		return m.steering, nil
	}
	s := &Steering{version: -1, changed: make(chan struct{})}
	told := false
	note := func(data []byte, stat zkclient.Stat, exists bool) {
		version := stat.Version
		if !exists {
			version = -1
		}
		control, err := wire.DecodeControl(data)
		if err != nil {
			if !told {
				told = true
				m.Log.Warn(fmt.Sprintf("%v. What was there before holds; zkrsync --unpause, for instance, writes it anew", err), "event", "foreign", "znode", m.Tree.Control(), "error", err)
			}
			return
		}
		told = false
		apply(control)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now, s.version = control, version
		close(s.changed)
		s.changed = make(chan struct{})
	}
	_, _, known, err := m.Meta(ctx)
	if err != nil {
		return nil, err
	}
	if known {
		data, stat, ok, err := m.Read(ctx, m.Tree.Control())
		if err != nil {
			return nil, fmt.Errorf("cannot read what users ask for: %w", err)
		}
		note(data, stat, ok)
	}
	extended := m.WatchExtended(m.role)
	m.Background(func() {
		select {
		case <-extended:
		case <-m.role.Done():
			return
		}
		if err := m.ZK.WatchData(m.role, m.Tree.Control(), note); err != nil && m.role.Err() == nil {
			m.Fail(err)
		}
	})
	m.steering = s
	return s, nil
}

// Now is what is asked for, the version of S/control that says so, and a channel that is closed when that is not
// the last one any more.
func (s *Steering) Now() (control wire.Control, version int32, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.version, s.changed
}

// AwaitFree returns when something may be begun.
func (s *Steering) AwaitFree(ctx context.Context) error {
	for {
		control, _, changed := s.Now()
		if !control.Held() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
