// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import "strings"

// place is an entry after which a walk begins.
type place struct{ entry Entry }

// covers tells whether an entry that comes up on the way there was emitted before. One that has become
// recursive since, because its directory cannot be read any more, was not.
func (p *place) covers(e Entry) bool {
	if p == nil {
		return false
	}
	if e.Path == p.entry.Path {
		return !e.Recursive || p.entry.Recursive
	}
	return !e.Recursive && isAbove(e.Path, p.entry.Path)
}

// isAbove tells whether path is below dir.
func isAbove(dir, path string) bool {
	return strings.HasPrefix(path, dir) && (dir == "/" || len(path) > len(dir) && path[len(dir)] == '/')
}

// step gives the child of a directory in which, or behind which, the walk goes on; false if all children
// are behind the place.
func (p *place) step(d *dir) (name string, within bool) {
	if p == nil || !isAbove(d.path, p.entry.Path) {
		return "", false
	}
	rest := strings.TrimPrefix(p.entry.Path[len(d.path):], "/")
	name, _, _ = strings.Cut(rest, "/")
	return name, true
}
