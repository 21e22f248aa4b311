// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"fmt"
	"sync"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Ready follows S/watch/ready.
type Ready struct {
	Started <-chan struct{} // closed once the node is there
	Stopped <-chan struct{} // closed once it says stop, or is gone again
	Gone    <-chan struct{} // closed once it is gone again
}

// WatchReady follows S/watch/ready until ctx ends. The first node that this process meets is its
// session's; if that is missing later, also in a later ZooKeeper session, or another has taken its
// place, the session is over.
func (m *Member) WatchReady(ctx context.Context) *Ready {
	started, stopped, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	start := sync.OnceFunc(func() { close(started) })
	stop := sync.OnceFunc(func() { close(stopped); start() })
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
				vanish()
				return
			}
			if string(data) == wire.Stop {
				stop()
				return
			}
			start()
		})
		if err != nil && ctx.Err() == nil {
			m.Fail(err) // nobody would ever hear of the end
		}
	})
	return &Ready{Started: started, Stopped: stopped, Gone: gone}
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
		err := m.ZK.WatchData(ctx, m.Tree.Meta(), func(data []byte, _ zkclient.Stat, exists bool) {
			if meta, ok := wire.DecodeMeta(data); exists && ok && meta.Of(m.Client.Epoch()) {
				see()
			}
		})
		if err != nil && ctx.Err() == nil {
			m.Fail(err)
		}
	})
	return extended
}
