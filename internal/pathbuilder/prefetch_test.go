// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/slowfs"
)

// mountKept mounts a tree so that the kernel keeps every name that it has asked for. Asking calls sleep.
func mountKept(t *testing.T, base string, sleep func(time.Duration)) (*slowfs.FS, *Tree) {
	t.Helper()
	at := t.TempDir()
	mounted, err := slowfs.Mount(base, at, slowfs.Options{Keep: time.Hour, Sleep: sleep})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mounted.Unmount(); err != nil {
			t.Error(err)
		}
	})
	opened, err := OpenTree(at)
	if err != nil {
		t.Fatal(err)
	}
	return mounted, opened
}

func noSleep(time.Duration) {}

// asked is how many names the kernel asks for when all that is in a directory, below the base, is looked at.
func asked(t *testing.T, mounted *slowfs.FS, base, rel string, recursive bool) int {
	t.Helper()
	before := mounted.Counts().Lookup
	top := filepath.Join(base, rel)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err := os.Lstat(path); err != nil {
			return err
		}
		if d.IsDir() && path != top && !recursive {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return int(mounted.Counts().Lookup - before)
}

// manyFiles is more than one reading of a directory gives at once.
func manyFiles(dir string) (names []string) {
	for i := range 3000 {
		names = append(names, fmt.Sprintf("%s/file%04d", dir, i))
	}
	return names
}

func TestPrefetch(t *testing.T) {
	base := tree(t, append(manyFiles("a/deep/many"), "a/file", "a/link -> nowhere", "a/empty/", "a/deep/\xff\n/x/y", "a/skipped/x/y",
		"b/file", "b/dir/file", "c/file", "c/other", "d/file")...)
	if err := os.Chmod(base+"/a/empty", 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		run  func(p *Prefetcher)
		want map[string]int // names that are asked for afterwards
	}{
		{"nothing", func(p *Prefetcher) {},
			map[string]int{"a": 3012, "b": 4, "c": 3}},
		{"recursive", func(p *Prefetcher) {
			p.Dirs(t.Context(), []string{"a", "gone", "b"}, true, func(path string) bool { return path == "a/skipped" })
		}, map[string]int{"a": 3, "b": 0, "c": 3}},
		{"not recursive", func(p *Prefetcher) { p.Dirs(t.Context(), []string{"b", "c"}, false, nil) },
			map[string]int{"a": 3012, "b": 1, "c": 0}},
		{"the base", func(p *Prefetcher) { p.Dirs(t.Context(), []string{""}, true, nil) },
			map[string]int{"": 0}},
		{"the base alone", func(p *Prefetcher) { p.Dirs(t.Context(), []string{""}, false, nil) },
			map[string]int{"b": 3}},
		{"files", func(p *Prefetcher) {
			p.Files(t.Context(), append(manyFiles("a/deep/many"), "gone", "b/dir/file", "c/other"))
		}, map[string]int{"a/deep/many": 0, "b": 1, "c": 1}},
		{"no more", func(p *Prefetcher) {
			over, cancel := context.WithCancel(t.Context())
			cancel()
			p.Dirs(over, []string{"c"}, true, nil)
			p.Files(over, []string{"c/file"})
		}, map[string]int{"c": 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounted, opened := mountKept(t, base, noSleep)
			p := NewPrefetcher(opened, 4)
			p.lead = 1 << 20
			c.run(p)
			if len(p.lookups) != 0 {
				t.Errorf("%d places are not free", len(p.lookups))
			}
			for rel, want := range c.want {
				if got := asked(t, mounted, opened.root, rel, true); got != want {
					t.Errorf("%q: %d names are asked for, want %d", rel, got, want)
				}
			}
		})
	}
}

// meeting makes everybody wait a while, until so many are there together once.
type meeting struct {
	want     int
	together chan struct{} // closed when they were

	mu   sync.Mutex
	here int
	most int
}

func (m *meeting) come(time.Duration) {
	m.mu.Lock()
	m.here++
	if m.here == m.want && m.most < m.want {
		close(m.together)
	}
	m.most = max(m.most, m.here)
	m.mu.Unlock()
	select {
	case <-m.together:
	case <-time.After(200 * time.Millisecond): // some come alone, to open a directory that holds everything
	}
	m.mu.Lock()
	m.here--
	m.mu.Unlock()
}

// As many names as are allowed are looked at together, whether they lie in one directory or in several, and no more, whatever
// the number of runs.
func TestPrefetchTogether(t *testing.T) {
	const lookups = 5
	var names, dirs []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("dir%02d/file", i))
		dirs = append(dirs, fmt.Sprintf("dir%02d", i))
	}
	many := manyFiles("many")
	base := tree(t, append(names, many...)...)
	for name, run := range map[string]func(p *Prefetcher){
		"directories":   func(p *Prefetcher) { p.Dirs(t.Context(), dirs, true, nil) },
		"one directory": func(p *Prefetcher) { p.Dirs(t.Context(), []string{"many"}, false, nil) },
		"files":         func(p *Prefetcher) { p.Files(t.Context(), many) },
		"two runs": func(p *Prefetcher) {
			var both sync.WaitGroup
			both.Go(func() { p.Dirs(t.Context(), dirs, true, nil) })
			p.Files(t.Context(), many)
			both.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &meeting{want: lookups, together: make(chan struct{})}
			_, opened := mountKept(t, base, m.come)
			run(NewPrefetcher(opened, lookups))
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.most != lookups {
				t.Errorf("at most %d were together, want %d", m.most, lookups)
			}
		})
	}
}

