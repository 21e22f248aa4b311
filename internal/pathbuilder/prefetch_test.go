// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/slowfs"
)

// mountKept mounts a tree so that the kernel keeps every name that it has asked for. Asking calls
// sleep.
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

// asked is how many names the kernel asks for when all that is in a directory, below the base, is
// looked at.
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
	case <-time.After(200 * time.Millisecond): // some come alone, to open the only directory
	}
	m.mu.Lock()
	m.here--
	m.mu.Unlock()
}

// As many names as are allowed are looked at together, whether they lie in one directory or in
// several, and no more, whatever the number of runs.
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

// No more than the first names are looked at, apart from those that are under way by then.
func TestPrefetchEnds(t *testing.T) {
	const dirs, files, most, lookups = 100, 4, 64, 2
	var names []string
	for i := range dirs {
		for j := range files {
			names = append(names, fmt.Sprintf("dir%03d/file%d", i, j))
		}
	}
	base := tree(t, append(names, manyFiles("many")...)...)
	for name, c := range map[string]struct {
		run  func(p *Prefetcher)
		more int
	}{
		"directories": {func(p *Prefetcher) {
			p.Dirs(t.Context(), []string{""}, true, func(path string) bool { return path == "many" })
		}, dirs + lookups*files},
		"one directory": {func(p *Prefetcher) { p.Dirs(t.Context(), []string{"many"}, true, nil) }, chunk},
		"files":         {func(p *Prefetcher) { p.Files(t.Context(), names) }, dirs},
	} {
		t.Run(name, func(t *testing.T) {
			mounted, opened := mountKept(t, base, noSleep)
			p := NewPrefetcher(opened, lookups)
			p.most = most
			c.run(p)
			if n := int(mounted.Counts().Lookup); n < most || n > most+c.more {
				t.Errorf("%d names were looked at, want %d, and %d more at most", n, most, c.more)
			}
			if len(p.lookups) != 0 {
				t.Errorf("%d places are not free", len(p.lookups))
			}
		})
	}
}

// Where it is to pay, names are looked at as long as the answers take a while; when they are quick runs are passed
// over, and one is for finding out again.
func TestPrefetchWhereItPays(t *testing.T) {
	const runs, files = 12, 600
	var names []string
	for i := range runs {
		names = append(names, manyFiles(fmt.Sprint(i))[:files]...)
	}
	base := tree(t, names...)
	for name, c := range map[string]struct {
		answer      time.Duration
		least, most int
	}{
		"slow":  {time.Millisecond, runs * files, runs * (files + 1)},
		"quick": {time.Microsecond, 2 * judgedAfter, 2 * (judgedAfter + 1)},
	} {
		for what, run := range map[string]func(p *Prefetcher, i int){
			"directories": func(p *Prefetcher, i int) { p.Dirs(t.Context(), []string{fmt.Sprint(i)}, true, nil) },
			"files":       func(p *Prefetcher, i int) { p.Files(t.Context(), names[i*files:(i+1)*files]) },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				mounted, opened := mountKept(t, base, noSleep)
				p := NewPrefetcher(opened, 1).WhereItPays()
				var now time.Time
				p.answers.now = func() time.Time { // called in turn by the only one who looks
					now = now.Add(c.answer)
					return now
				}
				for i := range runs {
					run(p, i)
				}
				if n := int(mounted.Counts().Lookup); n < c.least || n > c.most {
					t.Errorf("%d names were looked at, want %d to %d", n, c.least, c.most)
				}
			})
		}
	}
}
