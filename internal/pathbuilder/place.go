// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Place is the base of a tree as it was when the Place was made. It tells later whether the base is
// still that. Its methods may be called at the same time.
type Place struct {
	tree *Tree

	mu    sync.Mutex
	was   mount             // that the base lies on, with the base's own inode
	names map[string]uint64 // some names in it, with their inodes; none: it was empty
	turns int               // how often it has come back on another mount

	reusedIDs bool // see Mounts
}

// someSize is how many names tell one directory from another.
const someSize = 16

// Place notes what the base is now.
func (t *Tree) Place() (*Place, error) {
	p := &Place{tree: t}
	if err := p.note(); err != nil {
		return nil, err
	}
	return p, nil
}

// String says on what the base lay when it was noted.
func (p *Place) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.was.String()
}

func (p *Place) note() error {
	fd, err := p.tree.open("", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if p.was, err = p.identify(fd); err != nil {
		return err
	}
	p.names, err = someNames(openDir{fd: fd, path: p.tree.root}, someSize)
	return err
}

func (p *Place) identify(fd int) (mount, error) {
	table, err := readMountTable()
	if err == nil {
		var is mount
		if is, err = identify(fd, table); err == nil {
			if p.reusedIDs {
				is.unique = 0
			}
			return is, nil
		}
	}
	return mount{}, fmt.Errorf("cannot learn what %s is mounted on: %w", Printable(p.tree.root), err)
}

// Check is nil if the base is what it was. A file system that was unmounted and mounted again is the
// same if its content is: turns then is another number than before, as whoever was at work
// meanwhile may have seen something else.
func (p *Place) Check() (turns int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fd, err := p.tree.open("", unix.O_PATH)
	if err != nil {
		return p.turns, err
	}
	defer unix.Close(fd)
	if p.was.unique != 0 {
		stat, err := statMount(fd)
		if err != nil {
			return p.turns, fmt.Errorf("cannot look at %s: %w", Printable(p.tree.root), err)
		}
		if stat.Mnt_id == p.was.unique && stat.Ino == p.was.ino {
			return p.turns, nil
		}
	}
	is, err := p.identify(fd)
	if err != nil {
		return p.turns, err
	}
	same := is.isMount(p.was)
	if same && is.ino == p.was.ino {
		return p.turns, nil
	}
	there, err := p.compare()
	if err != nil {
		return p.turns, err
	}
	if !p.isBack(is, same, there) {
		return p.turns, p.other(is, same)
	}
	if !same {
		p.turns++
	}
	p.was, p.names = is, there.now // of a tree that lives
	return p.turns, nil
}

// lies is what the base lies on.
func (p *Place) lies() mount {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.was
}

// content is what a base has of the names that were noted.
type content struct {
	found, same int // of the names: how many are there, and with the inode that they had
	now         map[string]uint64
}

func (p *Place) compare() (c content, err error) {
	fd, err := p.tree.open("", unix.O_RDONLY)
	if err != nil {
		return c, err
	}
	defer unix.Close(fd)
	dir := openDir{fd: fd, path: p.tree.root}
	if c.now, err = someNames(dir, someSize); err != nil {
		return c, err
	}
	for name, ino := range p.names {
		var stat unix.Stat_t
		if dir.look(name, &stat) == nil {
			c.found++
			if stat.Ino == ino {
				c.same++
			}
		}
	}
	return c, nil
}

// isBack reports whether the base, which lies on another mount or has another inode than before, is what
// it was. Inodes alone do not tell: the root has the same in all file systems of a type, and some file
// systems give out new ones whenever they like.
func (p *Place) isBack(is mount, sameMount bool, there content) bool {
	switch {
	case sameMount: // another inode
		return there.found > 0 || len(p.names) == 0
	case is.isFileSystem(p.was) && is.ino == p.was.ino:
		return len(there.now) > 0 || len(p.names) == 0
	case is.isFileSystem(p.was): // the names alone are there, too, where a receiver has made them below the mount point
		return there.same > 0
	}
	// Without an id of its own it may be on another device now.
	return is.fsid == 0 && p.was.fsid == 0 && is.fstype == p.was.fstype && is.ino == p.was.ino && there.found > 0 && there.same == there.found
}

// other says what the base is instead of what it was.
func (p *Place) other(is mount, sameMount bool) error {
	if sameMount {
		return fmt.Errorf("cannot use %s: it is another directory than when this client started. Put it back, or start this client again", Printable(p.tree.root))
	}
	now := fmt.Sprintf("it is on %s: is a file system not mounted?", is)
	if is.String() == p.was.String() {
		now = "another file system is mounted there."
	}
	return fmt.Errorf("cannot use %s: it was on %s when this client started, now %s Mount it again, or start this client again if this is meant",
		Printable(p.tree.root), p.was, now)
}

// errEnough ends the reading of a sample.
var errEnough = errors.New("enough names")

// someNames reads some names of an open directory, with their inodes. What a new file system has, too, is
// left out.
func someNames(dir openDir, limit int) (map[string]uint64, error) {
	names := map[string]uint64{}
	err := dir.names(context.Background(), func(n dirName) error {
		var stat unix.Stat_t
		name := string(n.bytes)
		if name == "lost+found" || dir.look(name, &stat) != nil {
			return nil
		}
		if names[name] = stat.Ino; len(names) >= limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return names, nil
}

// Sign is by what a directory can be known on another node, where its device may have another number.
type Sign struct {
	FSID  uint64 // of the file system; 0: it has none
	Inode uint64
	Names []string // some of those in it; none: it is empty
}

// Sign looks at a directory below the base.
func (t *Tree) Sign(rel string) (s Sign, err error) {
	fd, err := t.open(rel, unix.O_RDONLY)
	if err != nil {
		return s, err
	}
	defer unix.Close(fd)
	stat, fsid, err := statFileSystem(fd)
	if err != nil {
		return s, fmt.Errorf("cannot look at %s: %w", Printable(t.path(rel)), err)
	}
	names, err := someNames(openDir{fd: fd, path: t.path(rel)}, someSize)
	return Sign{FSID: fsid, Inode: stat.Ino, Names: slices.Sorted(maps.Keys(names))}, err
}

// Seems tells whether a directory may be the one of which another node has seen a sign. Inodes may differ
// from node to node, and names change; but one that is empty here and not there is no more than a mount
// point, and one that has neither the inode nor any of the names is something else.
func (t *Tree) Seems(rel string, there Sign) (bool, error) {
	here, err := t.Sign(rel)
	if err != nil {
		return false, err
	}
	known := here.FSID != 0 && there.FSID != 0
	sameInode := here.Inode == there.Inode && (!known || here.FSID == there.FSID)
	switch {
	case sameInode && known, len(here.Names) == 0 && len(there.Names) == 0:
		return true, nil
	case len(here.Names) == 0:
		return false, nil
	case sameInode:
		return true, nil
	}
	fd, err := t.open(rel, unix.O_PATH)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	return slices.ContainsFunc(there.Names, func(name string) bool {
		return openDir{fd: fd}.look(name, new(unix.Stat_t)) == nil
	}), nil
}
