// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"

	"vsc-zk/internal/pathbuilder"
)

// A directory with very many files would keep one rsync busy for long after all
// others are done. It is sent in ranges of names instead, open to both ends, so
// that a file made meanwhile belongs to one of them. They list their files one by
// one and delete nothing but what is in the place of one of them. What is to be deleted in the directory is done by one
// more run over it, when all ranges have ended: two at once would delete each
// other's temporary files.

// cutFlat gives the entries for what a walk has found: itself, or ranges of it.
func (ms *master) cutFlat(ctx context.Context, found pathbuilder.Found) ([][]byte, error) {
	if !ms.isFlat(found) {
		return [][]byte{found.Encode()}, nil
	}
	pieces := (found.Names + ms.cfg.Flat - 1) / ms.cfg.Flat
	ranges, err := pathbuilder.Ranges(ctx, found.Path, (found.Names+pieces-1)/pieces)
	if err != nil || len(ranges) < 2 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return [][]byte{found.Encode()}, nil // whoever sends it meets what is wrong with it
	}
	var values [][]byte
	for _, r := range ranges {
		values = append(values, nameRange{Path: text(found.Path), From: text(r.From), To: text(r.To)}.encode())
	}
	ms.leftovers = append(ms.leftovers, []byte(leftoverPrefix+found.Path))
	return values, nil
}

// isFlat tells whether a directory is worth being cut into ranges. Only Go
// sources can send them; and the rules of a user's own options mean something else
// for files that are listed one by one.
func (ms *master) isFlat(found pathbuilder.Found) bool {
	return !found.Recursive && found.Names > ms.cfg.Flat && ms.account.goSources.Load() && !hasRules(ms.cfg.Rsync.Extra)
}
