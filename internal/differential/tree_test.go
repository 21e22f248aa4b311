// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// area is the directory of one round:
//
//	src, dst, ref   the trees
//	prior           what dst and ref are at first
//	outside         what symlinks lead to, and nothing may change
//	tmp             files of the clients
//	spare           from where things are moved into src, and where they are moved away to
type area struct {
	t       *testing.T
	dir     string
	crowded []string // directories of the source with many files
}

func newArea(t *testing.T) *area {
	t.Helper()
	a := &area{t: t, dir: t.TempDir()}
	for _, name := range []string{"src", "outside/directory/below", "outside/directory/b/c", "outside/directory/c", "spare", "tmp"} {
		a.must(os.MkdirAll(a.at(name), 0o755))
	}
	for _, name := range []string{"outside/secret", "outside/directory/secret", "outside/directory/below/secret", "outside/directory/b/c/file", "outside/directory/c/file"} {
		a.must(os.WriteFile(a.at(name), []byte("not to be reached\n"), 0o600))
	}
	for _, name := range []string{"directory/below", "directory/b/c", "directory/b", "directory/c", "directory", "."} {
		a.must(os.Chtimes(a.at("outside/"+name), time.Time{}, time.Unix(1_000_000_000, 0)))
	}
	a.copy("outside", "outside.before")
	return a
}

func (a *area) at(name string) string { return a.dir + "/" + name }

func (a *area) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// copy makes an exact copy of a tree, hard links and times included.
func (a *area) copy(from, to string) {
	a.t.Helper()
	if out, err := exec.Command("cp", "-a", "-T", a.at(from), a.at(to)).CombinedOutput(); err != nil {
		a.t.Fatalf("cannot copy %s: %v: %s", from, err, out)
	}
}

