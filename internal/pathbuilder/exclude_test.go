// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestChildren(t *testing.T) {
	base := tree(t, "a/.snapshots/x/.snapshots/", "a/b/.snapshots/", "a/.snapshots2/", "a/file", ".snapshots -> a", "c/.snapshots", "new\nline/.snapshots/")
	x := NewExcluder(snapshots, nil)
	for rel, want := range map[string][]string{
		"": nil, "/a": {".snapshots"}, "/a/b": {".snapshots"}, "/c": nil, "/new\nline": {".snapshots"}, "/a/.snapshots": {"x"},
	} {
		got, err := x.Children(t.Context(), base+rel)
		if err != nil {
			t.Error(err)
		}
		equal(t, rel, got, want)
	}
	if got, err := NewExcluder(nil, nil).Children(t.Context(), base+"/a"); got != nil || err != nil {
		t.Errorf("no pattern: %q, %v", got, err)
	}
	for _, path := range []string{base + "/gone", base + "/a/file"} {
		if got, err := x.Children(t.Context(), path); !isGone(err) || got != nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Children(%s): %q, %v", path, got, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	cancel(stop)
	if got, err := x.Children(ctx, base+"/a"); err != stop {
		t.Errorf("ended context: %q, %v", got, err)
	}
}

// randomTree makes directories with odd names, some of them another user's.
func randomTree(t *testing.T, rnd *rand.Rand, n int) (base string, dirs []string) {
	t.Helper()
	base = filepath.Join(t.TempDir(), "tree")
	mustMkdir(t, base)
	dirs = []string{base}
	for range n {
		path := dirs[rnd.IntN(len(dirs))] + "/" + oddNames[rnd.IntN(len(oddNames))]
		switch rnd.IntN(8) {
		case 0:
			os.WriteFile(path, nil, 0o644)
		case 1:
			os.Symlink(dirs[rnd.IntN(len(dirs))], path)
		default:
			if os.Mkdir(path, 0o755) == nil {
				dirs = append(dirs, path)
				if rnd.IntN(3) == 0 {
					if err := os.Lchown(path, 1, 1); err != nil {
						t.Fatalf("this test changes owners: run it as root: %v", err)
					}
				}
			}
		}
	}
	return base, dirs
}

