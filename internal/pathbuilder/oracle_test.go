// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// oracle makes the list the way the original does: one complete list for the base, then one for
// each subpath laid over it. It is slow and simple, shares nothing with the walk, and knows the
// list only as a whole.
type oracle struct {
	exclude *regexp.Regexp
	uid     int // -1: any
}

func (o oracle) out(path string) bool {
	if o.exclude == nil || !o.exclude.MatchString(path) {
		return false
	}
	info, err := os.Stat(path)
	return o.uid < 0 || err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == o.uid
}

func (o oracle) build(list map[string]bool, path string, depth int) {
	list[path] = depth == 0
	if depth == 0 || o.out(path) {
		return
	}
	names, err := filepath.Glob(escapeGlob(path) + "/*")
	if err != nil {
		panic(err)
	}
	for _, sub := range names {
		info, err := os.Lstat(sub)
		if err != nil || !info.IsDir() || o.out(sub) {
			continue
		}
		o.build(list, sub, depth-1)
	}
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

func (o oracle) list(base string, depth int, subpaths []string) ([]Entry, bool) {
	list := map[string]bool{}
	o.build(list, base, depth)
	deepest := strings.Count(base, "/") + depth
	for _, s := range subpaths {
		var d int
		fmt.Sscanf(s, "%d", &d)
		_, sub, _ := strings.Cut(s, "_")
		sub = strings.TrimRight(sub, "/")
		if !strings.HasPrefix(sub, base) {
			sub = base + "/" + sub
		}
		level := strings.Count(sub, "/") + d
		if _, there := list[sub]; !there || level < deepest {
			return nil, false
		}
		deepest = level
		o.build(list, sub, d)
	}
	var entries []Entry
	for path, recursive := range list {
		entries = append(entries, Entry{path, recursive})
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return slices.Compare(strings.Split(a.Path, "/"), strings.Split(b.Path, "/"))
	})
	return entries, true
}

var oddNames = []string{"a", "a-b", "a b", "a.", "A", "b", "\xff", "new\nline", "-x", "#c", "1_x", ".snapshots", "é", "[x]*", `back\`, "\x01"}

// oddTree makes a random tree of odd names and returns all its directories.
func oddTree(t *testing.T, rnd *rand.Rand, size int) []string {
	t.Helper()
	base := filepath.Join(t.TempDir(), "tree")
	dirs := []string{base}
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	for range size {
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
					os.Lchown(path, 1, 1) // daemon; only root can
				}
			}
		}
	}
	return dirs
}

func TestWalkAgainstOracle(t *testing.T) {
	patterns := []*regexp.Regexp{nil, nil, regexp.MustCompile(`/\.snapshots(/.*|$)`), regexp.MustCompile(`a$`), regexp.MustCompile(`/b/.`), regexp.MustCompile(``)}
	refused, deeper := 0, 0
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		dirs := oddTree(t, rnd, rnd.IntN(60))
		base := dirs[0]
		opts := Options{Base: base, Depth: rnd.IntN(5), Exclude: patterns[rnd.IntN(len(patterns))], Walkers: 1 + rnd.IntN(9)}
		o := oracle{exclude: opts.Exclude, uid: -1}
		if rnd.IntN(2) == 0 {
			opts.ExcludeUser, o.uid = "daemon", 1
		}
		for range rnd.IntN(3) {
			sub := dirs[rnd.IntN(len(dirs))]
			if rel, ok := strings.CutPrefix(sub, base+"/"); ok && rnd.IntN(2) == 0 {
				sub = rel + strings.Repeat("/", rnd.IntN(2))
			}
			opts.Subpaths = append(opts.Subpaths, fmt.Sprintf("%d_%s", rnd.IntN(6), sub))
		}
		if rnd.IntN(2) == 0 {
			opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
		}

		want, ok := o.list(base, opts.Depth, opts.Subpaths)
		var got []Entry
		w := newWalker(opts, func(f Found) error { got = append(got, f.Entry); return nil })
		w.ahead.limit = rnd.IntN(20)
		err := w.walk(t.Context())
		if !ok {
			refused++
			if err == nil || len(got) > 0 {
				t.Fatalf("seed %d: subpaths %q: error %v after %d entries, want one before any", seed, opts.Subpaths, err, len(got))
			}
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: depth %d, subpaths %q, exclude %v of %q:\ngot  %+v\nwant %+v",
				seed, opts.Depth, opts.Subpaths, opts.Exclude, opts.ExcludeUser, got, want)
		}
		if len(opts.Subpaths) > 0 {
			deeper++
		}
	}
	if refused < 20 || deeper < 20 {
		t.Errorf("the trees try too little: %d subpath lists refused, %d walked", refused, deeper)
	}
}
