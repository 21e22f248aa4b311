// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// maxAutoDepth ends the search where a tree is a chain.
const maxAutoDepth = 64

// AutoDepth returns the smallest depth, 1 or more, at which a walk has at least want entries. For a
// tree that has so many at no depth it returns the depth of the deepest directory, at most 64.
// Depth, Subpaths and Deeper do not matter. It reads fewer than want directories, one level after
// the other; what cannot be read counts as empty.
func AutoDepth(ctx context.Context, opts Options, want int) (int, error) {
	opts.Depth, opts.Subpaths, opts.Deeper, opts.Logger = 0, nil, nil, nil
	w := newWalker(opts, nil)
	if err := w.prepare(ctx); err != nil {
		return 0, err
	}
	excluded, err := w.excluded(opts.Base, 0) // the base may be a link
	if err != nil {
		return 0, walkError(opts.Base, err)
	}
	if excluded {
		return 1, nil
	}
	paths := []string{opts.Base}
	found := 1
	for depth := 1; ; depth++ {
		missing := want - found
		if missing <= 0 {
			return depth, nil
		}
		paths, err = w.level(ctx, depth, paths, missing)
		if err != nil {
			return 0, err
		}
		found += len(paths)
		if len(paths) == 0 {
			return max(depth-1, 1), nil
		}
		if found >= want || depth == maxAutoDepth {
			return depth, nil
		}
	}
}

// level returns the children of directories that are all at one depth, missing of them at most.
func (w *walker) level(ctx context.Context, depth int, paths []string, missing int) ([]string, error) {
	var readers errgroup.Group
	readers.SetLimit(w.opts.Walkers)
	var mu sync.Mutex
	var children []string
	var enough atomic.Bool
	for _, path := range paths {
		if enough.Load() || ctx.Err() != nil {
			break
		}
		readers.Go(func() error {
			d := newDir(path, depth-1, depth)
			w.read(ctx, d)
			if d.err != nil && depth == 1 {
				return walkError(path, d.err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, c := range d.children {
				if len(children) == missing {
					break
				}
				if c.kind == recursive {
					children = append(children, join(path, c.name))
				}
			}
			enough.Store(len(children) == missing)
			return nil
		})
	}
	err := readers.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return children, err
}
