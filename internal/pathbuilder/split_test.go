// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// found walks and gives all there is to know of the entries.
func found(t *testing.T, opts Options) []Found {
	t.Helper()
	var list []Found
	if err := WalkStamped(t.Context(), opts, func(f Found) error { list = append(list, f); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

func split(t *testing.T, opts Options, path string) []Found {
	t.Helper()
	var list []Found
	if err := Split(t.Context(), opts, path, func(f Found) error { list = append(list, f); return nil }); err != nil {
		t.Fatalf("Split(%q): %v", path, err)
	}
	return list
}

// settled makes what two walks have found comparable: what is young now may not be in a moment, and a piece is
// another part of another whole.
func settled(list []Found) []Found {
	list = slices.Clone(list)
	for i := range list {
		list[i].Young, list[i].Part = false, 0
	}
	return list
}

// A walk in which Deeper is true of some directories is the walk without it, with those entries
// split; whatever the names, excludes and depth are.
func TestSplitIsDeeper(t *testing.T) {
	splits, excludes := 0, 0
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		dirs := oddTree(t, rnd, rnd.IntN(80))
		opts := Options{Base: dirs[0], Depth: rnd.IntN(4), Walkers: 1 + rnd.IntN(9)}
		if rnd.IntN(2) == 0 {
			opts.Exclude = snapshots
		}
		if rnd.IntN(2) == 0 {
			opts.ExcludeUser = "daemon"
		}
		chosen := map[string]bool{}
		for _, dir := range dirs {
			chosen[dir] = rnd.IntN(3) == 0
		}

		var want []Found
		candidates := map[string]int{}
		var expand func(Found)
		expand = func(f Found) {
			if f.Recursive {
				candidates[f.Path] = 1
			}
			if !f.Recursive || !chosen[f.Path] {
				want = append(want, f)
				return
			}
			splits++
			for i, piece := range split(t, opts, f.Path) {
				if i == 0 {
					want = append(want, piece)
				} else {
					expand(piece)
				}
			}
		}
		for _, f := range found(t, opts) {
			expand(f)
		}

		var mu sync.Mutex
		asked := map[string]int{}
		opts.Deeper = func(path string) bool {
			mu.Lock()
			defer mu.Unlock()
			asked[path]++
			return chosen[path]
		}
		if got := found(t, opts); !slices.Equal(settled(got), settled(want)) {
			t.Fatalf("seed %d: got  %+v\nwant %+v", seed, got, want)
		}
		if !maps.Equal(asked, candidates) {
			t.Fatalf("seed %d: asked of %v, want each once of %v", seed, asked, candidates)
		}
		if opts.Exclude != nil {
			excludes++
		}
	}
	if splits < 50 || excludes < 20 {
		t.Errorf("the trees try too little: %d splits, %d walks with excludes", splits, excludes)
	}
}

// What lies before an entry is the part of the tree that its place among its neighbours tells.
func TestPartOfTheTree(t *testing.T) {
	base := tree(t, "a/a/f", "a/b/f", "b/f", "c/f", "d/a/f", "d/b/f", "d/c/f", "d/d/f")
	var got []string
	for _, f := range found(t, Options{Base: base, Depth: 2}) {
		got = append(got, fmt.Sprintf("%s %v", strings.TrimPrefix(f.Path, base), f.Part))
	}
	want := " 0, /a 0, /a/a 0, /a/b 0.125, /b 0.25, /c 0.5, /d 0.75, /d/a 0.75, /d/b 0.8125, /d/c 0.875, /d/d 0.9375"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

func TestNamesAreCounted(t *testing.T) {
	base := tree(t, "f", "\n", "dead -> nowhere", "in -> a", "a/x/f", "a/x/g", "a/\xff", strings.Repeat("n", 255), ".snapshots/f")
	if err := syscall.Mkfifo(base+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	names := func(list []Found) (got []string) {
		for _, f := range list {
			got = append(got, fmt.Sprintf("%s %d", strings.Replace(string(f.Encode()), base, "B", 1), f.Names))
		}
		return got
	}
	opts := Options{Base: base, Depth: 1, Exclude: snapshots}
	equal(t, "depth 1", names(found(t, opts)), []string{"0_B 6", "1_B/a 0"})
	opts.Depth = 2
	equal(t, "depth 2", names(found(t, opts)), []string{"0_B 6", "0_B/a 1", "1_B/a/x 0"})
	equal(t, "split", names(split(t, opts, base+"/a/x")), []string{"0_B/a/x 2"})
	// They are for the walk.
	opts.Subpaths, opts.Deeper = []string{"9_none"}, func(string) bool { return true }
	equal(t, "split of the base", names(split(t, opts, base)), []string{"0_B 6", "1_B/a 0"})
}

func TestSplitRefuses(t *testing.T) {
	base := tree(t, "a/b/", "file", "in -> a", "a/up -> ..")
	gone := []error{fs.ErrNotExist, syscall.ENOTDIR, syscall.ELOOP}
	emit := func(f Found) error {
		t.Errorf("%q was emitted", f.Path)
		return nil
	}
	for path, want := range map[string]error{
		"/gone": fs.ErrNotExist, "/gone/x": fs.ErrNotExist, "/a/\n": fs.ErrNotExist, "/file": syscall.ENOTDIR, "/file/x": syscall.ENOTDIR,
		"/in": syscall.ELOOP, "/in/b": syscall.ELOOP, "/a/up/a/b": syscall.ELOOP,
	} {
		err := Split(t.Context(), Options{Base: base}, base+path, emit)
		// Some kernels' ELOOP is ENOTDIR where a directory was asked for.
		if want == syscall.ELOOP && errors.Is(err, syscall.ENOTDIR) {
			want = syscall.ENOTDIR
		}
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "cannot ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Split(%q): %v, want %v", path, err, want)
		}
	}
	for _, path := range []string{"/etc", base + "2", base + "/a/../a", base + "/a/"} {
		if err := Split(t.Context(), Options{Base: base}, path, emit); err == nil {
			t.Errorf("Split(%q): no error", path)
		}
	}
	// A base that has gone does not make anything look vanished.
	for _, lost := range []string{base + "/nothing", base + "/file", base + "/in/nothing"} {
		for _, path := range []string{lost, lost + "/a"} {
			err := Split(t.Context(), Options{Base: lost}, path, emit)
			if err == nil || slices.ContainsFunc(gone, func(g error) bool { return errors.Is(err, g) }) {
				t.Errorf("Split(%q) in a base that is none: %v", path, err)
			}
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	cancel(stop)
	for _, path := range []string{"", "/a"} {
		if err := Split(ctx, Options{Base: base}, base+path, emit); err != stop {
			t.Errorf("ended context: %v", err)
		}
		count := 0
		err := Split(t.Context(), Options{Base: base}, base+path, func(Found) error {
			if count++; count == 2 {
				return stop
			}
			return nil
		})
		if err != stop || count != 2 {
			t.Errorf("error of emit: %v after %d entries", err, count)
		}
	}
}

// Paths may be longer than a system call takes, and the base may be a link.
func TestSplitLongPaths(t *testing.T) {
	base := tree(t, "real/", "link -> real") + "/link"
	rel := deepDirs(t, base, 9000)
	above := rel[:strings.LastIndexByte(rel, '/')]
	got := split(t, Options{Base: base}, base+"/"+above)
	if len(got) != 2 || got[0].Entry != (Entry{base + "/" + above, false}) || got[1].Entry != (Entry{base + "/" + rel, true}) {
		t.Errorf("%d entries: %.600q", len(got), fmt.Sprint(got))
	}
	if got := split(t, Options{Base: base}, base); len(got) != 2 || got[0].Path != base {
		t.Errorf("base: %.600q", fmt.Sprint(got))
	}
}

// What vanishes while it is read, or may not be read, is not split.
func TestSplitTrouble(t *testing.T) {
	base := tree(t, "closed\n/x/", "listonly/.snapshots/", "a/b/")
	for p := base; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	emit := func(f Found) error {
		t.Errorf("%q was emitted", f.Path)
		return nil
	}
	ctx := &duringRead{t.Context(), 0, func() {
		if err := os.RemoveAll(base + "/a"); err != nil {
			t.Error(err)
		}
	}}
	err := Split(ctx, Options{Base: base}, base+"/a", emit)
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "cannot read directory "+base+"/a: ") {
		t.Errorf("vanished: %v", err)
	}

	other := tree(t, "a/")
	ctx = &duringRead{t.Context(), 0, func() {
		if err := os.RemoveAll(other); err != nil {
			t.Error(err)
		}
	}}
	if err := Split(ctx, Options{Base: other}, other, emit); err == nil || isGone(err) || ctx.do != nil {
		t.Errorf("vanished base: %v", err)
	}

	for name, mode := range map[string]os.FileMode{"closed\n": 0o700, "listonly": 0o744} {
		if err := os.Chmod(base+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	unprivileged(t)
	err = Split(t.Context(), Options{Base: base, Walkers: 1}, base+"/closed\n", emit)
	if !errors.Is(err, fs.ErrPermission) || isGone(err) || !strings.Contains(err.Error(), `/closed\n"`) || strings.Contains(err.Error(), "\n") {
		t.Errorf("unreadable: %v", err)
	}
	// Its owner cannot be learned: it is rather sent than left out.
	var log logLines
	opts := Options{Base: base, Walkers: 1, Exclude: snapshots, ExcludeUser: "root", Logger: log.logger()}
	got := split(t, opts, base+"/listonly")
	if len(got) != 2 || got[1].Entry != (Entry{base + "/listonly/.snapshots", true}) || got[1].Young {
		t.Errorf("list only: %+v", got)
	}
	equal(t, "log", log.all(), []string{"ERROR cannot learn the owner of " + base + "/listonly/.snapshots: permission denied; it is not excluded"})

	var walked []string
	err = Walk(t.Context(), Options{Base: base, Depth: 1, Walkers: 1, Deeper: func(path string) bool { return path == base+"/closed\n" }}, func(e Entry) error {
		walked = append(walked, strings.Replace(string(e.Encode()), base, "B", 1))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "a deeper one that cannot be read", walked, []string{"0_B", "1_B/closed\n", "1_B/listonly"})
}

func TestSplitExcludedBase(t *testing.T) {
	base := tree(t, ".snapshots/a/b/") + "/.snapshots"
	opts := Options{Base: base, Exclude: snapshots}
	got := split(t, opts, base)
	opts.Deeper = func(string) bool { return true }
	if want := found(t, opts); !slices.Equal(settled(got), settled(want)) || len(got) != 1 || got[0].Recursive {
		t.Errorf("split: %+v, walk: %+v", got, want)
	}
}