// grower makes and changes trees at random. It stops the test at the first error.
type grower struct {
	*rand.Rand
	*area
	skip  bool // it may make directories with names that options.Exclude matches
	blind bool // it may change files so that size and time stay the same

	attributes *rand.Rand // gives some files extended attributes and access control lists; nil: none has any
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// oddNames has every kind of name that has been lost somewhere.
var oddNames = []string{
	"new\nline", "\n", "return\r", "return", "tab\t", "-dash", "--delete", "-", "#comment", ";comment", " leading", "trailing ", " ",
	"'single'", `"double"`, `"`, "100%", "%(session)s", `back\slash`, `\`, `\n`, `\#012`, "star*", "question?", "[range]", `[a\*b]`,
	"bad\xff\xfe", "caf\xe9", "ümlaut", "\x01\x7f", "1_x", "0_", "_", "l_[]", "...", "..data", "~", "$HOME", "a:b", "::x", "rsync:",
	strings.Repeat("n", 255), strings.Repeat("é", 127),
}

// skipNames are names that the patterns of options.Exclude match, and that are hard to write as
// patterns of rsync.
var skipNames = []string{"skip", "skip one", `skip*\`, `skip\`, "skip[x]?", "skip\nline"}

func (g *grower) name(directory bool) string {
	switch {
	case directory && g.skip && chance(g.Rand, 15):
		return pick(g.Rand, skipNames)
	case chance(g.Rand, 40):
		return pick(g.Rand, oddNames)
	case directory:
		return fmt.Sprintf("d%d", g.IntN(30))
	}
	return fmt.Sprintf("f%d", g.IntN(100))
}

// free returns a path in dir that does not exist.
func (g *grower) free(dir string, directory bool) string {
	for {
		path := dir + "/" + g.name(directory)
		if _, err := os.Lstat(path); os.IsNotExist(err) {
			return path
		}
	}
}

// grow fills a directory: a few levels, some of them deep.
func (g *grower) grow(dir string, level int) {
	g.files(dir, g.IntN(5))
	most := []int{5, 4, 3, 2, 2}
	count := 0
	if level < len(most) {
		count = g.IntN(most[level])
	}
	if level == 0 {
		count += 2
	}
	for range count {
		g.directory(g.free(dir, true), func(path string) { g.grow(path, level+1) })
	}
	if level == 0 && chance(g.Rand, 30) {
		g.deep(dir)
	}
}

// directory makes a directory and fills it before it gets its owner and mode.
func (g *grower) directory(path string, fill func(string)) {
	g.must(os.Mkdir(path, 0o755))
	fill(path)
	g.own(path)
	g.must(syscall.Chmod(path, pick(g.Rand, []uint32{0o755, 0o755, 0o755, 0o700, 0o2775, 0o1777, 0o555, 0})))
}

// deep makes a chain of directories nearly as long as a path may be.
func (g *grower) deep(dir string) {
	for len(dir) < 2500 { // leaves room for more below
		dir += "/" + strings.Repeat(string(rune('a'+g.IntN(26))), 100+g.IntN(156))
		g.must(os.Mkdir(dir, 0o755))
		if chance(g.Rand, 40) {
			g.files(dir, 1)
		}
		if chance(g.Rand, 8) {
			return
		}
	}
}

// files makes files of all types but directories.
func (g *grower) files(dir string, count int) {
	for range count {
		path := g.free(dir, false)
		if chance(g.Rand, 20) && g.link(path) {
			continue
		}
		switch n := g.IntN(100); {
		case n < 12:
			g.must(os.Symlink(g.target(), path))
		case n < 17:
			g.must(syscall.Mkfifo(path, 0o600))
			g.finish(path)
		default:
			g.must(os.WriteFile(path, g.content(), 0o600))
			g.finish(path)
		}
	}
}

// link gives a file of the source one more name.
func (g *grower) link(path string) bool {
	_, files := g.list(g.at("src"))
	return len(files) > 0 && os.Link(g.at("src")+"/"+pick(g.Rand, files), path) == nil
}

func (g *grower) target() string {
	return pick(g.Rand, []string{"d1", "f1", ".", "..", "../d2", "no/such/file", "itself", "/etc/passwd", "/etc", "caf\xe9", "a\nb",
		"../outside", "../../outside/directory", "../../../outside/secret", g.at("outside/directory"), g.at("outside/secret")})
}

func (g *grower) content() []byte {
	size := g.IntN(4000)
	switch n := g.IntN(20); {
	case n < 2:
		size = 0
	case n == 2:
		size = 200_000
	}
	return bytes.Repeat(fmt.Appendf(nil, "%016x\n", g.Uint64()), size/17+1)[:size]
}

func (g *grower) finish(path string) {
	g.own(path)
	g.must(syscall.Chmod(path, pick(g.Rand, []uint32{0o644, 0o644, 0o600, 0o400, 0o755, 0o4755, 0o2755, 0o1644, 0})))
	g.age(path)
}

// foreign is a user that options.ExcludeUser names.
const foreign, foreignUser = 1, "daemon"

func (g *grower) own(path string) {
	if chance(g.Rand, 20) {
		g.must(os.Lchown(path, pick(g.Rand, []int{foreign, 54321}), pick(g.Rand, []int{0, 54322})))
	}
}

// age sets a modification time of long ago.
func (g *grower) age(path string) {
	when := time.Unix(600_000_000+g.Int64N(900_000_000), g.Int64N(1_000_000_000))
	g.must(os.Chtimes(path, time.Time{}, when))
}

// ageDirectories sets the times of all directories, from the bottom up.
func (g *grower) ageDirectories(root string) {
	dirs, _ := g.list(root)
	for _, rel := range slices.Backward(dirs) {
		g.age(root + "/" + rel)
	}
}

// attribute gives some of what is in a tree extended attributes and access control lists.
func (g *grower) attribute(root string) {
	dirs, files := g.list(root)
	for i, rel := range slices.Concat(dirs, files) {
		path := root + "/" + rel
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			continue
		}
		if chance(g.attributes, 15) {
			g.must(unix.Setxattr(path, pick(g.attributes, []string{"user.one", "user.two"}), g.noise(g.attributes.IntN(100)), 0))
		}
		if chance(g.attributes, 15) {
			g.must(unix.Setxattr(path, "system.posix_acl_access", g.acl(), 0))
		}
		if i < len(dirs) && chance(g.attributes, 5) {
			g.must(unix.Setxattr(path, "system.posix_acl_default", g.acl(), 0))
		}
	}
}

// acl is an access control list with rights for one user more; see acl(5) and the kernel's posix_acl_xattr.h.
func (g *grower) acl() []byte {
	list := []byte{2, 0, 0, 0}
	for _, entry := range []struct {
		tag uint16
		id  uint32
	}{{0x01, ^uint32(0)}, {0x02, pick(g.attributes, []uint32{foreign, 54321})}, {0x04, ^uint32(0)}, {0x10, ^uint32(0)}, {0x20, ^uint32(0)}} {
		list = binary.LittleEndian.AppendUint16(list, entry.tag)
		list = binary.LittleEndian.AppendUint16(list, uint16(g.attributes.IntN(8)))
		list = binary.LittleEndian.AppendUint32(list, entry.id)
	}
	return list
}

// crowd gives some directories about as many files as make a directory flat, or more, and returns
// them.
func (g *grower) crowd(root string, most int) (crowded []string) {
	dirs, _ := g.list(root)
	dirs = slices.DeleteFunc(dirs, func(rel string) bool { return len(rel) > 500 })
	for range 1 + g.IntN(3) {
		rel := pick(g.Rand, dirs[:1+g.IntN(len(dirs))])
		entries, err := os.ReadDir(root + "/" + rel)
		g.must(err)
		g.files(root+"/"+rel, max(0, most+pick(g.Rand, []int{0, 1, most / 2, 2 * most})-len(entries)))
		crowded = append(crowded, rel)
	}
	return crowded
}

// load adds trees with files that keep a slow rsync busy.
func (g *grower) load(root string) {
	dirs, _ := g.list(root)
	for range 1 + g.IntN(2) {
		dir := g.free(root+"/"+pick(g.Rand, dirs[:min(len(dirs), 4)]), true)
		g.directory(dir, func(path string) {
			for range 2 + g.IntN(5) {
				g.directory(g.free(path, true), func(path string) {
					for range 1 + g.IntN(2) {
						file := g.free(path, false)
						g.must(os.WriteFile(file, g.noise(10_000+g.IntN(40_000)), 0o600))
						g.finish(file)
					}
				})
			}
		})
	}
	g.ageDirectories(root)
}

// noise is data that does not compress.
func (g *grower) noise(size int) []byte {
	data := make([]byte, 0, size+8)
	for len(data) < size {
		data = binary.LittleEndian.AppendUint64(data, g.Uint64())
	}
	return data[:size]
}

// list returns what is in a tree, relative to root and parents first: the directories, "."
// included, and everything else.
func (a *area) list(root string) (dirs, files []string) {
	a.t.Helper()
	a.must(filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if entry.IsDir() {
			dirs = append(dirs, rel)
		} else {
			files = append(files, rel)
		}
		return err
	}))
	return dirs, files
}

// edit changes a tree as time does, so that a copy made before is an older copy.
func (g *grower) edit(root string) {
	dirs, files := g.list(root)
	for _, rel := range files {
		path := root + "/" + rel
		info, err := os.Lstat(path)
		g.must(err)
		switch n := g.IntN(100); {
		case n < 60:
		case n < 70 && info.Mode().IsRegular():
			g.must(os.WriteFile(path, g.content(), 0o600))
			g.finish(path)
		case n < 75 && g.blind && info.Mode().IsRegular(): // only --checksum sees it
			g.must(os.WriteFile(path, bytes.Repeat([]byte{byte('a' + g.IntN(26))}, int(info.Size())), 0o600))
			g.must(os.Chtimes(path, time.Time{}, info.ModTime()))
		case n < 80 && info.Mode()&os.ModeSymlink == 0:
			g.finish(path)
		case n < 90:
			g.must(os.Remove(path))
			if chance(g.Rand, 50) {
				g.other(path)
			}
		}
	}
	for _, rel := range slices.Backward(dirs[1:]) {
		switch n := g.IntN(100); {
		case n < 5:
			g.must(os.RemoveAll(root + "/" + rel))
			if chance(g.Rand, 50) {
				g.other(root + "/" + rel)
			}
		case n < 20:
			g.files(root+"/"+rel, 1)
		case n < 25:
			g.directory(g.free(root+"/"+rel, true), func(path string) { g.grow(path, 3) })
		}
	}
	g.ageDirectories(root)
}

// other makes something of any type where nothing is.
func (g *grower) other(path string) {
	switch g.IntN(4) {
	case 0:
		g.must(os.Symlink(g.target(), path))
	case 1:
		g.must(os.WriteFile(path, g.content(), 0o600))
		g.finish(path)
	case 2:
		g.directory(path, func(string) {})
	case 3:
		g.directory(path, func(path string) { g.files(path, 1+g.IntN(2)); g.grow(path, 4) })
	}
}

// spoil turns a copy into a destination with things that do not belong there or have another type.
func (g *grower) spoil(root string) {
	dirs, files := g.list(root)
	for _, rel := range slices.Backward(dirs) {
		path := root + "/" + rel
		switch n := g.IntN(100); {
		case n < 10:
			g.files(path, 1+g.IntN(3))
		case n < 18:
			g.directory(g.free(path, true), func(path string) { g.grow(path, 3) })
		case n < 26 && rel != ".":
			g.must(os.RemoveAll(path))
			g.other(path)
		}
	}
	for _, rel := range files {
		path := root + "/" + rel
		if _, err := os.Lstat(path); err == nil && chance(g.Rand, 10) {
			g.must(os.Remove(path))
			g.other(path)
		}
	}
}
