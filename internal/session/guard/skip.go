// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"path"
	"slices"
	"strings"

	"vsc-zk/internal/session/wire"
)

// Skip has these paths, by their names below the base, and all that is below them, not sent from now on. They
// stay as they are at the destination.
func (b *Base) Skip(paths []wire.Text) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.skip = nil
	for _, path := range paths {
		b.skip = append(b.skip, string(path))
	}
}

// Skips tells whether a path below the base is one of those, or below one.
func (b *Base) Skips(rel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.skip, func(skip string) bool { return rel == skip || strings.HasPrefix(rel, skip+"/") })
}

// SkipsAll tells whether nothing of a task, which lies at rel, is to be sent.
func (b *Base) SkipsAll(task wire.Task, rel string) bool {
	if task.Kind.Named() {
		return !slices.ContainsFunc(task.Files, func(file wire.Text) bool { return !b.Skips(string(file)) })
	}
	return b.Skips(rel)
}

// SkippedIn are those that lie in a directory below the base, or deep in it.
func (b *Base) SkippedIn(rel string, deep bool) (paths []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, skip := range b.skip {
		dir := path.Dir(skip)
		if dir == "." {
			dir = ""
		}
		if dir == rel || deep && (rel == "" || strings.HasPrefix(skip, rel+"/")) {
			paths = append(paths, skip)
		}
	}
	return paths
}
