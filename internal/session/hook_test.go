// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
)

// hook is a logger's handler that does something once, when a client logs a text, before that client goes on.
type hook struct {
	slog.Handler
	text string
	once *sync.Once
	do   func()
}

func (h hook) Handle(ctx context.Context, record slog.Record) error {
	err := h.Handler.Handle(ctx, record)
	text := record.Message
	record.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	if strings.Contains(text, h.text) {
		h.once.Do(h.do)
	}
	return err
}

func (h hook) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

// when has something done once, when a client logs a text, which waits for it. It is done elsewhere: the thread that
// logs may have mounts of its own. The test fails if it is never done.
func (r *rig) when(text string, do func()) func(*Config) {
	r.t.Helper()
	var done atomic.Bool
	r.t.Cleanup(func() {
		if !done.Load() {
			r.t.Errorf("the log never said %s: this tested nothing", text)
		}
	})
	h := hook{text: text, once: &sync.Once{}, do: func() {
		var elsewhere sync.WaitGroup
		elsewhere.Go(do)
		elsewhere.Wait()
		done.Store(true)
	}}
	return func(c *Config) {
		h := h
		h.Handler = c.Member.Logger.Handler()
		c.Member.Logger = slog.New(h)
	}
}
