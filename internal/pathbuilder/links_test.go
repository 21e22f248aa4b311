// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func open(t testing.TB, base string) *Tree {
	t.Helper()
	tree, err := OpenTree(base)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// scanLinks returns the links found, sorted by path.
func scanLinks(t *testing.T, base, rel string, recursive bool, skip func(string) bool) []Link {
	t.Helper()
	var links []Link
	if err := ScanLinks(t.Context(), open(t, base), rel, recursive, skip, func(l Link) error { links = append(links, l); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(links, func(a, b Link) int { return strings.Compare(a.Path, b.Path) })
	return links
}

func paths(links []Link) []string {
	var list []string
	for _, l := range links {
		list = append(list, l.Path)
	}
	return list
}

func mustLink(t testing.TB, old, new string) {
	t.Helper()
	if err := os.Link(old, new); err != nil {
		t.Fatal(err)
	}
}

func TestScanLinks(t *testing.T) {
	base := tree(t, "a/one", "a/b/x", "a/b/c/", "alone", "a/b/sym -> x", "elsewhere -> a", ".snapshots/", "odd\n\xff/")
	mustLink(t, base+"/a/one", base+"/a/two")
	mustLink(t, base+"/a/one", base+"/a/b/c/three")
	mustLink(t, base+"/a/b/x", base+"/.snapshots/x")
	mustLink(t, base+"/a/b/sym", base+"/a/sym2") // a link can have several names too
	if err := errors.Join(syscall.Mkfifo(base+"/fifo", 0o600), os.Link(base+"/fifo", base+"/odd\n\xff/ fifo")); err != nil {
		t.Fatal(err)
	}
	skip := func(path string) bool { return filepath.Base(path) == ".snapshots" }
	for _, c := range []struct {
		rel       string
		recursive bool
		skip      func(string) bool
		want      []string
	}{
		{"", true, nil, []string{".snapshots/x", "a/b/c/three", "a/b/sym", "a/b/x", "a/one", "a/sym2", "a/two", "fifo", "odd\n\xff/ fifo"}},
		{"", true, skip, []string{"a/b/c/three", "a/b/sym", "a/b/x", "a/one", "a/sym2", "a/two", "fifo", "odd\n\xff/ fifo"}},
		{"", false, nil, []string{"fifo"}},
		{"a", false, nil, []string{"a/one", "a/sym2", "a/two"}},
		{"a/b", true, nil, []string{"a/b/c/three", "a/b/sym", "a/b/x"}},
		{"a/b", false, nil, []string{"a/b/sym", "a/b/x"}},
		{".snapshots", true, skip, []string{".snapshots/x"}}, // was asked for by name
		{"odd\n\xff", true, nil, []string{"odd\n\xff/ fifo"}},
	} {
		equal(t, fmt.Sprintf("%q %v", c.rel, c.recursive), paths(scanLinks(t, base, c.rel, c.recursive, c.skip)), c.want)
	}
	equal(t, "base behind a link", paths(scanLinks(t, base+"/elsewhere", "b", true, nil)), []string{"b/c/three", "b/sym", "b/x"})

	for _, rel := range []string{"gone", "alone", "elsewhere", "elsewhere/b"} {
		err := ScanLinks(t.Context(), open(t, base), rel, true, nil, func(Link) error { return nil })
		if !isGone(err) || !strings.Contains(err.Error(), base+"/"+rel) {
			t.Errorf("%s: %v", rel, err)
		}
	}
	stop := errors.New("told to stop")
	if err := ScanLinks(t.Context(), open(t, base), "", true, nil, func(Link) error { return stop }); err != stop {
		t.Errorf("error of visit: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	err := ScanLinks(ctx, open(t, base), "", true, nil, func(Link) error { cancel(stop); return nil })
	if err != stop {
		t.Errorf("ended context: %v", err)
	}
}

func TestLinkTellsItsFile(t *testing.T) {
	base := tree(t, "a", "dir/")
	mustLink(t, base+"/a", base+"/dir/b")
	info, err := os.Lstat(base + "/a")
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	want := []Link{{Path: "a", Dev: stat.Dev, Ino: stat.Ino, Nlink: 2}, {Path: "dir/b", Dev: stat.Dev, Ino: stat.Ino, Nlink: 2}}
	if got := scanLinks(t, base, "", true, nil); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestScanLinksUnreadable(t *testing.T) {
	base := tree(t, "closed/", "listonly/f")
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
	// Not recursive: read by this thread.
	for rel, name := range map[string]string{"closed": "/closed", "listonly": "/listonly/f"} {
		err := ScanLinks(t.Context(), open(t, base), rel, false, nil, func(Link) error { return nil })
		if !errors.Is(err, fs.ErrPermission) || !strings.HasSuffix(err.Error(), base+name+": permission denied") {
			t.Errorf("%s: %v", rel, err)
		}
	}
}

// A group is open in an entry exactly if it has a name outside of it.
func TestLinkGroupsOfRandomTrees(t *testing.T) {
	opened, closed := 0, 0
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		base := tree(t, "in/a/b/", "in/c/", "out/")
		dirs := []string{"in", "in/a", "in/a/b", "in/c", "out"}
		outside := map[string]bool{} // groups with a name in out
		var want []string
		for i := range 30 {
			first := ""
			var names []string
			for j := range 1 + rnd.IntN(4) {
				rel := fmt.Sprintf("%s/f%d-%d", dirs[rnd.IntN(len(dirs))], i, j)
				if first == "" {
					first = rel
					write(t, base+"/"+rel)
				} else {
					mustLink(t, base+"/"+first, base+"/"+rel)
				}
				if strings.HasPrefix(rel, "out/") {
					outside[fmt.Sprint(i)] = true
				} else {
					names = append(names, rel)
				}
			}
			slices.Sort(names)
			if len(names) > 0 && outside[fmt.Sprint(i)] {
				want = append(want, strings.Join(names, " "))
			}
			if len(names) > 1 && !outside[fmt.Sprint(i)] {
				closed++
			}
		}
		slices.Sort(want)
		opened += len(want)

		var groups LinkGroups
		if err := ScanLinks(t.Context(), open(t, base), "in", true, nil, groups.Add); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, links := range groups.Open() {
			got = append(got, strings.Join(paths(links), " "))
		}
		equal(t, fmt.Sprintf("seed %d: open", seed), got, want)
		held := 0
		for _, links := range groups.open {
			held += len(links)
		}
		if held != groups.held {
			t.Errorf("seed %d: %d links are held, counted are %d", seed, held, groups.held)
		}
	}
	if opened < 50 || closed < 50 {
		t.Errorf("the trees try too little: %d groups open, %d closed", opened, closed)
	}
}

func TestLinkGroups(t *testing.T) {
	g := LinkGroups{Limit: 2}
	add := func(path string, ino uint64, nlink uint32) error {
		return g.Add(Link{Path: path, Dev: 1, Ino: ino, Nlink: nlink})
	}
	for _, err := range []error{
		add("a", 1, 2), add("b", 2, 2), // as much as may be held
		add("c", 1, 2), add("d", 3, 3), // one is complete, there is room again
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := add("e\n", 3, 3); err == nil || !strings.Contains(err.Error(), `"e\n"`) || !strings.Contains(err.Error(), "more than 2") {
		t.Errorf("over the limit: %v", err)
	}
	if err := g.Add(Link{Path: "z", Dev: 2, Ino: 2, Nlink: 2}); err == nil {
		t.Error("the same inode of another device is no other name")
	}
	if err := add("f", 3, 2); err != nil { // a name has gone meanwhile
		t.Error(err)
	}
	g = LinkGroups{}
	for _, err := range []error{add("b", 2, 2), add("g", 4, 5), add("h", 4, 5), add("i", 4, 2)} { // several have
		if err != nil {
			t.Error(err)
		}
	}
	if open := g.Open(); len(open) != 1 || open[0][0].Path != "b" {
		t.Errorf("open: %+v", open)
	}
	if open := new(LinkGroups).Open(); len(open) != 0 {
		t.Errorf("nothing added: %v", open)
	}
}

func TestScanLinksVanish(t *testing.T) {
	base, other := tree(t), tree(t)
	for i := range chunk + 100 {
		if i == 0 {
			write(t, base+"/f0")
			continue
		}
		mustLink(t, base+"/f0", fmt.Sprintf("%s/f%d", base, i))
	}
	mustLink(t, base+"/f0", other+"/stays")
	vanished := false
	ctx := &duringRead{t.Context(), 1, func() { // asked once before it begins
		for i := range chunk + 100 {
			if err := os.Remove(fmt.Sprintf("%s/f%d", base, i)); err != nil {
				t.Error(err)
			}
		}
		vanished = true
	}}
	seen := 0
	err := ScanLinks(ctx, open(t, base), "", true, nil, func(Link) error { seen++; return nil })
	if err != nil || seen < chunk || !vanished {
		t.Errorf("%d links, %v, vanished %v", seen, err, vanished)
	}
}

// BenchmarkScanLinks stands beside what find takes for the same.
func BenchmarkScanLinks(b *testing.B) {
	for _, linked := range []int{0, 500} {
		base := tree(b)
		for i := range 5000 {
			dir := fmt.Sprintf("%s/d%d/e%d", base, i%10, i/10%60)
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(fmt.Sprintf("%s/f%d", dir, i), nil, 0o644)); err != nil {
				b.Fatal(err)
			}
			if i < linked {
				mustLink(b, fmt.Sprintf("%s/f%d", dir, i), fmt.Sprintf("%s/g%d", base, i))
			}
		}
		b.Run(fmt.Sprintf("scan/linked=%d", linked), func(b *testing.B) {
			for b.Loop() {
				var groups LinkGroups
				if err := ScanLinks(b.Context(), open(b, base), "", true, nil, groups.Add); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("find/linked=%d", linked), func(b *testing.B) {
			for b.Loop() {
				if out, err := exec.CommandContext(b.Context(), "find", base, "!", "-type", "d", "-links", "+1", "-printf", "%D %i %n %p\\0").Output(); err != nil {
					b.Fatal(err, out)
				}
			}
		})
	}
}
