// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Prefetcher looks at names before rsync does. The package comment says what that is good for.
type Prefetcher struct {
	tree    *Tree
	lookups chan struct{} // a place for each goroutine that asks the file system
	lead    int           // how many names a run may be ahead of rsync
}

const (
	defaultLead = 2000

	// lookupShare is how many names of a directory one goroutine looks at in turn.
	lookupShare = 16
)

// NewPrefetcher makes one that has at most so many lookups under way, whatever the number of its runs.
func NewPrefetcher(tree *Tree, lookups int) *Prefetcher {
	return &Prefetcher{tree: tree, lookups: make(chan struct{}, max(lookups, 1)), lead: defaultLead}
}

// Dirs looks at all that is in directories, given by their paths below the base, in the order in which rsync will come to them,
// and with recursive at all that is below. Names for whose path below the base skip says true are left out, directories with all
// that is below them; skip is called by several goroutines, nil leaves out none. It returns when all is done or ctx has ended, and
// a lookup that the file system does not answer is waited for. What goes wrong is of no interest here: rsync will meet it.
func (p *Prefetcher) Dirs(ctx context.Context, dirs []string, recursive bool, skip func(path string) bool) {
	base, err := p.tree.open("", unix.O_PATH)
	if err != nil {
		return
	}
	defer unix.Close(base)
	l := newLead(p.lead)
	defer l.close()
	defer context.AfterFunc(ctx, l.over)()
	s := scan{tree: p.tree, base: base, readers: cap(p.lookups), pass: func(error) bool { return true }}
	s.read = func(ctx context.Context, rel string, dir openDir) (deeper []string, err error) {
		deeper, err = p.dir(ctx, rel, dir, l, skip)
		if !recursive {
			deeper = nil
		}
		return deeper, err
	}
	s.enter = func(ctx context.Context) (leave func()) {
		l.wait(ctx)
		return p.place(ctx)
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

// dir looks at the names in a directory, and gives those of its subdirectories.
func (p *Prefetcher) dir(ctx context.Context, rel string, dir openDir, l *lead, skip func(string) bool) (deeper []string, err error) {
	l.mark(dir)
	var names []string
	look := func() {
		l.count(len(names))
		inShares(ctx, p.lookups, len(names), lookupShare, func(i int) {
			var stat unix.Stat_t
			_ = dir.look(names[i], &stat)
		})
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
	slices.Sort(deeper)
	return deeper, err
}

// Files looks at files, given by their paths below the base. For the rest it is as Dirs.
func (p *Prefetcher) Files(ctx context.Context, files []string) {
	base, err := p.tree.open("", unix.O_PATH)
	if err != nil {
		return
	}
	defer unix.Close(base)
	defer p.place(ctx)()
	dir := openDir{fd: base, path: p.tree.root}
	inShares(ctx, p.lookups, len(files), lookupShare, func(i int) {
		var stat unix.Stat_t
		_ = dir.look(files[i], &stat)
	})
}

// lead keeps a prefetch from running away from rsync: what it has looked at long ago is forgotten again, by the kernel or by
// the rules of the file system (attributes on NFS are kept for 3 s). How far rsync is shows in the directories that it opens.
// Where they cannot be watched the prefetch ends with the first names.
type lead struct {
	most int // names

	mu       sync.Mutex
	wake     sync.Cond
	looked   int // names so far
	marked   int // looked, at the last watch
	passed   int // looked, at the last watch that has told of an opening
	ended    bool
	openings *openings // nil: not needed yet
	broken   bool
}

func newLead(most int) *lead {
	l := &lead{most: most}
	l.wake.L = &l.mu
	return l
}

// wait returns when more names may be looked at, or ctx has ended.
func (l *lead) wait(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.looked-l.passed >= l.most && !l.ended && ctx.Err() == nil {
		l.wake.Wait()
	}
}

func (l *lead) over() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.wake.Broadcast()
}

func (l *lead) count(names int) {
	l.mu.Lock()
	l.looked += names
	l.mu.Unlock()
}

// mark watches some of the directories. Most runs are over before that is of use, and need none.
func (l *lead) mark(dir openDir) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken || l.looked < l.most/2 || l.looked-l.marked < l.most/32 {
		return
	}
	var err error
	if l.openings == nil {
		if l.openings, err = watchOpenings(l.opened); err != nil {
			l.broken = true
			return
		}
	}
	l.marked = l.looked
	_ = l.openings.add(dir, l.looked) // the next one may do
}

func (l *lead) opened(mark int) {
	l.mu.Lock()
	l.passed = max(l.passed, mark)
	l.mu.Unlock()
	l.wake.Broadcast()
}

func (l *lead) close() {
	if l.openings != nil {
		l.openings.close()
	}
}
