// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Spot is a directory as the kernel knows it, whatever links and mounts lead there.
type Spot struct {
	Device string // of the file system, major:minor
	Path   string // within the file system
	At     string // where it is seen: below the base of a Position
}

// Holds reports whether a directory lies in another, or is it; below is its path from there.
func (s Spot) Holds(other Spot) (rel string, ok bool) {
	if s.Device != other.Device {
		return "", false
	}
	return below(s.Path, other.Path)
}

// Position is where a directory stands on its machine.
type Position struct {
	Above []Spot // the directory, then the mount point that it is below, then the one that this is below, ...
	Below []Spot // what is mounted in it
}

// maxSpots bounds what is mounted below a directory in a Position.
const maxSpots = 200

// Position finds out where the base stands.
func (t *Tree) Position() (Position, error) {
	fd, err := t.open("", unix.O_PATH)
	if err != nil {
		return Position{}, err
	}
	defer unix.Close(fd)
	table, err := readMountTable()
	if err == nil {
		var id int
		if id, err = mountID(fd); err == nil {
			return t.position(table, id), nil
		}
	}
	return Position{}, fmt.Errorf("cannot learn what %s is mounted on: %w", Printable(t.root), err)
}

func (t *Tree) position(table map[int]mount, id int) (p Position) {
	at := t.root
	for range table { // not for ever, whatever the table says
		m, ok := table[id]
		rel, inside := below(path.Clean(m.point), at)
		if !ok || !inside {
			break
		}
		p.Above = append(p.Above, Spot{Device: m.dev, Path: path.Join(m.root, rel)})
		at, id = m.point, m.parent
	}
	for _, m := range table {
		if rel, ok := below(t.root, path.Clean(m.point)); ok && rel != "" {
			p.Below = append(p.Below, Spot{Device: m.dev, Path: m.root, At: rel})
		}
	}
	slices.SortFunc(p.Below, func(a, b Spot) int { return strings.Compare(a.At, b.At) })
	p.Below = p.Below[:min(len(p.Below), maxSpots)]
	return p
}
