// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"vsc-zk/internal/rsyncrunner"
)

// progress logs how far a run is, when that has changed.
type progress struct {
	*client
	shown          time.Time
	left           int
	sources, dests int
}

func newProgress(c *client) *progress { return &progress{client: c, left: -1, sources: -1} }

// show logs the paths that remain and the statistics, and the clients, each if
// changed since the last time; at the end at once, else no more often than every
// Timing.Progress.
func (p *progress) show(ctx context.Context, m *member, left, total, failed int, end bool) error {
	if !end && time.Since(p.shown) < p.cfg.Timing.Progress {
		return nil
	}
	p.shown = time.Now()
	total = max(total, left) // the walk may have gone on between the two readings
	if left != p.left && total > 0 {
		p.left = left
		p.log.Info(fmt.Sprintf("Progress: %d of %d paths remaining, %d failed", left, total, failed))
		if err := m.logStats(ctx); err != nil {
			return err
		}
	}
	sources, err := m.parties[partySources].Count(ctx)
	if err != nil {
		return fmt.Errorf("cannot count the sources of the session: %w", err)
	}
	dests, err := m.Party(m.tree.party(partyDests), "").Count(ctx)
	if err != nil {
		return err
	}
	if sources != p.sources || dests != p.dests {
		p.sources, p.dests = sources, dests
		if p.cfg.Jobs == 0 {
			sources-- // the master only coordinates
		}
		p.log.Info(fmt.Sprintf("Connected source (slave) clients: %d, connected destination clients: %d", sources, dests))
	}
	return nil
}

// logStats logs the session's counters.
func (m *member) logStats(ctx context.Context) error {
	values, err := m.Counters(ctx, m.tree.stats(), rsyncrunner.StatNames[:])
	if err != nil {
		return fmt.Errorf("cannot read the session's statistics: %w", err)
	}
	fields := make([]string, len(rsyncrunner.StatNames))
	for i, name := range rsyncrunner.StatNames {
		fields[i] = fmt.Sprintf("%q: %d", name, values[name])
	}
	m.log.Info("progress stats: {" + strings.Join(fields, ", ") + "}")
	return nil
}

// others is the sorted list of names without self.
func others(names []string, self string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == self })
	slices.Sort(names)
	return strings.Join(names, ", ")
}
