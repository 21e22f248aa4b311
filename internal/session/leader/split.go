// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// An uneven tree has paths that take much longer than others, and at the end all jobs but one would wait
// for the last of them. Then the leader cuts such a path one level deeper. One that still waits it takes
// out of the queue; one that a Go worker works on it asks for (S/wanted), and the worker ends its rsync
// and hands it over; those of Python workers stay where they are. Either way the path goes from its queue
// into S/split in one transaction, so that nobody can work on it while its pieces are, and the pieces take
// its place when the leader has read the directory. Nobody else takes anything out of S/split.
//
// The pieces come on top of the window. With --paths-from nothing is cut, as there is no later walk that
// would see what was moved from one piece to another meanwhile.

// splitter cuts paths. It works only while no walk does.
type splitter struct {
	ledger  *ledger
	account *account
	survey  *survey
	skips   *skips // nil: nothing is
	queues  queues
	tree    wire.Tree
	notes   func(wire.Task) []news // what is noted with a piece
	splits  bool                   // otherwise it only gives back what it is given
	log     *slog.Logger

	whole   map[string]bool      // tasks that cannot be cut
	divides map[string]bool      // tasks, of the entries seen at the last look, that can be cut
	source  *guard.Source        // knows what is excluded; nil: not yet needed
	seen    map[string]time.Time // entries in work, by their paths, and since when that is known
	asked   wire.Wanted          // what S/wanted says
	since   time.Time            // since when it says something

	cut *cutting // under way
}

// cutting is a path that becomes several.
type cutting struct {
	task   wire.Task
	back   bool        // it goes back as it is
	node   string      // of S/split
	pieces []wire.Task // not yet known to be queued
	news   []news      // that are noted with the last
	after  int         // number of cuts once the next ones are; 0: not yet tried

	expected bool        // the ledger knows the next ones
	keep     []wire.Task // of these, once it does: what is queued
	over     []wire.Task // and what ends as skipped
}

func newSplitter(l *ledger, a *account, s *survey, q queues, tree wire.Tree, notes func(wire.Task) []news, splits bool, log *slog.Logger) *splitter {
	return &splitter{
		ledger: l, account: a, survey: s, queues: q, tree: tree, notes: notes, splits: splits, log: log,
		whole: map[string]bool{}, divides: map[string]bool{}, seen: map[string]time.Time{},
	}
}

// inherit takes over what another leader has asked for.
func (s *splitter) inherit(ctx context.Context, m *member.Member) error {
	data, _, _, err := m.Read(ctx, m.Tree.Wanted())
	if err != nil {
		return fmt.Errorf("cannot read what was asked of the workers: %w", err)
	}
	s.asked = wire.DecodeWanted(data)
	return nil
}

// step does what is to be done now; held says that nothing is to be begun.
func (s *splitter) step(ctx context.Context, m *member.Member, held bool) error {
	if err := s.cutAll(ctx, m, held); err != nil {
		return err
	}
	if !s.splits {
		return nil
	}
	if held {
		return s.want(ctx, m, wire.Wanted{})
	}
	now, err := s.look(ctx, m)
	if err != nil {
		return err
	}
	if now != nil && len(now.waiting) == 0 && now.idle > 0 {
		return s.ask(ctx, m, now)
	}
	if err := s.want(ctx, m, wire.Wanted{}); err != nil {
		return err
	}
	if now == nil || len(now.waiting) == 0 || !now.long {
		return nil
	}
	if err := s.fetch(ctx, m, now); err != nil {
		return err
	}
	return s.cutAll(ctx, m, held)
}
