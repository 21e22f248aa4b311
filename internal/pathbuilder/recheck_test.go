// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// bothWays runs a test with openat2 and with what stands in for it.
func bothWays(t *testing.T, test func(t *testing.T, open func(base string) *Tree)) {
	for name, byComponent := range map[string]bool{"openat2": false, "by component": true} {
		t.Run(name, func(t *testing.T) {
			test(t, func(base string) *Tree {
				t.Helper()
				tree, err := OpenTree(base)
				if err != nil {
					t.Fatal(err)
				}
				tree.byComponent = byComponent
				return tree
			})
		})
	}
}

func wantState(t *testing.T, tree *Tree, rel string, want State) {
	t.Helper()
	if got, err := tree.Check(rel); got != want || err != nil {
		t.Errorf("Check(%.60q): %v, %v; want %v", rel, got, err, want)
	}
}

// kernelIs reports whether this is at least such a Linux.
func kernelIs(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var is [2]int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &is[0], &is[1]); err != nil {
		t.Fatal(err)
	}
	return slices.Compare(is[:], []int{major, minor}) >= 0
}

func TestOpenat2IsUsed(t *testing.T) {
	fd, err := openAt2(unix.AT_FDCWD, ".", unix.O_PATH, unix.RESOLVE_BENEATH)
	if (err == nil) != kernelIs(t, 5, 6) {
		t.Errorf("openat2: %v, but the kernel has it since 5.6", err)
	}
	if err == nil {
		unix.Close(fd)
	}
}

func TestCheck(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		base := tree(t, "a/b/c/", "a/file", "in -> a", "a/up -> ..", "out -> /etc", "dead -> nowhere", "a/self -> self",
			"new\nline/\xff\r/ /", "#c/", "-x/", `back\*[/`, "1_x/"+strings.Repeat("n", 255)+"/")
		tree := open(base)
		for rel, want := range map[string]State{
			"": Present, "a": Present, "a/b/c": Present,
			"new\nline/\xff\r/ ": Present, "#c": Present, "-x": Present, `back\*[`: Present,
			"1_x/" + strings.Repeat("n", 255): Present,

			"gone": Vanished, "a/gone": Vanished, "gone/b/c": Vanished, "a/gone/c": Vanished,

			"in": Changed, "in/b": Changed, "in/b/c": Changed, "in/gone": Changed,
			"a/up": Changed, "a/up/a/b": Changed, "out": Changed, "out/ssh": Changed,
			"dead": Changed, "dead/x": Changed, "a/self": Changed, "a/self/x": Changed,
			"a/file": Changed, "a/file/x": Changed,
		} {
			wantState(t, tree, rel, want)
		}
		for _, rel := range []string{"/", "/etc", "..", "a/../a", "a//b", "a/", "./a", "a\x00b"} {
			if got, err := tree.Check(rel); err == nil {
				t.Errorf("Check(%q): %v without an error", rel, got)
			}
		}

		if got, err := tree.Check("a/" + strings.Repeat("x", 256)); !errors.Is(err, syscall.ENAMETOOLONG) || !strings.Contains(err.Error(), base+"/a/xxx") {
			t.Errorf("Check of a name of 256 bytes: %v, %v", got, err)
		}
	})
}

func TestCheckSwapped(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		base := tree(t, "a/b/c/", "other/b/c/")
		tree := open(base)
		wantState(t, tree, "a/b/c", Present)
		if err := errors.Join(os.Rename(base+"/a", base+"/old"), os.Symlink("other", base+"/a")); err != nil {
			t.Fatal(err)
		}
		wantState(t, tree, "a/b/c", Changed)
		wantState(t, tree, "a", Changed)
		if err := os.Remove(base + "/a"); err != nil {
			t.Fatal(err)
		}
		wantState(t, tree, "a/b/c", Vanished)
		if err := os.Rename(base+"/old", base+"/a"); err != nil {
			t.Fatal(err)
		}
		wantState(t, tree, "a/b/c", Present)
	})
}

// deepDirs makes nested directories that are longer in sum than any path a system call takes, and
// returns their path.
func deepDirs(t *testing.T, base string, length int) string {
	t.Helper()
	dir, err := os.OpenRoot(base)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for left := length; left > 0; left -= 201 {
		name := strings.Repeat("d", min(200, left))
		if err := dir.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
		below, err := dir.OpenRoot(name)
		if err != nil {
			t.Fatal(err)
		}
		dir.Close()
		dir, names = below, append(names, name)
	}
	dir.Close()
	return strings.Join(names, "/")
}

func TestCheckLongPaths(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		for _, length := range []int{4000, 4094, 4095, 4096, 12000} {
			base := tree(t)
			rel := deepDirs(t, base, length)
			tree := open(base)
			wantState(t, tree, rel, Present)
			wantState(t, tree, rel+"/gone", Vanished)
			wantState(t, tree, rel+"/gone/"+rel, Vanished)
			top := base + "/" + rel[:200]
			if err := errors.Join(os.Rename(top, base+"/real"), os.Symlink("real", top)); err != nil {
				t.Fatal(err)
			}
			wantState(t, tree, rel, Changed)
			wantState(t, tree, "real"+rel[200:], Present)
		}
	})
}

