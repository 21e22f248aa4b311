// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// flusher has what was received reach the disk, and publishes of which results that is true. It works
// in intervals of transactions: an interval is void if the base did not lie at the same place all the time.
type flusher struct {
	base   *guard.Base
	now    chan struct{} // has a token if an interval is to end
	doubts atomic.Bool   // the base was seen elsewhere in this interval

	mu    sync.Mutex // held while an interval ends
	begun bool
	said  wire.Synced // what is published
	turns int         // of the base, at the beginning of the interval
	away  bool        // then it was not what it should be
	asked int32       // how often the leader had asked at the last look
	born  time.Time
	took  time.Duration // the last flush
}

func newFlusher(base *guard.Base) *flusher {
	return &flusher{base: base, now: make(chan struct{}, 1), born: time.Now()}
}

// readSync reads S/sync, "" if the leader of this session has made none.
func readSync(ctx context.Context, m *member.Member) (string, error) {
	data, stat, _, err := m.Read(ctx, m.Tree.Sync())
	if err != nil {
		return "", fmt.Errorf("cannot read when results count: %w", err)
	}
	if stat.Czxid != m.Client.Epoch() {
		return "", nil // of another session
	}
	return string(data), nil
}

// begin publishes the node of this destination before it offers itself: by that the leader knows that its
// results wait. What an earlier process of the same name has received and not flushed is void, because it
// may have been on a host that has lost its power since.
func (f *flusher) begin(ctx context.Context, m *member.Member) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun {
		return nil
	}
	own := m.Tree.Synced(m.Client.Whoami)
	var away error
	if f.turns, away = f.base.Turns(); away != nil {
		f.doubt()
	}
	for {
		err := m.ZK.Multi(ctx, zkclient.OpCreate(own, f.said.Encode(), zkclient.Persistent), zkclient.OpSet(m.Tree.AllSynced(), nil, -1))
		switch {
		case err == nil:
			f.begun = true
			return nil
		case errors.Is(err, zkclient.ErrConnectionLoss):
			continue
		case !errors.Is(err, zkclient.ErrNodeExists):
			return fmt.Errorf("cannot publish how far this destination has flushed: %w", err)
		}
		data, _, err := m.ZK.Get(ctx, own)
		if err != nil {
			return fmt.Errorf("cannot read how far this destination has flushed: %w", err)
		}
		if f.said, err = wire.DecodeSynced(data); err != nil {
			f.said = wire.Synced{}
		}
		f.begun = true
		f.doubt()
		return nil
	}
}

// Intervals grow with the age of the destination, so that the account of a short session is not behind, and no
// more than a small part of the time goes into flushing.
const (
	partOfAge   = 16
	partOfFlush = 32
)

// pause is how long the next interval takes at most.
func (f *flusher) pause(least, most time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return min(max(least, time.Since(f.born)/partOfAge, f.took*partOfFlush), most)
}

// run ends an interval after a pause, whenever the leader asks, and when the base was seen elsewhere.
func (f *flusher) run(ctx context.Context, m *member.Member, most time.Duration) {
	m.Background(func() {
		err := m.ZK.WatchData(ctx, m.Tree.Sync(), func(_ []byte, stat zkclient.Stat, exists bool) {
			if exists && stat.Czxid == m.Client.Epoch() && stat.Version > f.asked {
				f.asked = stat.Version
				f.wake()
			}
		})
		if err != nil && ctx.Err() == nil {
			m.Fail(err) // the leader would ask in vain
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(f.pause(m.Client.Timing.Flush, most)):
		case <-f.now:
		}
		if err := f.end(ctx, m); err != nil && ctx.Err() == nil {
			m.Log.Warn(err.Error(), "error", err)
			f.wake()
			_ = zkclient.Sleep(ctx, m.Client.Timing.Retry)
		}
	}
}

func (f *flusher) wake() {
	select {
	case f.now <- struct{}{}:
	default:
	}
}

// doubt makes the interval void, and ends it soon, so that others can send its paths.
func (f *flusher) doubt() {
	if !f.doubts.Swap(true) {
		f.wake()
	}
}

// leave ends the last interval, unless this is no end in good order: then the ZooKeeper session was lost,
// or the leader has removed S/sync because nothing waits any more.
func (f *flusher) leave(ctx context.Context, m *member.Member) {
	if m.ZK.Context().Err() != nil {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.Client.Timing.Leave)
	defer cancel()
	sync, err := readSync(last, m)
	if err == nil && sync == wire.SyncOn {
		err = f.end(last, m)
	}
	if err != nil && m.ZK.Context().Err() == nil {
		m.Log.Warn(fmt.Sprintf("%v: what was received last will be compared again", err), "error", err)
	}
}

// end ends an interval: the results before this moment are those whose data was written before it.
func (f *flusher) end(ctx context.Context, m *member.Member) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := m.Tree.Synced(m.Client.Whoami)
	stat, err := m.ZK.Set(ctx, own, f.said.Encode(), -1)
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil // the session was cleaned up
	}
	if err != nil {
		return fmt.Errorf("cannot say how far this destination has flushed: %w", err)
	}
	doubtful := f.doubts.Swap(false)
	defer func() {
		if err != nil && doubtful {
			f.doubts.Store(true)
		}
	}()
	turns, away := f.base.Turns()
	away = cmp.Or(away, f.base.Problem())
	doubtful = doubtful || away != nil || turns != f.turns
	next := f.said.To(stat.Mzxid)
	began := time.Now()
	if doubtful {
		next = f.said.ToVoid(stat.Mzxid, "")
		level := slog.LevelWarn
		if f.away { // it was said
			level = slog.LevelDebug
		}
		m.Log.Log(ctx, level, fmt.Sprintf("What was received since the last flush may lie elsewhere than in %s, because that was not there all the time: it is sent again", f.base.Dir),
			"event", "not-flushed", "destination", m.Client.Whoami)
	} else if problem := f.flush(ctx); ctx.Err() != nil {
		return fmt.Errorf("cannot flush: %w", context.Cause(ctx))
	} else if problem != nil {
		next = f.said.ToVoid(stat.Mzxid, problem.Error())
		m.Log.Error(fmt.Sprintf("%v: what was received since the last flush counts as failed", problem), "event", "flush-failed", "destination", m.Client.Whoami, "error", problem)
	}
	err = m.ZK.Settle(ctx, nil, zkclient.OpSet(own, next.Encode(), -1), zkclient.OpSet(m.Tree.AllSynced(), nil, -1))
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot say how far this destination has flushed: %w", err)
	}
	m.Log.Debug("The file system of the base is flushed", "event", "flushed", "destination", m.Client.Whoami, "seconds", time.Since(began).Seconds())
	f.said, f.turns, f.took, f.away = next, turns, time.Since(began), away != nil
	if away != nil {
		f.doubts.Store(true) // runs under way go on writing
	}
	return nil
}

// flush returns when the file system of the base is on its disk. Nothing can interrupt that: when ctx ends
// first it is left to itself.
func (f *flusher) flush(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- guard.Flush(f.base.Dir) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return nil
	}
}
