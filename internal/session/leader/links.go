// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// Hard links between paths. rsync keeps the links between the files of one run, and the members of a
// group may lie in many. So with --hardlinks a worker notes in S/links, after each path, the files that
// have more links than it has seen there. When everything else is done the leader joins the notes and
// queues the groups, each with all its members: one run that lists every member makes links of the
// copies, and sends nothing. It has to be the last one, since a later run over some of the members would
// part them again.
//
// A file that gets another name during the session may have been noted with fewer links, or, when it had
// but one, not at all. So the leader looks once more at the files of which it does not know all names and
// whose ctime, which a new name changes, is not older than the session: their names are sought in the
// whole tree.

// Bounds: the size of a task in bytes, and what the leader holds of all notes.
const (
	linkTaskBytes = 256 << 10
	maxLinkBytes  = 64 << 20
)

// linkTasks joins all notes to the tasks of the last pass; with seek it looks for names that no note has.
// lost counts the groups beyond the bounds, which are named in the log.
func (l *Leader) linkTasks(ctx context.Context, m *member.Member, seek bool) (tasks []wire.Task, lost int, err error) {
	if l.cfg.PathsFrom != "" {
		file, err := l.listed()
		if err != nil {
			return nil, 0, err
		}
		tasks = file.links
	}
	names, err := m.Children(ctx, m.Tree.Links())
	if err != nil {
		return nil, 0, err
	}
	groups, beyond := linkGroups{}, map[uint64]bool{}
	held := map[uint64]bool{} // files with names that were not sent yet
	var loose []wire.Text     // names that were not sent yet, of files beyond the bounds
	size := 0
	for _, name := range names {
		node := m.Tree.Links() + "/" + name
		data, _, err := m.ZK.Get(ctx, node)
		if err != nil && !refused(err) {
			return nil, 0, err
		}
		var note []wire.LinkGroup
		if err == nil {
			note, err = wire.DecodeLinks(data)
		}
		if err != nil && !l.notes[node] {
			if l.notes == nil {
				l.notes = map[string]bool{}
			}
			l.notes[node] = true
			l.account.setAside(node, wire.Text(data), err.Error())
			if err := l.account.countForeign(ctx, m); err != nil {
				return nil, 0, err
			}
			if l.counts != nil {
				l.counts.Failed++
			}
		}
		for _, group := range note {
			held[group.Ino] = held[group.Ino] || group.Held
			if groups[group.Ino] == nil && (len(groups) >= l.cfg.Groups || size >= maxLinkBytes) {
				if group.Held {
					loose = append(loose, group.Paths...)
				}
				if beyond[group.Ino] {
					continue // one path has named it already
				}
				beyond[group.Ino] = true
				l.log().Error(fmt.Sprintf("Hard links of %s are not kept: there are too many groups", group.Paths[0]), "event", "links-not-kept", "path", group.Paths[0])
				continue
			}
			for _, path := range group.Paths {
				size += groups.add(group.Ino, path)
			}
		}
	}
	if seek {
		if err := l.seekLinks(ctx, groups); err != nil {
			return nil, 0, fmt.Errorf("cannot find all names of files that were linked during the run: %w", err)
		}
	}
	for paths := range slices.Chunk(loose, 1000) {
		tasks = append(tasks, wire.LinksTask(paths))
	}
	return append(tasks, packLinks(groups, held)...), len(beyond), nil
}

// linkGroups has the known names of files, by inode.
type linkGroups map[uint64]map[wire.Text]bool

// add returns by how many bytes the names have grown.
func (g linkGroups) add(ino uint64, path wire.Text) int {
	known := g[ino]
	if known == nil {
		known = map[wire.Text]bool{}
		g[ino] = known
	}
	if known[path] {
		return 0
	}
	known[path] = true
	return len(path)
}

// clockSlack is by how much the clock of a file server may be behind that of the leader that has begun.
const clockSlack = time.Minute

// seekLinks adds the names that no note has, of files that got them during the session.
func (l *Leader) seekLinks(ctx context.Context, groups linkGroups) error {
	sought := map[uint64]bool{}
	for ino, paths := range groups {
		if l.linkedMeanwhile(ino, paths) {
			sought[ino] = true
		}
	}
	if len(sought) == 0 {
		return nil
	}
	l.log().Info(fmt.Sprintf("Looking through the source for all names of %d files that were linked during the run", len(sought)), "files", len(sought))
	source, err := guard.NewSource(ctx, l.base)
	if err != nil {
		return err
	}
	return pathbuilder.Walk(ctx, l.survey.options(), func(entry pathbuilder.Entry) error {
		rel, err := entry.Rel(l.base.Dir)
		if err != nil {
			return err
		}
		excluded, err := source.Excluded(ctx, entry, rel, nil)
		if err == nil {
			skip := func(path string) bool { return excluded[path] }
			err = pathbuilder.ScanLinks(ctx, source.Tree, rel, entry.Recursive, skip, func(found pathbuilder.Link) error {
				if sought[found.Ino] {
					groups.add(found.Ino, wire.Text(found.Path))
				}
				return nil
			})
		}
		return ignoreGone(err) // its names have gone with it
	})
}

// linkedMeanwhile tells whether a file has names that are not known, and may have got them during the
// session.
func (l *Leader) linkedMeanwhile(ino uint64, paths map[wire.Text]bool) bool {
	known, nlink, changed := 0, 0, time.Time{}
	for path := range paths {
		var stat unix.Stat_t
		if unix.Lstat(l.base.Dir+"/"+string(path), &stat) == nil && stat.Ino == ino {
			known++
			nlink, changed = int(stat.Nlink), time.Unix(stat.Ctim.Unix())
		}
	}
	return known < nlink && changed.After(l.began.Add(-clockSlack))
}

// heldTasks are the tasks of the last pass if names were kept back for it; none if all that it would do is
// to link copies.
func (l *Leader) heldTasks(ctx context.Context, m *member.Member) ([]wire.Task, error) {
	names, err := m.Children(ctx, m.Tree.Links())
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, _, _, err := m.Read(ctx, m.Tree.Links()+"/"+name)
		if err != nil {
			return nil, err
		}
		note, _ := wire.DecodeLinks(data) // what cannot be read linkTasks tells of
		if slices.ContainsFunc(note, func(g wire.LinkGroup) bool { return g.Held }) {
			tasks, _, err := l.linkTasks(ctx, m, false)
			return tasks, err
		}
	}
	return nil, nil
}

// packLinks makes tasks of a bounded size, groups whole.
func packLinks(groups linkGroups, held map[uint64]bool) []wire.Task {
	var tasks []wire.Task
	var paths []wire.Text
	size := 0
	flush := func() {
		if len(paths) > 0 {
			tasks = append(tasks, wire.LinksTask(paths))
			paths, size = nil, 0
		}
	}
	for ino, group := range groups {
		if len(group) < 2 && !held[ino] {
			continue // its other members lie outside of the base, or were excluded
		}
		for _, path := range slices.Sorted(maps.Keys(group)) {
			paths = append(paths, path)
			size += len(path)
		}
		if size >= linkTaskBytes {
			flush()
		}
	}
	flush()
	return tasks
}
