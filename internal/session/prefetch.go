// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"maps"
	"time"
)

// prefetch begins to look at what a run of rsync is about to look at, until ctx ends. The function it gives waits for that. A
// lookup that a dead file server holds cannot be ended, and must not hold up this client when it could end rsync: it is left to
// itself after a while.
func (w *worker) prefetch(ctx context.Context, t *transfer) (wait func()) {
	// What rules of the user's leave out may be what nobody should touch.
	if w.ahead == nil || t.Recursive && hasRules(w.cfg.Rsync.Extra) {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if t.Files {
			w.ahead.Files(ctx, t.Names)
			return
		}
		excluded := map[string]bool{}
		for _, p := range t.parts {
			maps.Copy(excluded, p.excluded)
		}
		w.ahead.Dirs(ctx, t.Names, t.Recursive, func(path string) bool { return excluded[path] })
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(w.cfg.Timing.Lookup):
		}
	}
}
