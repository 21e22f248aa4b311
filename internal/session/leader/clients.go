// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// clients is what the leader knows of the sources in the session.
type clients struct {
	works   bool     // the leader's own jobs are a source too
	unknown []string // what a Python source leaves out of what it was asked for
	log     *slog.Logger

	who       string      // the znodes of the parties at the last look
	python    []string    // who looked like a Python source at the last look
	met       bool        // there was a Python source
	warned    bool        // it was said what they do not know
	waiting   bool        // it was said that no destination serves them
	goSources atomic.Bool // at the last look there was a Go source that works
}

// look notes who is there, and says once what a Python source does not know. Who is seen only once may
// be joining or leaving: the two parties are not read at the same time. It tells whether others are there
// than at the last look.
func (c *clients) look(ctx context.Context, m *member.Member) (others bool, err error) {
	before := c.who
	changed, err := c.changed(ctx, m)
	if err != nil {
		return false, err
	}
	if !changed {
		return false, c.lookForOpen(ctx, m)
	}
	others = c.who != before && before != ""
	sources, err := m.Party(wire.PartySources).Members(ctx)
	if err != nil {
		return false, err
	}
	ext, err := m.Party(wire.PartyExt).Members(ctx)
	if err != nil {
		return false, err
	}
	isGo := func(name string) bool { return slices.Contains(ext, name) }
	c.goSources.Store(slices.ContainsFunc(sources, func(name string) bool {
		return isGo(name) && (name != m.Client.Whoami || c.works)
	}))
	known := c.python
	c.python = slices.DeleteFunc(sources, isGo)
	c.met = c.met || len(c.python) > 0
	for _, name := range c.python {
		if !c.warned && slices.Contains(known, name) {
			c.warned = true
			if len(c.unknown) > 0 {
				c.log.Warn(fmt.Sprintf("%s is a Python source, which does not know %s", name, strings.Join(c.unknown, ", ")), "event", "python-source", "source", name)
			}
		}
	}
	return others, nil
}

// lookForOpen says once that Python sources, which have been seen twice, wait while all destinations serve only
// Go ones.
func (c *clients) lookForOpen(ctx context.Context, m *member.Member) error {
	if c.waiting || len(c.python) == 0 {
		return nil
	}
	open, err := m.ZK.Queue(m.Tree.DestQueue()).Len(ctx)
	if err != nil || open > 0 {
		return err
	}
	others, err := m.ZK.Queue(m.Tree.ExtDestQueue()).Len(ctx)
	if err != nil || others == 0 {
		return err
	}
	c.waiting = true
	c.log.Warn(fmt.Sprintf("The Python sources wait, %s for one: no destination serves them. Start one with --open-daemon", c.python[0]),
		"event", "no-open-destination", "source", c.python[0])
	return nil
}

// changed tells whether clients have come or gone since the last look, without asking each who it is;
// true while somebody was seen only once.
func (c *clients) changed(ctx context.Context, m *member.Member) (bool, error) {
	now := ""
	for _, party := range []string{wire.PartySources, wire.PartyExt} {
		names, err := m.ZK.Children(ctx, m.Tree.Party(party))
		if err != nil {
			return false, fmt.Errorf("cannot read the clients of the session: %w", err)
		}
		slices.Sort(names)
		now += strings.Join(names, " ") + "\n"
	}
	again := now != c.who || len(c.python) > 0 && !c.warned
	c.who = now
	return again, nil
}

// unknownToPython is what a Python source leaves out of what it was asked for.
func (l *Leader) unknownToPython() []string {
	var unknown []string
	for _, u := range []struct {
		asked bool
		what  string
	}{
		{l.asked.Rsync.Verify, "--verify: it transfers"},
		{l.asked.Rsync.Delete, "the guards of --delete (unmounted or empty sources)"},
		{l.asked.MaxDelete >= 0, "--max-delete"},
		{l.base.Config.Sentinel != "", "--sentinel"},
		{l.cfg.BwLimit > 0, "--bwlimit"},
		{l.base.Config.ExcludeBelow, "--exclude-below"},
		{l.asked.Rsync.HardLinks, "hard links between paths"},
		{l.asked.Rsync.Partial, "--partial"},
	} {
		if u.asked {
			unknown = append(unknown, u.what)
		}
	}
	return unknown
}

// stranded watches over the paths that only a Go source may take, while other sources are in the session
// and no Go source is. Sources that can do nothing must not hold a session up for ever, but a Go source
// may still come.
type stranded struct {
	works   bool      // the leader works on them itself
	alone   time.Time // since when other sources are connected and none of them is a Go source; zero: that is not so
	nothing time.Time // since when, with that, no other paths are left; zero: that is not so
	warned  bool
}

// giveUp tells whether the session is to end without the ext paths that are left; last says that there
// are no others. It warns before that.
func (s *stranded) giveUp(ctx context.Context, m *member.Member, ext int, last bool) (bool, error) {
	missing := false
	if ext > 0 && !s.works {
		var err error
		if missing, err = goSourceMissing(ctx, m); err != nil {
			return false, err
		}
	}
	if !missing {
		s.alone, s.nothing, s.warned = time.Time{}, time.Time{}, false
		return false, nil
	}
	now, timing := time.Now(), m.Client.Timing
	if s.alone.IsZero() {
		s.alone = now
	}
	if !last {
		s.nothing = time.Time{}
	} else if s.nothing.IsZero() {
		s.nothing = now
	}
	if !s.warned && now.Sub(s.alone) >= timing.NeedGo {
		s.warned = true
		m.Log.Warn(fmt.Sprintf("No Go source is connected, and %d paths need one: a Python source would lose them. "+
			"Start one, or the run ends without them, %v after all others are done", ext, timing.GiveUp), "event", "need-go-source", "paths", ext)
	}
	if s.nothing.IsZero() || now.Sub(s.nothing) < timing.GiveUp {
		return false, nil
	}
	m.Log.Warn(fmt.Sprintf("No Go source has come: the run ends with %d paths unfinished", ext), "event", "gave-up", "paths", ext)
	return true, nil
}

// goSourceMissing tells whether there are sources beside the leader, and no Go source among them.
func goSourceMissing(ctx context.Context, m *member.Member) (bool, error) {
	sources, err := m.Party(wire.PartySources).Members(ctx)
	if err != nil {
		return false, err
	}
	ext, err := m.Party(wire.PartyExt).Members(ctx)
	if err != nil {
		return false, err
	}
	others := slices.DeleteFunc(sources, func(name string) bool { return name == m.Client.Whoami })
	return len(others) > 0 && !slices.ContainsFunc(others, func(name string) bool { return slices.Contains(ext, name) }), nil
}
