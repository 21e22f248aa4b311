// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// board is what a client says of itself: each part of it adds what it knows.
type board struct {
	mu      sync.Mutex
	parts   []*func(*wire.Status)
	warning *wire.Warning
}

// Tell has part add to what this client says of itself, from now on until forget is called. It is called every
// Timing.Status by one goroutine, which it must not hold up.
func (c *Client) Tell(part func(*wire.Status)) (forget func()) {
	b := &c.board
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = append(b.parts, &part)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.parts = slices.DeleteFunc(b.parts, func(p *func(*wire.Status)) bool { return p == &part })
	}
}

// status is what this client says of itself now.
func (c *Client) status() wire.Status {
	c.board.mu.Lock()
	parts := slices.Clone(c.board.parts)
	s := wire.Status{Host: c.system, Version: c.version, Since: c.since.Unix(), Load: load(), Warning: c.board.warning}
	c.board.mu.Unlock()
	for _, part := range parts {
		(*part)(&s)
	}
	return s
}

// load is how many processes of this host run or wait to, over the last minute.
func load() float64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	const scale, hundred = 1 << 16, 100
	return float64(info.Loads[0]*hundred/scale) / hundred
}

// refresh is how many periods pass until what always changes a little is written again.
const refresh = 12

// tell keeps S/status of this client true until ctx ends. Nothing depends on it: what cannot be written is left to
// the next time.
func (m *Member) tell(ctx context.Context) {
	timing, path := m.Client.Timing, m.Tree.Status(m.Client.Whoami)
	var last wire.Status
	var written time.Time
	for pause := timing.Status / 5; zkclient.Sleep(ctx, pause) == nil; pause = timing.Status {
		now := m.Client.status()
		if now.Role == "" || !written.IsZero() && (now.Same(last) && time.Since(written) < refresh*timing.Status || bytes.Equal(now.Encode(), last.Encode())) {
			continue
		}
		if err := m.Publish(ctx, path, now.Encode()); err != nil {
			if ctx.Err() == nil {
				m.Log.Debug(err.Error(), "error", err)
			}
			continue
		}
		last, written = now, time.Now()
	}
}

// warnings passes records on to another handler, and keeps the last one that people should see.
type warnings struct {
	slog.Handler
	board *board
}

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || w.Handler.Enabled(ctx, level)
}

func (w warnings) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		w.board.mu.Lock()
		w.board.warning = wire.NewWarning(r.Time.Unix(), r.Message)
		w.board.mu.Unlock()
	}
	if !w.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return w.Handler.Handle(ctx, r)
}

func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs), w.board}
}

func (w warnings) WithGroup(name string) slog.Handler {
	return warnings{w.Handler.WithGroup(name), w.board}
}
