// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// scan reads the directories of a tree, several at once. The order is not fixed; what was looked
// for is sorted afterwards, if at all. The scan goes deep first, and takes subdirectories in the
// order in which read names them, so that few directories wait to be read.
type scan struct {
	tree    *Tree
	readers int // 0: 8

	// read looks at one directory, whose path below the tree's base is rel, and returns the names
	// of the subdirectories that are to be read too. Several goroutines call it.
	read func(ctx context.Context, rel string, dir openDir) (deeper []string, err error)

	// enter is called before a directory is opened, and leave after it was read. nil: neither.
	enter func(ctx context.Context) (leave func())

	// pass says of an error of a directory that it does not end the scan. nil: of none. That a
	// directory has gone never ends it.
	pass func(error) bool

	base    int // open while the scan runs, by run or by the caller of runAll
	buffers buffers

	mu      sync.Mutex
	wake    sync.Cond // there may be something to read, or it is over
	todo    []string
	reading int
	err     error
}

// run reads start and what is below it. It passes over directories below start that vanish
// meanwhile or become something else.
func (s *scan) run(ctx context.Context, start string) error {
	s.wake.L = &s.mu
	base, err := s.tree.open("", unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(base)
	s.base = base
	deeper, err := s.look(ctx, start)
	if err != nil {
		return err
	}
	s.push(start, deeper)

	s.work(ctx)
	return s.err
}

// runAll reads several directories and what is below them.
func (s *scan) runAll(ctx context.Context, starts []string) {
	s.wake.L = &s.mu
	for _, rel := range slices.Backward(starts) {
		s.todo = append(s.todo, rel)
	}
	s.work(ctx)
}

// work reads all that is to do.
func (s *scan) work(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := func() {
		for {
			rel, ok := s.next()
			if !ok {
				return
			}
			deeper, err := s.look(ctx, rel)
			if isGone(err) || errors.Is(err, unix.EXDEV) || s.pass != nil && err != nil && s.pass(err) {
				err = nil
			}
			if s.done(rel, deeper, err) != nil {
				cancel()
			}
		}
	}
	readers := s.readers
	if readers == 0 {
		readers = defaultWalkers
	}
	var others sync.WaitGroup
	if len(s.todo) > 0 {
		for range readers - 1 {
			others.Go(read)
		}
	}
	read()
	others.Wait()
}

// look reads one directory.
func (s *scan) look(ctx context.Context, rel string) ([]string, error) {
	if s.enter != nil {
		defer s.enter(ctx)()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	fd, err := s.openDir(rel)
	if err != nil {
		return nil, err
	}
	dir := openDir{fd: fd, path: s.tree.path(rel), buffers: &s.buffers}
	defer dir.close()
	if s.tree.oneFileSystem && !sameDevice(fd, s.base) {
		return nil, fmt.Errorf("cannot go into %s: %w", Printable(dir.path), unix.EXDEV)
	}
	return s.read(ctx, rel, dir)
}

func sameDevice(a, b int) bool {
	var one, other unix.Stat_t
	return unix.Fstat(a, &one) == nil && unix.Fstat(b, &other) == nil && one.Dev == other.Dev
}

func (s *scan) openDir(rel string) (int, error) {
	if rel == "" {
		return s.tree.open("", unix.O_RDONLY)
	}
	return s.tree.openIn(s.base, rel, unix.O_RDONLY)
}

// next waits for a directory that is to be read; it returns false at the end.
func (s *scan) next() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil {
		if last := len(s.todo) - 1; last >= 0 {
			rel := s.todo[last]
			s.todo = s.todo[:last]
			s.reading++
			return rel, true
		}
		if s.reading == 0 {
			return "", false
		}
		s.wake.Wait()
	}
	return "", false
}

func (s *scan) push(rel string, deeper []string) {
	for _, name := range slices.Backward(deeper) { // the last is taken first
		s.todo = append(s.todo, joinRel(rel, name))
	}
}

// done notes the end of the reading of a directory. An error ends the whole scan.
func (s *scan) done(rel string, deeper []string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading--
	if s.err == nil {
		s.err = err
	}
	s.push(rel, deeper)
	s.wake.Broadcast()
	return s.err
}

// joinRel is join for paths below a base, "" being the base itself.
func joinRel(rel, name string) string {
	if rel == "" {
		return name
	}
	return rel + "/" + name
}
