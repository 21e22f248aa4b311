// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/getent"
)

// Options say what to walk.
type Options struct {
	Base        string         // absolute, see CleanBase
	Depth       int            // levels below Base, 0: Base alone
	Subpaths    []string       // "<depth>_<path>", deepest last
	Exclude     *regexp.Regexp // searched in full paths; nil excludes nothing
	ExcludeUser string         // exclude only what this user owns; "": any owner
	Walkers     int            // directories read at once, 0: 8
	Logger      *slog.Logger   // nil: silent

	// LeaveOut tells of a path below Base whether the directory is left out, with all below it. It is
	// called by several goroutines. nil: none is.
	LeaveOut func(rel string) bool

	// OneFileSystem leaves out what lies on another file system than Base. Its directories stand for
	// nothing, so that the run over the directory above sends them as empty ones.
	OneFileSystem bool

	// After is an entry of an earlier walk with the same options, or one of the same place: what that
	// has emitted until then is left out. The zero Entry leaves out nothing.
	After Entry

	// Deeper is asked once about each directory that would be a recursive entry. If it says true
	// the directory becomes a shallow entry, and its children recursive ones unless Deeper says
	// true of them too. Several goroutines call it, in no order, for directories far ahead of the
	// walk. nil: never deeper.
	Deeper func(path string) bool
}

// Walk calls emit for each entry, in the order that the package comment gives. It ends with the
// first error of emit, which it returns as it is, or with the cause of ctx.
func Walk(ctx context.Context, opts Options, emit func(Entry) error) error {
	return newWalker(opts, func(f Found) error { return emit(f.Entry) }).walk(ctx)
}

// Check finds what is wrong with opts without walking: what Walk would refuse before it emits
// anything.
func Check(ctx context.Context, opts Options) error {
	return newWalker(opts, nil).prepare(ctx)
}

// walker is one Walk.
type walker struct {
	opts      Options
	log       *slog.Logger
	noteLinks bool // say which links were left out, which costs a stat each
	excluder  *Excluder
	device    uint64                         // of the base
	after     *place                         // nil: the walk begins at the base
	levels    map[string]int                 // see checkSubpaths
	stamper   *stamper                       // nil: no stamps
	tree      *Tree                          // below the base
	open      func(*dir) (fd int, err error) // opens a directory to read it
	buffers   buffers
	helpers   chan struct{} // a place for each goroutine that looks at children besides the readers
	ahead     *readAhead

	// What follows belongs to the caller's goroutine.
	emit  func(Found) error
	count int
	span  span // that the walk is in
}

// span is the part of the tree that a directory is, as if all directories of one were alike.
type span struct{ from, width float64 }

// child is the part that one of several directories of it is.
func (s span) child(i, of int) span {
	width := s.width / float64(of)
	return span{s.from + width*float64(i), width}
}

func newWalker(opts Options, emit func(Found) error) *walker {
	if opts.Walkers <= 0 {
		opts.Walkers = defaultWalkers
	}
	w := &walker{opts: opts, log: opts.Logger, emit: emit, excluder: NewExcluder(opts.Exclude, nil), span: span{0, 1}}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.open = w.openDir
	w.ahead = newReadAhead(w.read)
	w.helpers = make(chan struct{}, w.opts.Walkers-1)
	return w
}

func (w *walker) walk(ctx context.Context) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	stop := w.ahead.start(ctx, w.opts.Walkers)
	defer stop()
	defer cancel() // ends the reads that stop waits for

	if err := w.walkBase(ctx); err != nil {
		return err
	}
	w.log.Info(fmt.Sprintf("pathlist of path %s contains %d entries", Printable(w.opts.Base), w.count), "path", w.opts.Base, "entries", w.count)
	return nil
}

// prepare checks everything that can be wrong before the first entry.
func (w *walker) prepare(ctx context.Context) error {
	w.noteLinks = w.log.Enabled(ctx, slog.LevelInfo)
	if w.opts.Depth < 0 {
		return fmt.Errorf("cannot walk %s: depth %d is negative", Printable(w.opts.Base), w.opts.Depth)
	}
	info, err := os.Stat(w.opts.Base)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "stat", Path: w.opts.Base, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return walkError(w.opts.Base, err)
	}
	if w.tree, err = OpenTree(w.opts.Base); err != nil {
		return err
	}
	w.device = uint64(info.Sys().(*syscall.Stat_t).Dev)
	if w.opts.Exclude != nil && w.opts.ExcludeUser != "" {
		uid, err := getent.UserID(ctx, w.opts.ExcludeUser)
		if err != nil {
			return fmt.Errorf("%w; it was named as the owner of what is excluded", err)
		}
		w.excluder.owner = &uid
	}
	if w.opts.After != (Entry{}) {
		if _, err := w.opts.After.Rel(w.opts.Base); err != nil {
			return fmt.Errorf("cannot go on with the walk of %s: %w", Printable(w.opts.Base), err)
		}
		w.after = &place{w.opts.After}
	}
	w.levels, err = w.checkSubpaths()
	return err
}

