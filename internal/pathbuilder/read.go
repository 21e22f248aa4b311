// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// dir is a directory above the depth, which has to be read.
type dir struct {
	path  string
	level int // below the base
	depth int // level at which the entries below are recursive

	// Guarded by readAhead.mu.
	place  *list.Element // in readAhead.todo, while it is there
	unread int           // the first child to be read that nobody reads yet; -1: none is known

	// Set by whoever reads it, before done is closed; each child's dir later.
	children []child // sorted by the bytes of their names
	names    int     // what else there is
	stamp    stamp
	err      error
	done     chan struct{}
}

// child is a subdirectory that was found by reading its parent. There may be millions in one
// directory.
type child struct {
	name  string
	kind  kind
	depth int32 // of a shallow one's dir
	dir   *dir  // of a shallow one, once somebody reads it
	stamp stamp // of a recursive one
}

type kind uint8

const (
	recursive kind = iota
	shallow        // above the depth: to be read too
	link           // to a directory
	excluded       // by pattern and owner, or as leavesOut says
	vanished       // since its name was read
)

// read fills in the children of a directory. If the directory was swapped for a link since its
// parent was read, the link is not followed.
func (w *walker) read(ctx context.Context, d *dir) {
	d.children, d.err = w.list(ctx, d)
	if d.err != nil {
		d.children = nil
	}
}

func (w *walker) list(ctx context.Context, d *dir) ([]child, error) {
	fd, err := w.open(d)
	if err != nil {
		d.stamp = w.stamper.path(d.path, unix.AT_SYMLINK_NOFOLLOW)
		return nil, err
	}
	f := openDir{fd: fd, path: d.path, buffers: &w.buffers}
	defer f.close()
	// Before the content is read, so that what changes meanwhile shows the next time.
	d.stamp = w.stamper.open(d.path, f)
	var children []child
	err = f.names(ctx, func(n dirName) error {
		if !n.isDir() {
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
	if next, within := w.after.step(d); within {
		children = slices.DeleteFunc(children, func(c child) bool { return c.name < next })
	}
	w.stampChildren(ctx, f, children)
	return children, nil
}

// openDir is how a walk opens a directory. Only the base may be a link: who owns a directory of the tree could
// swap it for a link while the walk is below it, and have it list what only root may see.
func (w *walker) openDir(d *dir) (int, error) {
	rel, ok := below(w.opts.Base, d.path)
	if !ok {
		return -1, fmt.Errorf("cannot walk %s: it is not below %s", Printable(d.path), Printable(w.opts.Base))
	}
	return w.tree.openAtOnce(rel, unix.O_RDONLY)
}

// classify returns false for what the walk neither goes into nor says anything about.
func (w *walker) classify(d *dir, f openDir, n dirName) (child, bool) {
	if n.kind == unix.DT_LNK && w.noteLinks {
		c := child{name: string(n.bytes), kind: link}
		info, err := os.Stat(join(d.path, c.name))
		return c, err == nil && info.IsDir()
	}
	if !n.isDir() {
		return child{}, false
	}
	c := child{name: string(n.bytes)}
	path := join(d.path, c.name)
	look := func(stat *unix.Stat_t) error { return f.look(c.name, stat) }
	out, err := w.excluder.excludes(path, look)
	switch {
	case out, err == nil && w.leavesOut(path, look):
		c.kind = excluded
		return c, true
	case errors.Is(err, fs.ErrNotExist):
		c.kind = vanished
		return c, true
	case err != nil:
		w.log.Error(fmt.Sprintf("cannot learn the owner of %s: %v; it is not excluded", Printable(path), cause(err)), "path", path, "error", err)
	}
	level, depth := d.level+1, max(d.depth, w.levels[path])
	if level == depth && w.deeper(path) {
		depth++
	}
	if level < depth {
		c.kind, c.depth = shallow, int32(min(depth, math.MaxInt32))
	}
	return c, true
}

// share is how many children one goroutine takes at once, to look at them.
const share = 32

// stampChildren takes the stamps of recursive children, several at once where there are many: a
// file server may have to be asked about each.
func (w *walker) stampChildren(ctx context.Context, f openDir, children []child) {
	if w.stamper == nil {
		return
	}
	inShares(ctx, w.helpers, len(children), share, func(i int) { w.stampChild(f, &children[i]) })
}

func (w *walker) stampChild(f openDir, c *child) {
	if c.kind != recursive {
		return
	}
	var err error
	if c.stamp, err = w.stamper.at(join(f.path, c.name), f, c.name); err != nil {
		c.kind = vanished
	}
}

func newDir(path string, level, depth int) *dir {
	return &dir{path: path, level: level, depth: depth, unread: -1, done: make(chan struct{})}
}
