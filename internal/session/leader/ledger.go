// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// ledger is the leader's hold on S/meta. Whatever changes the numbers of a session goes through it, as
// one transaction with the new content: after a lost reply S/meta tells whether it was applied. What
// others write there is overwritten.
type ledger struct {
	mu      sync.Mutex
	current wire.Meta
	adopted bool // the session was begun by another leader

	// open holds the paths that were queued and have not ended, and how often; it is as large as the
	// window. A result for any other path tells of nothing that this leader asked for.
	open map[wire.Text]int
}

// errNoState is the end of a leader that finds no S/meta of its session.
var errNoState = errors.New("cannot go on: the state of the session (S/meta) is gone; start the session again, what has been sent is only compared")

// now is the last content that is known.
func (l *ledger) now() wire.Meta {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// begin is the content of a session that begins.
func (l *ledger) begin(meta wire.Meta) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = meta
}

// expect notes paths that are about to be queued.
func (l *ledger) expect(tasks []wire.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[wire.Text]int{}
	}
	for _, task := range tasks {
		l.open[task.Value]++
	}
}

// ends notes that a path has ended, and tells whether it was open. Of the session of another leader it
// is not known which are.
func (l *ledger) ends(path wire.Text) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.adopted {
		return true
	}
	if l.open[path]--; l.open[path] > 0 {
		return true
	}
	open := l.open[path] == 0
	delete(l.open, path)
	return open
}

// isOpen is ends for a look.
func (l *ledger) isOpen(path wire.Text) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.adopted || l.open[path] > 0
}

// missing are the paths that are open, in order.
func (l *ledger) missing() []wire.Text {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.open))
}

// unfinished is how many paths have not ended; left of them are in a queue.
func (l *ledger) unfinished(left int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.adopted {
		// What was queued and is neither ended nor in a queue was removed by somebody else: nobody can
		// say that it was done.
		return max(left, l.current.Paths()-l.current.Ended.Ended())
	}
	n := 0
	for _, times := range l.open {
		n += times
	}
	return n
}

// settle reads how far the session is, at the start of each ZooKeeper session: the reply to the last
// update of the one before may have been lost.
func (l *ledger) settle(ctx context.Context, m *member.Member) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, _, ok, err := l.read(ctx, m)
	if err == nil && ok {
		l.current = state
	}
	return err
}

// node is S/meta as it was found.
type node struct {
	version int32
	exists  bool
	ours    bool // this user may write it
}

// read reads S/meta; ok is false if it has no content of this leader, as somebody else has changed or
// deleted it. With the watch node gone as well it is the whole session that is gone.
func (l *ledger) read(ctx context.Context, m *member.Member) (state wire.Meta, n node, ok bool, err error) {
	data, stat, err := m.ZK.Get(ctx, m.Tree.Meta())
	n = node{version: stat.Version, exists: !errors.Is(err, zkclient.ErrNoNode), ours: !errors.Is(err, zkclient.ErrNoAuth)}
	if err != nil && n.exists && n.ours {
		return state, n, false, fmt.Errorf("cannot read the session's state: %w", err)
	}
	state, readable := wire.DecodeMeta(data)
	if err == nil && readable && state.Of(m.Client.Epoch()) {
		return state, n, true, nil
	}
	ready, found, err := m.ZK.Exists(ctx, m.Tree.Ready())
	if err != nil {
		return state, n, false, fmt.Errorf("cannot look for the session: %w", err)
	}
	if l.current.ID == "" || m.Client.Ended() != nil || !found || ready.Czxid != m.Client.Epoch() {
		return state, n, false, errNoState
	}
	m.Log.Warn(fmt.Sprintf("Somebody has changed or deleted %s, which is only the master's: it will be restored. It had %.100q", m.Tree.Meta(), data),
		"event", "foreign", "znode", m.Tree.Meta())
	return state, n, false, nil
}

// update makes a change, together with the operations it tells of, exactly once as long as the
// ZooKeeper session lasts. After that, settle and the numbers of now tell whether it was made. Once
// begun it goes on when ctx ends: nobody could say what became of it.
func (l *ledger) update(ctx context.Context, m *member.Member, change func(*wire.Meta), ops ...zkclient.Op) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx = m.Context()
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.current
	change(&next)
	next.Step++
	for doubtful, locked := false, false; ; {
		state, n, ok, err := l.read(ctx, m)
		switch {
		case err != nil:
			return err
		case ok && state.Equal(next):
			l.current = next
			return nil
		case ok && state.Equal(l.current), !ok && !doubtful:
		default:
			return fmt.Errorf("cannot go on: another client has changed the state of session %q, is there a second master?", m.Tree.Name())
		}
		n.ours = n.ours && !locked
		all := append(n.write(m.Tree.Meta(), next.Encode()), ops...)
		err = m.ZK.Multi(ctx, all...)
		var refused *zkclient.OpError
		switch meta := errors.As(err, &refused) && refused.Index < len(all)-len(ops); {
		case err == nil:
			l.current = next
			return nil
		case errors.Is(err, zkclient.ErrConnectionLoss):
			doubtful = true
		case meta && n.ours && errors.Is(err, zkclient.ErrNoAuth):
			locked = true
		case !meta || errors.Is(err, zkclient.ErrNotEmpty) || errors.Is(err, zkclient.ErrNoAuth):
			return err
		}
	}
}

// write gives the node a content.
func (n node) write(path string, data []byte) []zkclient.Op {
	switch {
	case !n.exists:
		return []zkclient.Op{zkclient.OpCreate(path, data, zkclient.Persistent)}
	case !n.ours:
		return []zkclient.Op{zkclient.OpDelete(path), zkclient.OpCreate(path, data, zkclient.Persistent)}
	}
	return []zkclient.Op{zkclient.OpSet(path, data, n.version)}
}
