// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// linkNoteBytes bounds a note, which is one znode.
const linkNoteBytes = 256 << 10

// note records, in S/links, the files that have more links than were seen in the paths sent together:
// rsync keeps the links between the files of one run, and the members of a group may lie in many. The
// pass for the links itself notes none.
func (t *Rsync) note(ctx context.Context, m *member.Member, parts []part) error {
	kind := parts[0].held.task.Kind
	if !t.cfg.Options.HardLinks || t.cfg.Options.DryRun || kind == wire.Links || kind == wire.Leftovers {
		return nil
	}
	if _, _, ok, err := m.Meta(ctx); err != nil || !ok {
		return err // a Python leader has no use for it, and would leave it behind
	}
	groups := pathbuilder.LinkGroups{Limit: t.cfg.Groups}
	for _, p := range parts {
		skip := func(path string) bool { return p.excluded[path] || !p.held.task.Holds(path) }
		if err := pathbuilder.ScanLinks(ctx, t.source.Tree.Root(), p.rel, kind == wire.Recursive, skip, groups.Add); err != nil {
			return err
		}
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
	for _, links := range groups.Open() {
		group := wire.LinkGroup{Ino: links[0].Ino}
		for _, link := range links {
			group.Paths = append(group.Paths, wire.Text(link.Path))
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
