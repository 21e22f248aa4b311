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
		if !recursive || len(deeper) == 0 {
			return nil, err
		}
		slices.Sort(deeper)
		l.behind(dir, rel, deeper[len(deeper)-1])
		return deeper, err
	}
	s.enter = func(ctx context.Context, rel string) (leave func()) {
		l.wait(ctx)
		l.reached(rel)
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
// Where they cannot be watched the prefetch ends with the first names. Most runs are over before that, and need no watch.
type lead struct {
	most int // names

	mu       sync.Mutex
	wake     sync.Cond
	looked   int  // names so far
	marked   int  // looked, at the last watch
	passed   int  // looked, at the last watch that has told of an opening
	chasing  bool // rsync is at a directory that has not been read here
	ended    bool
	openings *openings // nil: not needed yet
	broken   bool
	ahead    map[string]int32 // watches of directories that are not read yet, by their paths below the base
}

// notRead is the mark of a directory that is still to be read.
const notRead = -1

func newLead(most int) *lead {
	l := &lead{most: most, ahead: map[string]int32{}}
	l.wake.L = &l.mu
	return l
}

// wait returns when more names may be looked at, or ctx has ended. Where one directory alone is more than the lead somebody has
// to go and watch the next.
func (l *lead) wait(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.looked-l.passed >= l.most && (l.marked > l.passed || l.broken) && !l.chasing && !l.ended && ctx.Err() == nil {
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

// mark watches a directory that is about to be read, one of several.
func (l *lead) mark(dir openDir) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.looked-l.marked >= l.most/32 && l.watches() {
		_, _ = l.openings.add(dir, ".", l.looked) // if not, another one tells
		l.marked = l.looked
	}
}

// behind watches a directory that will be read after others: if rsync is there first it is ahead.
func (l *lead) behind(dir openDir, rel, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.watches() {
		return
	}
	if watch, err := l.openings.add(dir, name, notRead); err == nil {
		l.ahead[joinRel(rel, name)] = watch
	}
}

// reached is called before a directory is opened here, which would be taken for rsync.
func (l *lead) reached(rel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if watch, ok := l.ahead[rel]; ok {
		l.openings.drop(watch)
		delete(l.ahead, rel)
	}
}

// watches tells whether it is time to watch, and possible.
func (l *lead) watches() bool {
	if l.broken || l.looked < l.most/2 {
		return false
	}
	if l.openings == nil {
		var err error
		if l.openings, err = watchOpenings(l.opened); err != nil {
			l.broken = true
		}
	}
	return !l.broken
}

func (l *lead) opened(mark int) {
	l.mu.Lock()
	l.passed = max(l.passed, mark)
	l.chasing = mark == notRead
	l.mu.Unlock()
	l.wake.Broadcast()
}

func (l *lead) close() {
	if l.openings != nil {
		l.openings.close()
	}
}
