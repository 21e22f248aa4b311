// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// rsync keeps the links between the files of one run, and the names of a file may lie in many paths. So
// what has more names than a run has seen is noted in S/links, and the leader's last pass links the
// copies. That alone would need room for a copy of each name until then. So whoever comes to a file first
// claims it, in S/claims, and the other names are held back: they are sent by the last pass, which makes
// links of them. A claim is a znode, so there is a bound; beyond it names are sent as copies first.

const (
	linkNoteBytes = 256 << 10 // of a note, which is one znode
	claimsOfRun   = 1000      // files of a run, the largest first: each name that is held back is a pattern
	claimsOfAll   = 100_000   // files of a session
	claimsAtOnce  = 32
	leastToHold   = 4 << 10 // bytes: a smaller file takes as much room as a pattern
)

// keepsLinks tells whether hard links are of interest to a run of a kind, for a leader that knows them.
func (t *Rsync) keepsLinks(ctx context.Context, m *member.Member, kind wire.Kind) (bool, error) {
	o := t.cfg.Options
	if !o.HardLinks || o.DryRun || kind.Named() || kind == wire.Leftovers {
		return false, nil
	}
	_, _, ok, err := m.Meta(ctx) // a Python leader has no use for a note, and would leave it behind
	return ok, err
}

// open finds the files of a run that have more names than lie in it.
func (t *Rsync) open(ctx context.Context, parts []part) ([][]pathbuilder.Link, error) {
	groups := pathbuilder.LinkGroups{Limit: t.cfg.Groups}
	for _, p := range parts {
		skip := func(path string) bool { return p.excluded[path] || !p.held.task.Holds(path) }
		recursive := p.held.task.Kind == wire.Recursive
		if err := pathbuilder.ScanLinks(ctx, t.source.Tree, p.rel, recursive, skip, groups.Add); err != nil {
			return nil, err
		}
	}
	return groups.Open(), nil
}

// hold claims the files of which this run is to send the first name, and keeps back the names of those
// that another run sends.
func (t *Rsync) hold(ctx context.Context, m *member.Member, r *run) error {
	if t.cfg.Options.HasRules() {
		return nil // the last pass makes links of what the rules have let through, and no new files
	}
	if keeps, err := t.keepsLinks(ctx, m, r.kind()); err != nil || !keeps || t.cfg.Options.Verify { // which sends nothing
		return err
	}
	open, err := t.open(ctx, r.parts)
	if err != nil || len(open) == 0 {
		return err
	}
	open = slices.DeleteFunc(open, func(links []pathbuilder.Link) bool { return links[0].Size < leastToHold })
	slices.SortStableFunc(open, func(a, b []pathbuilder.Link) int { return cmp.Compare(b[0].Size, a[0].Size) })
	stat, _, err := m.ZK.Exists(ctx, m.Tree.Claims())
	if err != nil {
		return err
	}
	open = open[:min(len(open), claimsOfRun, max(0, claimsOfAll-int(stat.NumChildren)))]
	claimed := make([]bool, len(open))
	claims, claiming := errgroup.WithContext(ctx)
	claims.SetLimit(claimsAtOnce)
	for i, links := range open {
		claims.Go(func() error {
			_, err := m.ZK.CreatePath(claiming, m.Tree.Claims()+"/"+strconv.FormatUint(links[0].Ino, 16), nil, zkclient.Persistent)
			if claimed[i] = err == nil; errors.Is(err, zkclient.ErrNodeExists) {
				return nil
			}
			return err
		})
	}
	if err := claims.Wait(); err != nil {
		return err
	}
	r.held = map[string]uint64{}
	for i, links := range open {
		if claimed[i] {
			continue
		}
		for _, link := range links {
			pattern, err := pathbuilder.FilterRule(link.Path, false)
			if err != nil {
				continue // then it is sent as a copy
			}
			r.held[link.Path] = link.Ino
			r.parts[0].patterns = append(r.parts[0].patterns, pattern)
		}
	}
	if r.kind() == wire.Range { // whose names are listed one by one
		for i := range r.parts {
			r.parts[i].names = slices.DeleteFunc(slices.Clone(r.parts[i].names), func(name string) bool { _, held := r.held[name]; return held })
		}
	}
	return nil
}

// note records, in S/links, the files that have more names than lie in the run, and those that it has
// held back.
func (t *Rsync) note(ctx context.Context, m *member.Member, r *run) error {
	if keeps, err := t.keepsLinks(ctx, m, r.kind()); err != nil || !keeps {
		return err
	}
	open, err := t.open(ctx, r.parts)
	if err != nil {
		return err
	}
	byFile := map[uint64][]wire.Text{}
	for path, ino := range r.held { // also if they have no names elsewhere any more
		byFile[ino] = append(byFile[ino], wire.Text(path))
	}
	var note []wire.LinkGroup
	size := 0
	flush := func() error {
		if len(note) == 0 {
			return nil
		}
		_, err := m.ZK.CreatePath(ctx, m.Tree.Links()+"/note-", wire.EncodeLinks(note), zkclient.Sequential)
		note, size = nil, 0
		return err
	}
	add := func(ino uint64, paths []wire.Text, held bool) error {
		group := wire.LinkGroup{Ino: ino, Held: held}
		for _, path := range paths {
			group.Paths = append(group.Paths, path)
			if size += len(path) + 100; size >= linkNoteBytes {
				note = append(note, group)
				group.Paths = nil
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if len(group.Paths) > 0 {
			note = append(note, group)
		}
		return nil
	}
	for _, links := range open {
		var paths []wire.Text
		for _, link := range links {
			if _, held := r.held[link.Path]; !held {
				paths = append(paths, wire.Text(link.Path))
			}
		}
		if err := add(links[0].Ino, paths, false); err != nil {
			return err
		}
	}
	for ino, paths := range byFile {
		slices.Sort(paths)
		if err := add(ino, paths, true); err != nil {
			return err
		}
	}
	return flush()
}
