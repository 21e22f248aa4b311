// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/zkclient"
)

// Hard links between paths. rsync keeps the links between the files of one run,
// and the members of a group may lie in many. So with --hardlinks a slave looks,
// after each path, for files that have more links than it has seen there, and
// notes them in S/links. When everything else is done the master joins the
// notes and queues the groups, in S/extQueue, each with all its members: one
// run of rsync that lists every member makes links of the copies, and sends
// nothing. It has to be the last one, since a later run over some of the
// members would part them again.
//
// A file that gets another name during the run may have been noted with fewer
// links, or, when it had but one, not at all. So the master looks once more at
// the files of which it does not know all names and whose ctime, which a new
// name changes, is not older than the run: their names are sought in the whole
// tree.

// linkGroup is what one path holds of a group. Groups are told apart by the
// inode's number alone: nodes number devices differently, and the number of
// links may change. Two that share it are sent in one run, which does no harm.
type linkGroup struct {
	Ino   uint64 `json:"ino"`
	Paths []text `json:"paths"` // below the base
}

// Bounds. A note is one znode; maxLinkBytes is what the master holds of all.
const (
	linkNoteBytes = 256 << 10
	maxLinkBytes  = 64 << 20
)

// noteLinks records the open groups of paths that were sent together. Not those
// of the pass for the links itself.
func (w *worker) noteLinks(ctx context.Context, parts []part) error {
	if !w.cfg.Rsync.HardLinks || w.cfg.Rsync.DryRun || parts[0].task.links != nil || parts[0].task.leftovers {
		return nil
	}
	if _, _, ok, err := w.m.readMeta(ctx); err != nil || !ok {
		return err // a Python master has no use for it, and would leave it behind
	}
	groups := pathbuilder.LinkGroups{Limit: w.cfg.groups}
	for _, p := range parts {
		skip := func(path string) bool { return p.excluded[path] || !p.holds(path) }
		if err := pathbuilder.ScanLinks(ctx, w.guard.tree.Root(), p.rel, p.task.entry.Recursive, skip, groups.Add); err != nil {
			return err
		}
	}
	var note []linkGroup
	size := 0
	flush := func() error {
		if len(note) == 0 {
			return nil
		}
		data, err := json.Marshal(note)
		if err != nil {
			return fmt.Errorf("cannot note hard links: %w", err)
		}
		if _, err := w.m.CreatePath(ctx, w.tree.links()+"/note-", data, zkclient.Sequential); err != nil {
			return err
		}
		note, size = nil, 0
		return nil
	}
	for _, links := range groups.Open() {
		first := links[0]
		group := linkGroup{Ino: first.Ino}
		for _, link := range links {
			group.Paths = append(group.Paths, text(link.Path))
			if size += len(link.Path) + 100; size >= linkNoteBytes {
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
	}
	return flush()
}

// linkEntries joins all notes to the entries of the last pass. lost counts the
// groups beyond the bounds, which are named in the log.
func (ms *master) linkEntries(ctx context.Context, m *member) (entries [][]byte, lost int, err error) {
	if ms.cfg.PathsFrom != "" {
		file, err := readEntries(ms.cfg.PathsFrom, ms.base)
		if err != nil {
			return nil, 0, err
		}
		entries = file.links
	}
	if _, ok, err := m.Exists(ctx, m.tree.links()); err != nil || !ok {
		return entries, 0, err
	}
	names, err := m.Children(ctx, m.tree.links())
	if err != nil {
		return nil, 0, err
	}
	groups, beyond := linkGroups{}, map[uint64]bool{}
	size := 0
	for _, name := range names {
		data, _, err := m.Get(ctx, m.tree.links()+"/"+name)
		if err != nil {
			return nil, 0, err
		}
		var note []linkGroup
		if err := json.Unmarshal(data, &note); err != nil {
			return nil, 0, fmt.Errorf("cannot read the hard links noted in %s: %w", name, err)
		}
		for _, group := range note {
			if groups[group.Ino] == nil && (len(groups) >= ms.cfg.groups || size >= maxLinkBytes) {
				if beyond[group.Ino] {
					continue // one path has named it already
				}
				beyond[group.Ino] = true
				ms.log.Error(fmt.Sprintf("Hard links of %s are not kept: there are too many groups", printable(string(group.Paths[0]))))
				continue
			}
			for _, path := range group.Paths {
				size += groups.add(group.Ino, path)
			}
		}
	}
	if err := ms.seekLinks(ctx, groups); err != nil {
		return nil, 0, fmt.Errorf("cannot find all names of files that were linked during the run: %w", err)
	}
	return append(entries, packLinks(groups)...), len(beyond), nil
}

// linkGroups has the known names of files, by inode.
type linkGroups map[uint64]map[text]bool

// add returns by how many bytes the names have grown.
func (g linkGroups) add(ino uint64, path text) int {
	known := g[ino]
	if known == nil {
		known = map[text]bool{}
		g[ino] = known
	}
	if known[path] {
		return 0
	}
	known[path] = true
	return len(path)
}

// linkSlack is by how much the clock of a file server may be behind.
const linkSlack = time.Minute

// seekLinks adds the names that no note has, of files that got them during the run.
func (ms *master) seekLinks(ctx context.Context, groups linkGroups) error {
	sought := map[uint64]bool{}
	for ino, paths := range groups {
		if ms.linkedMeanwhile(ino, paths) {
			sought[ino] = true
		}
	}
	if len(sought) == 0 {
		return nil
	}
	ms.log.Info(fmt.Sprintf("Looking through the source for all names of %d files that were linked during the run", len(sought)))
	g, err := newGuard(ctx, ms.client)
	if err != nil {
		return err
	}
	return pathbuilder.Walk(ctx, ms.walkOptions(), func(entry pathbuilder.Entry) error {
		rel, err := entry.Rel(ms.base)
		if err != nil {
			return err
		}
		excluded, err := g.excluded(ctx, entry, rel)
		if err == nil {
			skip := func(path string) bool { return excluded[path] }
			err = pathbuilder.ScanLinks(ctx, g.tree.Root(), rel, entry.Recursive, skip, func(l pathbuilder.Link) error {
				if sought[l.Ino] {
					groups.add(l.Ino, text(l.Path))
				}
				return nil
			})
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has gone, and its names with it
		}
		return err
	})
}

// linkedMeanwhile tells whether a file has names that are not known, and may
// have got them during the run.
func (ms *master) linkedMeanwhile(ino uint64, paths map[text]bool) bool {
	known, nlink, changed := 0, 0, time.Time{}
	for path := range paths {
		var stat unix.Stat_t
		if unix.Lstat(ms.base+"/"+string(path), &stat) == nil && stat.Ino == ino {
			known++
			nlink, changed = int(stat.Nlink), time.Unix(stat.Ctim.Unix())
		}
	}
	return known < nlink && changed.After(ms.began.Add(-linkSlack))
}

// packLinks makes entries of a bounded size, groups whole.
func packLinks(groups linkGroups) [][]byte {
	var entries [][]byte
	var paths []text
	size := 0
	flush := func() {
		if len(paths) > 0 {
			entries = append(entries, encodeLinks(paths))
			paths, size = nil, 0
		}
	}
	for _, group := range groups {
		if len(group) < 2 {
			continue // its other members lie outside of the base, or were excluded
		}
		for _, path := range slices.Sorted(maps.Keys(group)) {
			paths = append(paths, path)
			size += len(path)
		}
		if size >= linkNoteBytes {
			flush()
		}
	}
	flush()
	return entries
}

// encodeLinks makes an entry of the last pass.
func encodeLinks(paths []text) []byte {
	data, err := json.Marshal(paths)
	if err != nil {
		panic(err) // strings
	}
	return append([]byte(linksPrefix), data...)
}
