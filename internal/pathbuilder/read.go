// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// dir is a directory above the depth, which has to be read.
type dir struct {
	path  string
	level int // below the base
	depth int // level at which the entries below are recursive

	place *list.Element // in readAhead.todo
	taken bool          // by a reader; guarded by readAhead.mu

	// Set by the one read, before done is closed.
	children []child // sorted by the bytes of their names
	names    int     // what else there is
	stamp    stamp
	err      error
	done     chan struct{}
}

// child is a subdirectory found by reading its parent.
type child struct {
	name  string
	kind  kind
	dir   *dir  // to be read too; nil at the depth
	stamp stamp // at the depth
}

type kind uint8

const (
	entry    kind = iota
	link          // to a directory
	excluded      // by pattern and owner
	vanished      // since its name was read
)

// chunk is how many names are asked for at once: directories may hold millions
// of files, none of which is kept.
const chunk = 1024

// read fills in the children of a directory. A directory that was swapped for
// a link since its parent was read is not followed.
func (w *walker) read(ctx context.Context, d *dir) {
	d.children, d.err = w.list(ctx, d)
	if d.err != nil {
		d.children = nil
	}
}

func (w *walker) list(ctx context.Context, d *dir) ([]child, error) {
	f, err := w.open(d)
	if err != nil {
		d.stamp = w.stamper.path(d.path, unix.AT_SYMLINK_NOFOLLOW)
		return nil, err
	}
	defer f.Close()
	// Before the content, so that what changes meanwhile shows the next time.
	d.stamp = w.stamper.open(d.path, f)
	var children []child
	err = readNames(ctx, f, func(n fs.DirEntry) error {
		if !n.IsDir() {
			d.names++
		}
		if c, ok := w.classify(d, f, n); ok {
			children = append(children, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(children, func(a, b child) int { return cmp.Compare(a.name, b.name) })
	return children, nil
}

func openByPath(d *dir) (*os.File, error) {
	flags := os.O_RDONLY | syscall.O_DIRECTORY
	if d.level > 0 { // the base may be a link
		flags |= syscall.O_NOFOLLOW
	}
	return os.OpenFile(d.path, flags, 0)
}

// classify is false for whatever the walk has nothing to do with or to say of.
func (w *walker) classify(d *dir, f *os.File, n fs.DirEntry) (child, bool) {
	c := child{name: n.Name()}
	if n.Type() == fs.ModeSymlink && w.noteLinks {
		c.kind = link
		info, err := os.Stat(join(d.path, c.name))
		return c, err == nil && info.IsDir()
	}
	if !n.IsDir() {
		return c, false
	}
	path := join(d.path, c.name)
	out, err := w.excluder.excludes(path, func(stat *unix.Stat_t) error {
		return unix.Fstatat(int(f.Fd()), c.name, stat, unix.AT_SYMLINK_NOFOLLOW)
	})
	switch {
	case out:
		c.kind = excluded
		return c, true
	case errors.Is(err, fs.ErrNotExist):
		c.kind = vanished
		return c, true
	case err != nil:
		w.log.Error(fmt.Sprintf("cannot learn the owner of %s: %v; it is not excluded", printable(path), cause(err)))
	}
	level, depth := d.level+1, max(d.depth, w.levels[path])
	if level == depth && w.deeper(path) {
		depth++
	}
	if level < depth {
		c.dir = newDir(path, level, depth)
		return c, true
	}
	if c.stamp, err = w.stamper.at(path, f, c.name); err != nil {
		c.kind = vanished
	}
	return c, true
}

func newDir(path string, level, depth int) *dir {
	return &dir{path: path, level: level, depth: depth, done: make(chan struct{})}
}
