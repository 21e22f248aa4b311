// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"vsc-zk/internal/zkclient"
)

// S/extQueue is for the sources that know it, the members of S/parties/ext. It
// may hold entries of an earlier run: the clean-up of a Python client leaves it
// behind. They are of this run if S/meta is.

// extOpen returns a channel that is closed once this run's master is known to
// use S/extQueue; with a Python master that is never.
func (m *member) extOpen(ctx context.Context) <-chan struct{} {
	open := make(chan struct{})
	m.background(func() {
		ctx, found := context.WithCancel(ctx)
		defer found()
		see := sync.OnceFunc(func() { close(open); found() })
		err := m.WatchData(ctx, m.tree.meta(), func(data []byte, _ zkclient.Stat, exists bool) {
			if _, ok := decodeMeta(data, m.epoch.Load()); exists && ok {
				see()
			}
		})
		if err != nil && ctx.Err() == nil {
			m.fail(err)
		}
	})
	return open
}

// stranded watches over the paths that only a Go source may take, for the
// master, while it is the only one in the session. Sources of the other kind
// must not hold a run up for ever that they cannot finish, but a Go source may
// still come. Without any source these paths wait like all others.
type stranded struct {
	*client
	alone   time.Time // since when other sources are connected and none of them is a Go source; zero: that is not so
	nothing time.Time // since when, with that, no other paths are left; zero: that is not so
	warned  bool
}

// giveUp tells whether the run is to end without the ext paths that are left;
// last says that there are no others. It warns before that.
func (s *stranded) giveUp(ctx context.Context, m *member, ext int, last bool) (bool, error) {
	missing := false
	if ext > 0 {
		var err error
		if missing, err = s.goSourceMissing(ctx, m); err != nil {
			return false, err
		}
	}
	if !missing {
		s.alone, s.nothing, s.warned = time.Time{}, time.Time{}, false
		return false, nil
	}
	now := time.Now()
	if s.alone.IsZero() {
		s.alone = now
	}
	if !last {
		s.nothing = time.Time{}
	} else if s.nothing.IsZero() {
		s.nothing = now
	}
	if !s.warned && now.Sub(s.alone) >= s.cfg.Timing.NeedGo {
		s.warned = true
		s.log.Warn(fmt.Sprintf("No Go source is connected, and %d paths need one: a Python source would lose them. "+
			"Start one, or the run ends without them, %v after all others are done", ext, s.cfg.Timing.GiveUp))
	}
	if s.nothing.IsZero() || now.Sub(s.nothing) < s.cfg.Timing.GiveUp {
		return false, nil
	}
	s.log.Warn(fmt.Sprintf("No Go source has come: the run ends with %d paths unfinished", ext))
	return true, nil
}

// goSourceMissing tells whether there are sources beside the master, and no Go
// source among them.
func (s *stranded) goSourceMissing(ctx context.Context, m *member) (bool, error) {
	if s.cfg.Jobs > 0 { // the master works on them itself
		return false, nil
	}
	sources, err := m.parties[partySources].Members(ctx)
	if err != nil {
		return false, err
	}
	ext, err := m.parties[partyExt].Members(ctx)
	if err != nil {
		return false, err
	}
	others := slices.DeleteFunc(sources, func(name string) bool { return name == s.whoami })
	return len(others) > 0 && !slices.ContainsFunc(others, func(name string) bool { return slices.Contains(ext, name) }), nil
}