// A prefetch does not run away: it goes on when rsync, for which this test opens directories, has come nearer.
func TestPrefetchKeepsItsLead(t *testing.T) {
	const dirs, files, most = 300, 4, 64
	for _, below := range []string{"", "/sub"} {
		t.Run("dir"+below, func(t *testing.T) { testLead(t, dirs, files, most, below) })
	}
}

func testLead(t *testing.T, dirs, files, most int, below string) {
	var names []string
	for i := range dirs {
		for j := range files {
			names = append(names, fmt.Sprintf("top/dir%03d%s/file%d", i, below, j))
		}
	}
	mounted, opened := mountKept(t, tree(t, names...), noSleep)
	p := NewPrefetcher(opened, 2)
	p.lead = most
	looked := func() int { return int(mounted.Counts().Lookup) }
	ended := func(run <-chan struct{}) bool {
		select {
		case <-run:
			return true
		default:
			return false
		}
	}
	start := func(ctx context.Context) <-chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.Dirs(ctx, []string{"top"}, true, nil)
		}()
		return done
	}
	// standstill gives the number of lookups when it has not changed for a while.
	standstill := func() int {
		for before := -1; ; {
			now := looked()
			if now == before {
				return now
			}
			before = now
			time.Sleep(300 * time.Millisecond)
		}
	}

	ofTop := dirs + 1 // its names are looked at together
	ctx, cancel := context.WithCancel(t.Context())
	done := start(ctx)
	if n := standstill(); ended(done) || n > ofTop+most+4*files {
		t.Fatalf("%d names were looked at with nobody near, ended %v", n, ended(done))
	}
	cancel()
	<-done

	done = start(t.Context())
	standstill()
	for i := 0; i < dirs && !ended(done); i++ {
		ahead := looked()
		names := []string{"", below}
		if i == 0 {
			names = names[:1] // the one that has been read
		}
		for _, name := range names {
			dir, err := os.Open(fmt.Sprintf("%s/top/dir%03d%s", opened.root, i, name))
			if err != nil {
				t.Fatal(err)
			}
			dir.Close()
		}
		if i == 0 { // later this test may be ahead, and the prefetch runs to catch up
			if n := standstill(); n > ofTop+(i+1)*(files+1)+2*most+4*files {
				t.Errorf("%d names were looked at (before: %d) with rsync at directory %d", n, ahead, i)
			}
		}
	}
	for end := time.Now().Add(20 * time.Second); !ended(done); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not go on: %d names were looked at", looked())
		}
	}
	if n := asked(t, mounted, opened.root, "top", true); n != 0 {
		t.Errorf("%d names were not looked at", n)
	}
}

// Where nothing can be watched a prefetch ends with the first names, and still at the end of its context.
func TestPrefetchWithoutWatches(t *testing.T) {
	l := newLead(10)
	l.broken = true
	l.count(10)
	ctx, cancel := context.WithCancel(t.Context())
	defer context.AfterFunc(ctx, l.over)()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.wait(ctx)
	}()
	select {
	case <-done:
		t.Fatal("it went on")
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	<-done
	l.close()
}

func TestOpenings(t *testing.T) {
	base := tree(t, "a/below/", "b/", "c/", "file", "link -> a")
	told := make(chan int, 10)
	o, err := watchOpenings(func(mark int) { told <- mark })
	if err != nil {
		t.Fatal(err)
	}
	top, err := openByPath(base)
	if err != nil {
		t.Fatal(err)
	}
	defer top.close()
	for i, name := range []string{"a", "b", "c"} {
		if _, err := o.add(top, name, 100+i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.add(top, ".", 7); err != nil {
		t.Fatal(err)
	}
	open := func(name string, flags int) {
		fd, err := unix.Open(base+"/"+name, flags|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	open("a", unix.O_PATH) // as the guards do
	open("a/below", unix.O_RDONLY)
	open("c", unix.O_RDONLY)
	open("c", unix.O_RDONLY)
	open("a", unix.O_RDONLY)
	open(".", unix.O_RDONLY)
	if first, second, third := <-told, <-told, <-told; first != 102 || second != 100 || third != 7 {
		t.Errorf("told of %d, %d and %d", first, second, third)
	}
	for _, name := range []string{"gone", "file", "link"} {
		if _, err := o.add(top, name, 1); err == nil || !strings.HasPrefix(err.Error(), "cannot watch directory "+base+"/"+name+": ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	o.close()
	if len(told) != 0 {
		t.Errorf("told of %d more", <-told)
	}
	if len(o.marks) != 1 {
		t.Errorf("%d directories are still watched, want 1", len(o.marks))
	}
	if _, err := o.add(top, "a", 1); err == nil {
		t.Error("watched after the end")
	}
}
