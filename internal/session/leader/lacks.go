// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// lacks knows the destinations that have not preserved everything, also those that have left: rsync says
// nothing of it and ends with 0.
type lacks struct {
	found map[string]wire.Lack // by destination
	log   *slog.Logger
}

// look tells of destinations that it has not met before.
func (l *lacks) look(ctx context.Context, m *member.Member) error {
	names, err := m.Children(ctx, m.Tree.AllLacks())
	if err != nil {
		return fmt.Errorf("cannot read what destinations lack: %w", err)
	}
	for _, whoami := range names {
		if _, known := l.found[whoami]; known {
			continue
		}
		data, _, ok, err := m.Read(ctx, m.Tree.Lacks(whoami))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		lack, bad := wire.DecodeLack(data)
		l.found[whoami] = lack
		if bad != nil {
			l.log.Warn(fmt.Sprintf("Passed over %s: %v", m.Tree.Lacks(whoami), bad), "event", "foreign", "znode", m.Tree.Lacks(whoami), "error", bad)
			continue
		}
		l.log.Warn(fmt.Sprintf("Destination %s does not preserve everything: %s", whoami, lack), "event", "not-preserved", "destination", whoami)
	}
	return nil
}

// tell is for the end: all of them once more, in a line for each lack.
func (l *lacks) tell() {
	for _, lack := range []wire.Lack{wire.LacksRoot, wire.LacksChroot} {
		var who []string
		for _, whoami := range slices.Sorted(maps.Keys(l.found)) {
			if l.found[whoami] == lack {
				who = append(who, whoami)
			}
		}
		if len(who) > 0 {
			l.log.Warn(fmt.Sprintf("Not everything is preserved that was sent to %s: %s", strings.Join(who, ", "), lack),
				"event", "not-preserved", "destination", strings.Join(who, ","))
		}
	}
}
