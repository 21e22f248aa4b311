// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"errors"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/zkclient"
)

// collect keeps the statistics of a run for the next flush.
func (w *Worker) collect(stats rsyncrunner.Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, n := range stats {
		w.stats[name] += n
	}
}

// flushStats adds to the session's counters every now and then: nine more operations a path would be
// most of the work of a short one.
func (w *Worker) flushStats(ctx, waiting context.Context, m *member.Member) {
	for zkclient.Sleep(waiting, w.client.Timing.StatsFlush) == nil {
		// Not given up at the end of the session: whether it was applied would be unknown.
		if err := w.addStats(ctx, m); err != nil && ctx.Err() == nil {
			w.client.Log.Warn(err.Error(), "error", err)
		}
	}
}

func (w *Worker) addStats(ctx context.Context, m *member.Member) error {
	w.mu.Lock()
	stats := w.stats
	w.stats = rsyncrunner.Stats{}
	w.mu.Unlock()
	if len(stats) == 0 {
		return nil
	}
	err := m.ZK.AddCounters(ctx, m.Tree.Stats(), stats)
	if errors.Is(err, zkclient.ErrNotCounter) || errors.Is(err, zkclient.ErrNoAuth) { // somebody has written there
		w.noStats(err)
		return nil
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, zkclient.ErrSessionLost) { // else they may have been added
			w.collect(stats)
		}
		return err
	}
	return nil
}
