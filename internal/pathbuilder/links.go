// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Link is one name of a file that has several.
type Link struct {
	Path     string // below the base
	Dev, Ino uint64 // which file
	Nlink    uint32 // how many names it has, here or elsewhere
	Size     int64  // of the file, in bytes
}

// ScanLinks calls visit for every name in the directory rel of the tree ("" for its base) whose file has other names too; with recursive also for those below its subdirectories. Anything but a
// directory counts as a file.
//
// Links are not followed. Names for whose path below the base skip says true are
// left out, directories with all below them; nil leaves out none. skip is called by several
// goroutines, visit by one at a time, in no order. A directory that cannot be read ends the scan
// with an error; a directory below rel that vanishes during the scan does not.
func ScanLinks(ctx context.Context, tree *Tree, rel string, recursive bool, skip func(path string) bool, visit func(Link) error) error {
	var visiting sync.Mutex
	s := scan{tree: tree}
	s.read = func(ctx context.Context, rel string, dir openDir) (deeper []string, err error) {
		err = dir.names(ctx, func(n dirName) error {
			name := string(n.bytes)
			path := joinRel(rel, name)
			if skip != nil && skip(path) {
				return nil
			}
			if n.isDir() {
				if recursive {
					deeper = append(deeper, name)
				}
				return nil
			}
			link, several, err := lookAtLink(dir, name, path)
			if err != nil || !several {
				return err
			}
			visiting.Lock()
			defer visiting.Unlock()
			return visit(link)
		})
		return deeper, err
	}
	return s.run(ctx, rel)
}

// lookAtLink returns false for what has one name only, or none any more.
func lookAtLink(dir openDir, name, path string) (Link, bool, error) {
	var stat unix.Stat_t
	err := dir.look(name, &stat)
	switch {
	case err == unix.ENOENT:
		return Link{}, false, nil
	case err != nil:
		return Link{}, false, fmt.Errorf("cannot count the links of %s: %w", Printable(join(dir.path, name)), err)
	case stat.Nlink < 2 || stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		return Link{}, false, nil
	}
	return Link{Path: path, Dev: stat.Dev, Ino: stat.Ino, Nlink: uint32(stat.Nlink), Size: stat.Size}, true, nil
}

// LinkGroups finds out which files of an entry have names elsewhere too. It forgets a file when all
// its names are known, so it grows only by the files that stay open. The zero value is ready; calls
// must not overlap.
type LinkGroups struct {
	Limit int // most names held, 0: no limit

	open map[file][]Link
	held int
}

type file struct{ dev, ino uint64 }

// Add takes the next name. No name may be added twice. A name beyond the limit is an error.
func (g *LinkGroups) Add(l Link) error {
	f := file{l.Dev, l.Ino}
	links := g.open[f]
	if len(links)+1 >= int(l.Nlink) { // the latest count, as names come and go
		g.held -= len(links)
		delete(g.open, f)
		return nil
	}
	if g.Limit > 0 && g.held >= g.Limit {
		return fmt.Errorf("cannot note %s: more than %d hard links lead out of their entries", Printable(l.Path), g.Limit)
	}
	if g.open == nil {
		g.open = map[file][]Link{}
	}
	g.open[f] = append(links, l)
	g.held++
	return nil
}

// Open returns the files that have more names than were added, ordered by their first names; the
// names of each file are in order too.
func (g *LinkGroups) Open() [][]Link {
	byPath := func(a, b Link) int { return cmp.Compare(a.Path, b.Path) }
	groups := make([][]Link, 0, len(g.open))
	for _, links := range g.open {
		groups = append(groups, slices.SortedFunc(slices.Values(links), byPath))
	}
	slices.SortFunc(groups, func(a, b []Link) int { return byPath(a[0], b[0]) })
	return groups
}
