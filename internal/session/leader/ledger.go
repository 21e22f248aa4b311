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

// ledger is the leader's hold on S/meta and the notes beside it. Whatever changes the numbers of a
// session goes through it, as one transaction with the new content: after a lost reply S/meta tells
// whether it was applied. What others write there is overwritten.
type ledger struct {
	mu      sync.Mutex
	current wire.Meta
	since   int32 // the version of S/meta that has become that: the others have a later one; negative: not known

	// open holds the paths that were queued and have not ended, and how often; it is as large as the
	// window. A result for any other path tells of nothing that a leader of this session asked for.
	open map[wire.Text]int

	// Of what another leader has queued, when this one began:
	lost    int // paths that had not ended, and were in no queue
	surplus int // paths that were in a queue, and had ended

	failures  notes // paths that have failed
	leftovers notes // directories in which something is to be deleted
	deeper    notes // directories whose entries were cut

	history *history // of an earlier run; nil: none is known
}

// errNoState is the end of a leader that finds no S/meta of its session.
var errNoState = errors.New("cannot go on: the znodes of the session are gone (S/meta): ZooKeeper was wiped, or somebody has deleted them; start the session again, what has been sent is only compared")

func newLedger(tree wire.Tree) *ledger {
	return &ledger{
		since: -1, open: map[wire.Text]int{},
		failures: newNotes(tree.Failures()), leftovers: newNotes(tree.Leftovers()), deeper: newNotes(tree.Deeper()),
	}
}

// now is the last content that is known.
func (l *ledger) now() wire.Meta {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// begin is the content of a session that begins, or is taken over.
func (l *ledger) begin(meta wire.Meta) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current, l.since = meta, -1
}

// inherit takes over the session of another leader, with the paths that are open.
func (l *ledger) inherit(meta wire.Meta, open map[wire.Text]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	more := meta.Paths() - meta.Ended.Ended() - total(open)
	l.current, l.since, l.open, l.lost, l.surplus = meta, -1, open, max(more, 0), max(-more, 0)
}

// expect notes paths that are about to be queued.
func (l *ledger) expect(tasks []wire.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, task := range tasks {
		l.open[task.Value]++
	}
}

// ends notes that a path has ended, and tells whether it was open.
func (l *ledger) ends(path wire.Text) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	return l.open[path] > 0
}

// missing are the paths that are open, in order.
func (l *ledger) missing() []wire.Text {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.open))
}

// unfinished is how many paths have not ended. What was queued and is neither ended nor in a queue was
// removed by somebody else: nobody can say that it was done.
func (l *ledger) unfinished() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.lost
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
	if err != nil || !ok {
		return err
	}
	l.current, l.since = state, -1
	return l.loadNotes(ctx, m)
}

// loadNotes reads which notes there are.
func (l *ledger) loadNotes(ctx context.Context, m *member.Member) error {
	for _, n := range []*notes{&l.failures, &l.leftovers, &l.deeper} {
		if err := n.load(ctx, m); err != nil {
			return err
		}
	}
	return nil
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
	if state, ok := m.Own(data, stat, err == nil); ok {
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
	return l.note(ctx, m, change, nil, ops...)
}

// note is update with notes.
func (l *ledger) note(ctx context.Context, m *member.Member, change func(*wire.Meta), news []news, ops ...zkclient.Op) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx = m.Context()
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.current
	change(&next)
	next.Step++
	made := func() error {
		l.current = next
		for _, n := range news {
			n.made()
		}
		return nil
	}
	reread := false
	refused := 0
	// The server that this client reads from is behind the others. That passes, or it will never be of use.
	behind := func(why error) error {
		if refused++; refused > maxRefused {
			return fmt.Errorf("the server shows an older state of session %q than the others have, going to another one: %w: %w", m.Tree.Name(), why, member.ErrRejoin)
		}
		return zkclient.Sleep(ctx, m.Client.Timing.Poll)
	}
	for doubtful, locked := false, false; ; {
		state, n, ok, err := l.read(ctx, m)
		switch {
		case err != nil:
			return err
		case ok && state.Equal(next): // the reply was lost
			l.since = n.version - 1
			return made()
		case ok && state.Equal(l.current), !ok && !doubtful:
		case ok && n.version <= l.since:
			if err := behind(fmt.Errorf("it has version %d of %s, which was replaced", n.version, m.Tree.Meta())); err != nil {
				return err
			}
			continue
		default:
			err := fmt.Errorf("cannot go on: another client has changed the state of session %q, is there a second master?", m.Tree.Name())
			if l.since < 0 { // or what was read at first was not the last word
				err = fmt.Errorf("%w: %w", err, member.ErrRejoin)
			}
			return err
		}
		n.ours = n.ours && !locked
		all := append(n.write(m.Tree.Meta(), next.Encode()), ops...)
		others := len(all)
		for _, n := range news {
			all = append(all, n.ops()...)
		}
		err = m.ZK.Multi(ctx, all...)
		var op *zkclient.OpError
		isOp := errors.As(err, &op)
		switch meta := isOp && op.Index < others-len(ops); {
		case err == nil:
			l.since = n.version
			return made()
		case errors.Is(err, zkclient.ErrConnectionLoss):
			doubtful = true
		case meta && n.ours && errors.Is(err, zkclient.ErrNoAuth):
			locked = true
		case isOp && op.Index >= others && !reread && !errors.Is(err, zkclient.ErrNoAuth): // somebody else has made or removed a note
			reread = true
			if err := l.loadNotes(ctx, m); err != nil {
				return err
			}
		case !meta || errors.Is(err, zkclient.ErrNotEmpty) || errors.Is(err, zkclient.ErrNoAuth):
			return err
		default:
			if err := behind(err); err != nil {
				return err
			}
		}
	}
}

// maxRefused is how often a change is tried that a server refuses though it shows what the change is made from.
const maxRefused = 20

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