// What Children gives for the shallow entries of a walk is what the walk says that it leaves out;
// and Below says the same of the whole tree.
func TestExcluderAgreesWithWalk(t *testing.T) {
	daemon := uint32(1)
	seen := 0
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		base, _ := randomTree(t, rnd, 60)
		opts := Options{Base: base, Depth: 100, Exclude: regexp.MustCompile([]string{`/\.snapshots(/.*|$)`, `a$`, `/b/.`, `[^a]/a`}[rnd.IntN(4)])}
		x := NewExcluder(opts.Exclude, nil)
		x.readers = 1 + rnd.IntN(9)
		if rnd.IntN(2) == 0 {
			opts.ExcludeUser, x.owner = "daemon", &daemon
		}
		var log logLines
		opts.Logger = log.logger()
		var children []string
		if err := Walk(t.Context(), opts, func(e Entry) error {
			names, err := x.Children(t.Context(), e.Path)
			for _, name := range names {
				children = append(children, join(e.Path, name))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, line := range log.all() {
			if path, ok := strings.CutPrefix(line, "INFO excluding path "); ok {
				if path[0] == '"' { // as printable quotes it
					fmt.Sscanf(path, "%q", &path)
				}
				want = append(want, path)
			}
		}
		slices.Sort(want)
		slices.Sort(children)
		equal(t, fmt.Sprintf("seed %d: children", seed), children, want)

		below, err := x.Below(t.Context(), base)
		if err != nil {
			t.Fatal(err)
		}
		for i, rel := range below {
			below[i] = base + "/" + rel
		}
		slices.Sort(below)
		equal(t, fmt.Sprintf("seed %d: below", seed), below, want)
		seen += len(want)
	}
	if seen < 100 {
		t.Errorf("only %d directories were excluded", seen)
	}
}

// What vanishes between the reading of its name and the look at its owner is no longer anybody's.
func TestChildrenVanish(t *testing.T) {
	var names []string
	for i := range chunk + 100 {
		names = append(names, fmt.Sprintf("a%d/", i))
	}
	base := tree(t, names...)
	me := uint32(os.Geteuid())
	vanished := false
	ctx := &duringRead{t.Context(), 0, func() {
		for _, name := range names {
			path := base + "/" + strings.TrimSuffix(name, "/")
			if err := errors.Join(os.Remove(path), os.Symlink("gone", path)); err != nil {
				t.Error(err)
			}
			if strings.HasSuffix(path, "5") {
				os.Remove(path)
			}
		}
		vanished = true
	}}
	got, err := NewExcluder(regexp.MustCompile("a"), &me).Children(ctx, base)
	if err != nil || len(got) < chunk || !vanished {
		t.Errorf("%d names, %v, vanished %v", len(got), err, vanished)
	}
}

func TestExcludedByOwner(t *testing.T) {
	base := tree(t, "mine/.snapshots/", "theirs/.snapshots/", "a/")
	daemon := uint32(1)
	if err := os.Lchown(base+"/theirs/.snapshots", 1, 1); err != nil {
		t.Fatalf("this test changes owners: run it as root: %v", err)
	}
	for owner, want := range map[*uint32][]string{nil: {"mine/.snapshots", "theirs/.snapshots"}, &daemon: {"theirs/.snapshots"}} {
		got, err := NewExcluder(snapshots, owner).Below(t.Context(), base)
		if err != nil {
			t.Error(err)
		}
		equal(t, fmt.Sprintf("owner given: %v", owner != nil), got, want)
	}
}

func TestBelow(t *testing.T) {
	base := tree(t, "a/.snapshots/x/.snapshots/", "a/b/.snapshots/", ".snapshots/", "a/c -> b", "link -> a", "f")
	x := NewExcluder(snapshots, nil)
	open := openBelowOf(t, base)
	for dir, want := range map[string][]string{
		"":      {".snapshots", "a/.snapshots", "a/b/.snapshots"},
		"/a":    {".snapshots", "b/.snapshots"},
		"/a/b":  {".snapshots"},
		"/link": {".snapshots", "b/.snapshots"}, // as a base may be given
	} {
		got, err := x.Below(t.Context(), base+dir)
		if err != nil {
			t.Error(err)
		}
		equal(t, dir, got, want)
	}
	if now := openBelowOf(t, base); now != open {
		t.Errorf("%d descriptors open below the base, %d before", now, open)
	}
	if got, err := NewExcluder(nil, nil).Below(t.Context(), base); got != nil || err != nil {
		t.Errorf("no pattern: %q, %v", got, err)
	}
	for _, path := range []string{base + "/gone", base + "/f"} {
		if got, err := x.Below(t.Context(), path); !isGone(err) || got != nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Below(%s): %q, %v", path, got, err)
		}
	}

	x.limit = 3
	if got, err := x.Below(t.Context(), base); len(got) != 3 || err != nil {
		t.Errorf("as many as the limit: %q, %v", got, err)
	}
	x.limit = 2
	got, err := x.Below(t.Context(), base)
	if got != nil || err == nil || !strings.Contains(err.Error(), base) || !strings.Contains(err.Error(), "more than 2 directories") {
		t.Errorf("more than the limit: %q, %v", got, err)
	}
}

func TestBelowLongPaths(t *testing.T) {
	base := tree(t)
	rel := deepDirs(t, base, 6000)
	x := NewExcluder(regexp.MustCompile(fmt.Sprintf("/d{%d}$", len(filepath.Base(rel)))), nil) // only the last is as short
	got, err := x.Below(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != rel {
		t.Errorf("got %.50q", got)
	}
}

func TestBelowDenied(t *testing.T) {
	base := tree(t, "a/.snapshots/", "closed/x/", "listonly/.snapshots/", "z/.snapshots/")
	for p := base; p != "/" && p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"closed": 0o700, "listonly": 0o744} {
		if err := os.Chmod(base+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	unprivileged(t)
	root := uint32(0)
	x := NewExcluder(snapshots, nil)
	x.readers = 1 // this thread
	got, err := x.Below(t.Context(), base)
	if err != nil {
		t.Error(err)
	}
	equal(t, "below", got, []string{"a/.snapshots", "listonly/.snapshots", "z/.snapshots"})
	if _, err := x.Below(t.Context(), base+"/closed"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("an entry that may not be read: %v", err)
	}
	if _, err := x.Children(t.Context(), base+"/closed"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("children of what may not be read: %v", err)
	}

	x.owner = &root
	if got, err = x.Below(t.Context(), base); err != nil {
		t.Error(err)
	}
	equal(t, "below, by owner", got, []string{"a/.snapshots", "z/.snapshots"})
	if _, err := x.Children(t.Context(), base+"/listonly"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "listonly/.snapshots") {
		t.Errorf("children whose owner cannot be learned: %v", err)
	}
}

// What changes during a scan neither ends it nor leads it out of the tree.
func TestScanOfChangingTree(t *testing.T) {
	for _, readers := range []int{1, 4} {
		base := tree(t, "a/x/", "b/x/", "c/x/", "d/x/")
		tree, err := OpenTree(base)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(chan string, 100)
		s := scan{tree: tree, readers: readers, read: func(ctx context.Context, rel string, dir openDir) (deeper []string, err error) {
			if rel == "" {
				if err := errors.Join(os.RemoveAll(base+"/b"), os.RemoveAll(base+"/c"), os.Symlink("/etc", base+"/c"),
					os.RemoveAll(base+"/d"), os.WriteFile(base+"/d", nil, 0o644)); err != nil {
					return nil, err
				}
				return []string{"a", "b", "c", "d"}, nil
			}
			seen <- rel
			err = dir.names(ctx, func(n dirName) error { deeper = append(deeper, string(n.bytes)); return nil })
			return deeper, err
		}}
		if err := s.run(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		close(seen)
		var got []string
		for rel := range seen {
			got = append(got, rel)
		}
		slices.Sort(got)
		equal(t, "read", got, []string{"a", "a/x"})
	}
}

func TestScanEnds(t *testing.T) {
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("d%d/e%d/", i%20, i))
	}
	base := tree(t, names...)
	tree, err := OpenTree(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, readers := range []int{1, 8} {
		for _, cancelled := range []bool{false, true} {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("told to stop")
			s := scan{tree: tree, readers: readers, read: func(ctx context.Context, rel string, dir openDir) (deeper []string, err error) {
				if strings.Contains(rel, "e7") {
					if cancelled {
						cancel(stop)
						<-ctx.Done()
						return nil, context.Cause(ctx)
					}
					return nil, stop
				}
				err = dir.names(ctx, func(n dirName) error { deeper = append(deeper, string(n.bytes)); return nil })
				return deeper, err
			}}
			if err := s.run(ctx, ""); err != stop {
				t.Errorf("%d readers, cancelled %v: %v", readers, cancelled, err)
			}
			cancel(nil)
		}
	}
}

// A directory that cannot be read ends a scan with an error, unless it is permission that is
// missing.
func TestScanErrors(t *testing.T) {
	base := tree(t, "a/b/c/")
	x := NewExcluder(snapshots, nil)
	tree, err := OpenTree(base)
	if err != nil {
		t.Fatal(err)
	}
	s := scan{tree: tree, pass: isDenied, read: func(ctx context.Context, rel string, dir openDir) ([]string, error) {
		if rel == "a/b" {
			return nil, &readError{dir.path, syscall.EIO}
		}
		_, deeper, err := x.sort(ctx, rel, dir)
		return deeper, err
	}}
	if err := s.run(t.Context(), ""); !errors.Is(err, syscall.EIO) || err.Error() != "cannot read directory "+base+"/a/b: input/output error" {
		t.Errorf("got %v", err)
	}
}