func walkError(base string, err error) error {
	return fmt.Errorf("cannot walk %s: %w", Printable(base), cause(err))
}

// cause drops the path of a file error, which would be in the message twice, once unquoted.
func cause(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	if read := (*readError)(nil); errors.As(err, &read) {
		return read.err
	}
	return err
}

func (w *walker) walkBase(ctx context.Context) error {
	base := newDir(w.opts.Base, 0, w.levels[w.opts.Base])
	if base.level == base.depth && w.deeper(base.path) {
		base.depth++
	}
	if base.level == base.depth {
		return w.put(ctx, base.path, true, w.stamper.path(base.path, 0), 0)
	}
	excluded, err := w.excluded(base.path, 0) // the base may be a link
	if err != nil {
		return walkError(base.path, err)
	}
	if excluded {
		w.log.Info("excluding path "+Printable(base.path), "event", "excluded", "path", base.path)
		return w.put(ctx, base.path, false, w.stamper.path(base.path, 0), 0)
	}
	if err := w.ahead.first(ctx, base); err != nil {
		return err
	}
	if base.err != nil {
		return walkError(base.path, base.err)
	}
	return w.walkDir(ctx, base)
}

// walkDir emits the entry of a directory that was read, and those below it.
func (w *walker) walkDir(ctx context.Context, d *dir) error {
	if err := w.put(ctx, d.path, false, d.stamp, d.names); err != nil {
		return err
	}
	whole := w.span
	defer func() { w.span = whole }()
	for i := range d.children {
		w.span = whole.child(i, len(d.children))
		c, mine := w.ahead.pass(d, i)
		if err := w.walkChild(ctx, join(d.path, c.name), c, mine); err != nil {
			return err
		}
	}
	return nil
}

// walkChild emits the entry of a child, and those below it. With mine it reads the child first.
func (w *walker) walkChild(ctx context.Context, path string, c child, mine bool) error {
	switch c.kind {
	case recursive:
		return w.put(ctx, path, true, c.stamp, 0)
	case link:
		w.log.Info("directory symlink not added "+Printable(path), "event", "symlink", "path", path)
		return nil
	case excluded:
		w.log.Info("excluding path "+Printable(path), "event", "excluded", "path", path)
		return nil
	case vanished:
		w.warnVanished(path)
		return nil
	}
	if err := w.ahead.load(ctx, c.dir, mine); err != nil {
		return err
	}
	switch err := c.dir.err; {
	case err == nil:
		return w.walkDir(ctx, c.dir)
	case isGone(err):
		w.warnVanished(path)
		return nil
	default:
		w.log.Error(fmt.Sprintf("cannot read directory %s: %v; everything below it is one recursive entry",
			Printable(path), cause(err)), "path", path, "error", err)
		return w.put(ctx, path, true, c.dir.stamp, 0)
	}
}

func (w *walker) warnVanished(path string) {
	w.log.Warn(fmt.Sprintf("directory %s vanished during the walk", Printable(path)), "event", "vanished", "path", path)
}

func (w *walker) put(ctx context.Context, path string, recursive bool, s stamp, names int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	entry := Entry{Path: path, Recursive: recursive}
	if w.after.covers(entry) {
		return nil
	}
	w.count++
	return w.emit(Found{Entry: entry, Stamp: s.hash, Inode: s.inode, Changed: s.time(), Young: s.young, Names: names, Part: w.span.from})
}

func (w *walker) deeper(path string) bool { return w.opts.Deeper != nil && w.opts.Deeper(path) }

// leavesOut reports whether the options leave out a directory beside those of Exclude. look is an
// lstat of it.
func (w *walker) leavesOut(path string, look func(*unix.Stat_t) error) bool {
	if w.opts.LeaveOut != nil {
		if rel, ok := below(w.opts.Base, path); ok && w.opts.LeaveOut(rel) {
			return true
		}
	}
	if !w.opts.OneFileSystem {
		return false
	}
	var stat unix.Stat_t
	return look(&stat) == nil && uint64(stat.Dev) != w.device // what cannot be looked at cannot be read either
}

// isGone reports whether an error says that a directory is no longer there, or is now a link or a
// file: its parent's entry takes care of that.
func isGone(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// excluded reports whether a directory is left out, with all below it. flags are those of
// fstatat(2).
func (w *walker) excluded(path string, flags int) (bool, error) {
	return w.excluder.excludes(path, func(stat *unix.Stat_t) error {
		return unix.Fstatat(unix.AT_FDCWD, path, stat, flags)
	})
}
