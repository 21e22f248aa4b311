// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Ready follows S/watch/ready.
type Ready struct {
	Started <-chan struct{} // closed once the node is there
	Stopped <-chan struct{} // closed once it says stop, or is gone again
	Broken  <-chan struct{} // closed once the session has ended before its work was done
	Gone    <-chan struct{} // closed once the node is gone again
}

// WatchReady follows S/watch/ready until ctx ends. The first node that this process meets is its
// session's; if that is missing later, also in a later ZooKeeper session, or another has taken its
// place, the session is over. Client.Ended says why, before Stopped is closed.
func (m *Member) WatchReady(ctx context.Context) *Ready {
	started, stopped, broken, gone := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	start := sync.OnceFunc(func() { close(started) })
	stop := sync.OnceFunc(func() {
		if m.Client.Ended() != nil {
			close(broken)
		}
		close(stopped)
		start()
	})
	vanish := sync.OnceFunc(func() { close(gone); stop() })
	m.Background(func() {
		err := m.ZK.WatchData(ctx, m.Tree.Ready(), func(data []byte, stat zkclient.Stat, exists bool) {
			m.Log.Debug(fmt.Sprintf("Watch status is %q", data))
			switch epoch := m.Client.Epoch(); {
			case exists && epoch == 0:
				m.Client.SetEpoch(stat.Czxid)
			case epoch == 0:
				return // not yet made: a leader will come
			case !exists || stat.Czxid != epoch:
				if m.ended(ctx, m.whyGone) {
					vanish()
				}
				return
			}
			if string(data) != wire.Stop {
				start()
			} else if m.ended(ctx, m.whyStopped) {
				stop()
			}
		})
		if err != nil && ctx.Err() == nil {
			m.Fail(err) // nobody would ever hear of the end
		}
	})
	return &Ready{Started: started, Stopped: stopped, Broken: broken, Gone: gone}
}

// ended notes how the session has ended. What was found first counts: a session that was led to its
// end is cleaned up afterwards. False if it cannot be found out in this ZooKeeper session.
func (m *Member) ended(ctx context.Context, why func(context.Context) (end, err error)) bool {
	if m.Client.end.Load() != nil {
		return true
	}
	end, err := why(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errGoesOn) {
			m.Fail(err)
		}
		return false
	}
	m.Client.end.CompareAndSwap(nil, &end)
	return true
}

// errGoesOn: the session had ended, and somebody has gone on with it since that was seen.
var errGoesOn = errors.New("the session goes on")

// whyStopped finds out how a session has ended whose watch node says stop. A Python leader does not
// say more.
func (m *Member) whyStopped(ctx context.Context) (end, err error) {
	meta, _, ok, err := m.Meta(ctx)
	switch {
	case err != nil || !ok || meta.End == wire.Done:
		return nil, err
	case meta.End == wire.Halted:
		return fmt.Errorf("%w: %w", wire.ErrEnded, wire.ErrHalted), nil
	case meta.End == "":
		if data, _, _, err := m.Read(ctx, m.Tree.Ready()); err != nil || string(data) != wire.Stop {
			return nil, cmp.Or(err, errGoesOn)
		}
		return fmt.Errorf("cannot go on: somebody has written %q into %s, and it was not the master of session %q; "+
			"start the session again, what has been sent is only compared", wire.Stop, m.Tree.Ready(), m.Tree.Name()), nil
	}
	return fmt.Errorf("%w: %s", wire.ErrEnded, wire.Text(meta.End)), nil
}

// whyGone finds out how a session has ended whose watch node is not there any more.
func (m *Member) whyGone(ctx context.Context) (end, err error) {
	data, _, ok, err := m.Read(ctx, m.Tree.Ended())
	if err != nil {
		return nil, err
	}
	switch epitaph := wire.DecodeEpitaph(data); {
	case !ok || epitaph.Epoch != m.Client.Epoch():
		return fmt.Errorf("cannot go on: the znodes of session %q are gone (%s): ZooKeeper was wiped, or somebody has deleted them; "+
			"start the session again, what has been sent is only compared", m.Tree.Name(), m.Tree.Ready()), nil
	case epitaph.Cleaner != "":
		return fmt.Errorf("cannot go on: session %q was cleaned up by another source (%s), which found it without a connected master; "+
			"start the session again, what has been sent is only compared", m.Tree.Name(), wire.Text(epitaph.Cleaner)), nil
	}
	return nil, nil
}

// WatchExtended returns a channel that is closed once the leader of this session is known to use the
// extensions; with a Python one that is never. S/extQueue may hold entries of an earlier session until
// then: the clean-up of a Python client leaves them behind.
func (m *Member) WatchExtended(ctx context.Context) <-chan struct{} {
	extended := make(chan struct{})
	m.Background(func() {
		ctx, found := context.WithCancel(ctx)
		defer found()
		see := sync.OnceFunc(func() { close(extended); found() })
		err := m.ZK.WatchData(ctx, m.Tree.Meta(), func(data []byte, stat zkclient.Stat, exists bool) {
			if _, ok := m.Own(data, stat, exists); ok {
				see()
			}
		})
		if err != nil && ctx.Err() == nil {
			m.Fail(err)
		}
	})
	return extended
}
