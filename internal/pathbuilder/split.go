// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Split cuts the recursive entry of path, which is Options.Base or below it, one level deeper. It
// emits the shallow entry of path, then the recursive ones of its child directories, as WalkStamped
// does where Deeper says true of path. Depth, Subpaths and Deeper do not matter.
//
// It follows no link below the base. A path that is no directory any more is an error that is
// fs.ErrNotExist, unix.ENOTDIR or unix.ELOOP; trouble with the base is none of these. Nothing is
// emitted before the directory has been read to its end. An error of emit is returned as it is.
func Split(ctx context.Context, opts Options, path string, emit func(Found) error) error {
	opts.Depth, opts.Subpaths, opts.Deeper = 0, nil, nil
	rel, err := Entry{Path: path}.Rel(opts.Base)
	if err != nil {
		return err
	}
	w := newWalker(opts, emit)
	w.stamper = newStamper()
	if err := w.prepare(ctx); err != nil {
		return unlike(err)
	}
	w.open = func(*dir) (int, error) { return w.tree.openForReading(rel) }
	if rel == "" {
		w.levels[opts.Base] = 1
		err := w.walkBase(ctx)
		if w.count == 0 && ctx.Err() == nil { // it is not emit's
			err = unlike(err)
		}
		return err
	}
	level := strings.Count(rel, "/") + 1
	d := newDir(path, level, level+1)
	if err := w.ahead.first(ctx, d); err != nil {
		return err
	}
	if d.err != nil {
		return d.err
	}
	return w.walkDir(ctx, d)
}

// openForReading opens the directory rel. Its errors of the base are made unlike those of a
// directory that is no longer there.
func (t *Tree) openForReading(rel string) (int, error) {
	fd, err := t.open(rel, unix.O_RDONLY)
	if errors.As(err, new(*baseError)) {
		err = unlike(err)
	}
	return fd, err
}

// unlike returns an error with the same text that wraps nothing: errors.Is(err, fs.ErrNotExist) for
// a base that has gone would make what is below the base look vanished.
func unlike(err error) error { return errors.New(err.Error()) }
