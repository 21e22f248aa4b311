// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"vsc-zk/internal/level"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// progress logs how far a session is, when that has changed.
type progress struct {
	works          bool // the leader's own jobs count as a source
	shown          time.Time
	left           int
	sources, dests int
}

func newProgress(works bool) *progress { return &progress{works: works, left: -1, sources: -1} }

// show logs the paths that remain and the statistics, and the clients, each if it has changed since the
// last time; at the end at once, else no more often than every Timing.Progress.
func (p *progress) show(ctx context.Context, m *member.Member, left, total, failed int, end bool) error {
	if !end && time.Since(p.shown) < m.Client.Timing.Progress {
		return nil
	}
	p.shown = time.Now()
	total = max(total, left) // the walk may have gone on between the two readings
	if left != p.left && total > 0 {
		p.left = left
		m.Log.Log(ctx, level.Detail, fmt.Sprintf("Progress: %d of %d paths remaining, %d failed", left, total, failed),
			"remaining", left, "queued", total, "failed", failed)
		if _, err := logStats(ctx, m); err != nil {
			return err
		}
	}
	sources, err := m.Party(wire.PartySources).Count(ctx)
	if err != nil {
		return fmt.Errorf("cannot count the sources of the session: %w", err)
	}
	dests, err := m.Party(wire.PartyDests).Count(ctx)
	if err != nil {
		return err
	}
	if sources != p.sources || dests != p.dests {
		p.sources, p.dests = sources, dests
		if !p.works {
			sources-- // the leader only leads
		}
		m.Log.Info(fmt.Sprintf("Connected source (slave) clients: %d, connected destination clients: %d", sources, dests),
			"sources", sources, "destinations", dests)
	}
	return nil
}

// logStats logs the session's counters, and gives them. Statistics that cannot be read hold nothing up.
func logStats(ctx context.Context, m *member.Member) (map[string]int64, error) {
	values, err := m.ZK.Counters(ctx, m.Tree.Stats(), rsyncrunner.StatNames[:])
	if errors.Is(err, zkclient.ErrNotCounter) || err != nil && refused(err) {
		m.Log.Warn(fmt.Sprintf("The session has no statistics: %v", err), "event", "foreign", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the session's statistics: %w", err)
	}
	texts, fields := make([]string, len(rsyncrunner.StatNames)), []any{}
	for i, name := range rsyncrunner.StatNames {
		texts[i] = fmt.Sprintf("%q: %d", name, values[name])
		fields = append(fields, name, values[name])
	}
	m.Log.Log(ctx, level.Detail, "progress stats: {"+strings.Join(texts, ", ")+"}", fields...)
	return values, nil
}