func TestCutPath(t *testing.T) {
	for _, c := range []struct {
		rel         string
		piece, rest string
	}{
		{"abcd", "abcd", ""},
		{"ab/cd", "ab", "cd"},
		{"abcd/e", "abcd", "e"},
		{"a/b/c/d", "a/b", "c/d"},
		{"abcde/f", "abcde", "f"},
		{"abcdef", "abcdef", ""},
	} {
		if piece, rest := cutPath(c.rel, 4); piece != c.piece || rest != c.rest {
			t.Errorf("cutPath(%q): %q, %q; want %q, %q", c.rel, piece, rest, c.piece, c.rest)
		}
	}
}

func TestTreeBase(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		dir := tree(t, "real/base/a/", "real/base/to -> a", "mid -> real", "mid2 -> mid/base", "other/a/x/")
		tree := open(dir + "/mid2")
		if want := dir + "/real/base"; tree.Root() != want {
			t.Errorf("root %q, want %q", tree.Root(), want)
		}
		wantState(t, tree, "a", Present)
		wantState(t, tree, "to", Changed)

		// The link leads elsewhere now: nobody looks at it again.
		if err := errors.Join(os.Remove(dir+"/mid2"), os.Symlink("other", dir+"/mid2")); err != nil {
			t.Fatal(err)
		}
		wantState(t, tree, "a", Present)
		wantState(t, tree, "a/x", Vanished)

		// A base that has gone, or has become a link, is not a vanished path.
		if err := os.Rename(dir+"/real", dir+"/moved"); err != nil {
			t.Fatal(err)
		}
		for _, rel := range []string{"", "a", "gone"} {
			if state, err := tree.Check(rel); !errors.Is(err, fs.ErrNotExist) || state != 0 || !strings.Contains(err.Error(), dir+"/real/base") {
				t.Errorf("base gone: Check(%q): %v, %v", rel, state, err)
			}
		}
		if err := os.Symlink("moved", dir+"/real"); err != nil {
			t.Fatal(err)
		}
		for _, rel := range []string{"", "a"} {
			if state, err := tree.Check(rel); err == nil || state != 0 || !strings.Contains(err.Error(), "not the directory it was") {
				t.Errorf("base below a link: Check(%q): %v, %v", rel, state, err)
			}
		}
	})
}

func TestTreeAtRoot(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		tree := open("/")
		wantState(t, tree, "", Present)
		wantState(t, tree, "etc", Present)
		wantState(t, tree, "etc/no such thing", Vanished)
		wantState(t, tree, "etc/passwd", Changed)
	})
}

func TestOpenTreeRefuses(t *testing.T) {
	dir := tree(t, "file", "dead -> nowhere", "loop -> loop", "tofile -> file")
	for _, base := range []string{"", dir + "/gone", dir + "/file", dir + "/dead", dir + "/loop", dir + "/tofile", dir + "/a\nb"} {
		if _, err := OpenTree(base); err == nil || !strings.HasPrefix(err.Error(), "cannot use ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("OpenTree(%q): %v", base, err)
		}
	}
}

func TestCheckErrors(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		base := tree(t, "closed\n/x/y/")
		for p := base; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
			if err := os.Chmod(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(base+"/closed\n", 0o700); err != nil {
			t.Fatal(err)
		}
		tree := open(base)
		unprivileged(t)
		wantState(t, tree, "closed\n", Present)
		for _, rel := range []string{"closed\n/x", "closed\n/x/y", "closed\n/gone"} {
			state, err := tree.Check(rel)
			if !errors.Is(err, fs.ErrPermission) || state != 0 {
				t.Errorf("Check(%q): %v, %v", rel, state, err)
				continue
			}
			if !strings.Contains(err.Error(), `/closed\n/`) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error does not name the path in one line: %v", err)
			}
		}
	})
}

// Nothing may stay open: it would keep a file system from being unmounted.
func TestTreeKeepsNothingOpen(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		base := tree(t, "a/b/", "link -> a", "file")
		long := deepDirs(t, base, 9000)
		runtime.GC() // what other tests left to finalizers
		before := openBelowOf(t, base)
		tree := open(base)
		for _, rel := range []string{"", "a", "a/b", "link/b", "file/x", "gone/x", long, long + "/x", "a\x00"} {
			tree.Check(rel)
		}
		if after := openBelowOf(t, base); after != before {
			t.Errorf("%d descriptors open below the base, %d before", after, before)
		}
	})
}

// openBelowOf counts descriptors of the base, of what is below it, and of /, where the way to it
// begins.
func openBelowOf(t *testing.T, base string) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && (to == "/" || strings.HasPrefix(to, base)) {
			n++
		}
	}
	return n
}

func BenchmarkCheck(b *testing.B) {
	base := tree(b, "a/b/c/d/e/f/")
	for name, byComponent := range map[string]bool{"openat2": false, "component": true} {
		b.Run(name, func(b *testing.B) {
			tree, err := OpenTree(base)
			if err != nil {
				b.Fatal(err)
			}
			tree.byComponent = byComponent
			for b.Loop() {
				if state, err := tree.Check("a/b/c/d/e/f"); state != Present {
					b.Fatal(err)
				}
			}
		})
	}
}
