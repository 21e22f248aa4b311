// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/zkclient"
)

// health judges whether sources can send to this destination.
type health struct {
	base   *guard.Base // nil: there is nothing to judge
	writes bool        // the session writes at its destinations

	space atomic.Pointer[guard.Space] // at the last look; nil: not known
}

// trouble is why nothing can be received now.
type trouble struct {
	error
	moved bool       // what was received since the last look may lie somewhere else
	waits bool       // it is nothing that whoever has started this process should mend before it can start
	level slog.Level // of the message about it
}

// examine says what keeps sources from sending, nil if nothing does. Without verification of the base nothing is
// judged, as the user wants it. A full examination tries what the others only ask for: the daemon, and
// writing. named is as in [guard.TryWrite].
func (h *health) examine(ctx context.Context, server daemon, full, named bool) *trouble {
	if h.base == nil {
		return nil
	}
	if space, err := guard.SpaceBelow(h.base.Dir); err == nil {
		h.space.Store(&space)
	}
	if err := h.base.Problem(); err != nil {
		t := &trouble{error: err, moved: true, waits: true, level: slog.LevelWarn}
		if errors.Is(err, guard.ErrBasePath) {
			t.level = slog.LevelInfo // as in the original
		}
		return t
	}
	if !h.base.Config.VerifyPath {
		return nil
	}
	if h.writes {
		err := guard.Room(h.base.Dir)
		if err == nil && full {
			err = guard.TryWrite(h.base.Dir, named)
		}
		if err != nil {
			return &trouble{error: err, level: slog.LevelWarn}
		}
	}
	if daemon, ok := server.(interface{ Try(context.Context) error }); ok && full {
		if err := daemon.Try(ctx); err != nil {
			err = daemon.Try(ctx) // this node may have been short of something for a moment
			if err != nil && ctx.Err() == nil {
				return &trouble{error: err, level: slog.LevelWarn}
			}
		}
	}
	return nil
}

// silent is the trouble with a file system that does not answer.
func (h *health) silent(since time.Duration) *trouble {
	return &trouble{error: fmt.Errorf("cannot look at %s: its file system has not answered for %v", h.base.Dir, since), waits: true, level: slog.LevelWarn}
}

// watch is a series of examinations.
type watch struct {
	found chan *trouble // of each; nil: all is well

	suspected atomic.Bool
	cancel    context.CancelFunc
	done      chan struct{}
	patience  time.Duration
}

// watch examines again and again, in full at first, then every Timing.SelfTest and while something is
// wrong. It is a goroutine of its own: the file system of a dead server holds up whoever looks at it.
func (h *health) watch(ctx context.Context, server daemon, timing member.Timing) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{found: make(chan *trouble), cancel: cancel, done: make(chan struct{}), patience: timing.Settle}
	go func() {
		defer close(w.done)
		var last *trouble
		var tried time.Time
		for first := true; ; first = false {
			again := first || last != nil
			full := w.suspected.Swap(false) || again || time.Since(tried) >= timing.SelfTest
			last = h.examine(ctx, server, full, again)
			if full {
				tried = time.Now()
			}
			select {
			case w.found <- last:
			case <-ctx.Done():
				return
			}
			if zkclient.Sleep(ctx, timing.PathCheck) != nil {
				return
			}
		}
	}()
	return w
}

// suspect has the next examination be a full one.
func (w *watch) suspect() { w.suspected.Store(true) }

// stop ends the series. One that a dead file server holds up is left to itself after a while.
func (w *watch) stop() {
	w.cancel()
	select {
	case <-w.done:
	case <-time.After(w.patience):
	}
}

// errUnfit is the end of a destination that could not receive anything from the start: who has started it
// should hear of it.
var errUnfit = errors.New("cannot serve as a destination")
