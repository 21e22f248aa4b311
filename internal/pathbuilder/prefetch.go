// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Prefetcher looks at names before rsync does. The package comment says what that is good for.
type Prefetcher struct {
	tree    *Tree
	lookups chan struct{} // a place for each goroutine that asks the file system
	most    int           // names of a run
	answers *answers      // nil: names are looked at whether that pays or not
}

const (
	// prefetchMost is how many names of a run are looked at. By the time rsync comes to later ones
	// the kernel has forgotten them again.
	prefetchMost = 10_000

	// lookupShare is how many names of a directory one goroutine looks at in turn.
	lookupShare = 16
)

// WhereItPays returns one that leaves off where the answers come so quickly that rsync need not wait for them.
func (p *Prefetcher) WhereItPays() *Prefetcher {
	one := *p
	one.answers = newAnswers()
	return &one
}

// NewPrefetcher returns one that has at most lookups lookups under way, all its runs together.
func NewPrefetcher(tree *Tree, lookups int) *Prefetcher {
	return &Prefetcher{tree: tree, lookups: make(chan struct{}, max(lookups, 1)), most: prefetchMost}
}

// Dirs looks at what is in directories, and with recursive at all that is below them. The
// directories are paths below the base, in the order in which rsync comes to them. Names for whose
// path below the base skip says true are left out, directories with all that is below them; skip is
// called by several goroutines, nil leaves out none.
//
// It returns when that is done or ctx has ended; a lookup that the file system does not answer is
// waited for. What goes wrong is of no interest here: rsync meets it too.
func (p *Prefetcher) Dirs(ctx context.Context, dirs []string, recursive bool, skip func(path string) bool) {
	if !p.answers.worthIt() {
		return
	}
	base, err := p.tree.open("", unix.O_PATH)
	if err != nil {
		return
	}
	defer unix.Close(base)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var looked atomic.Int64
	count := func(names int) {
		if looked.Add(int64(names)) >= int64(p.most) || p.answers.quick() {
			cancel()
		}
	}
	s := scan{tree: p.tree, base: base, readers: cap(p.lookups), pass: func(error) bool { return true }, enter: p.place}
	s.read = func(ctx context.Context, rel string, dir openDir) (deeper []string, err error) {
		deeper, err = p.dir(ctx, rel, dir, skip, count)
		if !recursive {
			return nil, err
		}
		slices.Sort(deeper)
		return deeper, err
	}
	s.runAll(ctx, dirs)
}

// place waits for a place until ctx ends.
func (p *Prefetcher) place(ctx context.Context) (leave func()) {
	select {
	case p.lookups <- struct{}{}:
		return func() { <-p.lookups }
	case <-ctx.Done():
		return func() {}
	}
}

// dir looks at the names in a directory, tells count how many they were, and returns those of its
// subdirectories.
func (p *Prefetcher) dir(ctx context.Context, rel string, dir openDir, skip func(string) bool, count func(int)) (deeper []string, err error) {
	var names []string
	look := func() {
		p.look(ctx, dir, names)
		count(len(names))
		names = names[:0]
	}
	err = dir.names(ctx, func(n dirName) error {
		name := string(n.bytes)
		if skip != nil && skip(joinRel(rel, name)) {
			return nil
		}
		if n.isDir() {
			deeper = append(deeper, name)
		}
		if names = append(names, name); len(names) == chunk {
			look()
		}
		return nil
	})
	look()
	return deeper, err
}

// Files looks at files, which are paths below the base. For the rest it is as Dirs.
func (p *Prefetcher) Files(ctx context.Context, files []string) {
	if !p.answers.worthIt() {
		return
	}
	base, err := p.tree.open("", unix.O_PATH)
	if err != nil {
		return
	}
	defer unix.Close(base)
	defer p.place(ctx)()
	p.look(ctx, openDir{fd: base, path: p.tree.root}, files[:min(len(files), p.most)])
}

// look looks at names in a directory.
func (p *Prefetcher) look(ctx context.Context, dir openDir, names []string) {
	inShares(ctx, p.lookups, len(names), lookupShare, func(i int) {
		if p.answers.quick() {
			return
		}
		p.answers.note(func() {
			var stat unix.Stat_t
			_ = dir.look(names[i], &stat)
		})
	})
}
