// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"vsc-zk/internal/zkclient"
)

// metaFormat is the version of S/meta's content.
const metaFormat = 1

// meta is the content of S/meta: what a run has done so far. Only the master
// writes it, in the transactions that do what it tells of.
type meta struct {
	Format int    `json:"format"`
	ID     string `json:"id"`     // of the master that has begun the run
	Epoch  int64  `json:"epoch"`  // czxid of S/watch/ready; that of another run: void
	Step   int    `json:"step"`   // transactions so far: no two contents are the same
	Queued int    `json:"queued"` // entries put into the queues of paths
	Cuts   int    `json:"cuts"`   // transactions that have put pieces of paths in their place
	Again  int    `json:"again"`  // failures among them that were queued again, and then ended
	Pass   int    `json:"pass"`   // walks that are done
	Cursor text   `json:"cursor"` // the last entry of this pass that was queued; all before it, in the walk's order, are
	Ended  Counts `json:"ended"`  // what became of them; Unfinished is not counted here
}

// paths is how many paths have to be accounted for.
func (mt meta) paths() int { return mt.Queued - mt.Again }

func (mt meta) encode() []byte {
	data, err := json.Marshal(mt)
	if err != nil {
		panic(err) // a struct of numbers
	}
	return data
}

// readMeta returns the meta of this epoch with its version; ok is false if
// there is none, or it is another run's.
func (m *member) readMeta(ctx context.Context) (mt meta, version int32, ok bool, err error) {
	data, stat, err := m.Get(ctx, m.tree.meta())
	if errors.Is(err, zkclient.ErrNoNode) {
		return meta{}, 0, false, nil
	}
	if err != nil {
		return meta{}, 0, false, fmt.Errorf("cannot read the session's state: %w", err)
	}
	mt, ok = decodeMeta(data, m.epoch.Load())
	return mt, stat.Version, ok, nil
}

// decodeMeta reads the content of S/meta; ok is false if it is not of this
// epoch.
func decodeMeta(data []byte, epoch int64) (mt meta, ok bool) {
	if epoch == 0 || json.Unmarshal(data, &mt) != nil || mt.Format != metaFormat || mt.Epoch != epoch {
		return meta{}, false
	}
	return mt, true
}

// ledger is the master's hold on S/meta. Whatever changes the numbers of a run
// goes through it, as one transaction with the new content: after a lost reply
// S/meta tells whether it was applied.
type ledger struct {
	mu      sync.Mutex
	current meta
}

// now is the last content that is known.
func (l *ledger) now() meta {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// settle reads where the run is, at the start of each ZooKeeper session: the
// reply to the last update of the one before may have been lost.
func (l *ledger) settle(ctx context.Context, m *member) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, _, err := l.read(ctx, m)
	if err == nil {
		l.current = state
	}
	return err
}

func (l *ledger) read(ctx context.Context, m *member) (meta, int32, error) {
	state, version, ok, err := m.readMeta(ctx)
	switch {
	case err != nil:
		return meta{}, 0, err
	case !ok:
		return meta{}, 0, m.errCleanedUp()
	}
	return state, version, nil
}

// errCleanedUp is the end of a master whose run somebody else has ended.
func (m *member) errCleanedUp() error {
	return fmt.Errorf("cannot go on: session %q was cleaned up by another source while this master had no connection; start it again", m.tree.name())
}

// update makes a change, together with the operations it tells of, exactly
// once as long as the ZooKeeper session lasts. After that, settle and the
// numbers of now tell whether it was made.
func (l *ledger) update(ctx context.Context, m *member, change func(*meta), ops ...zkclient.Op) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.current
	change(&next)
	next.Step++
	for {
		state, version, err := l.read(ctx, m)
		if err != nil {
			return err
		}
		switch state {
		case next:
			l.current = next
			return nil
		case l.current:
		default:
			return fmt.Errorf("cannot go on: another client has changed the state of session %q, is there a second master?", m.tree.name())
		}
		err = m.Multi(ctx, append([]zkclient.Op{zkclient.OpSet(m.tree.meta(), next.encode(), version)}, ops...)...)
		if err == nil {
			l.current = next
			return nil
		}
		if !errors.Is(err, zkclient.ErrConnectionLoss) && !errors.Is(err, zkclient.ErrBadVersion) {
			return err
		}
	}
}
