// SPDX-License-Identifier: LGPL-2.1-or-later

package testtree

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names says which names MakeTree gives to files and directories besides the plain ones.
type Names int

const (
	// PlainNames are letters and digits only.
	PlainNames Names = iota
	// LineNames adds every odd name that a list with one path a line can carry: a client that
	// writes such lists (without "./" in front) sends all of it.
	LineNames
	// OddNames also adds those that such a list cannot carry: a newline or a carriage return in the
	// name, and a directory directly below the root that begins with "#" or ";".
	OddNames
)

// TreeOptions says what MakeTree makes. The zero value is a root directory with nothing in it.
type TreeOptions struct {
	// Fanout is the number of subdirectories of each plain directory, level by level: {10, 10, 5}
	// makes 10 directories, 100 in them, and 500 in those.
	Fanout []int
	// Files is the number of plain files in every plain directory, the root included.
	Files int
	// Size is the length of every plain file in bytes. No two files have the same content.
	Size int
	// Names other than PlainNames also bring symlinks of every kind, empty and deep directories, a
	// named pipe, unusual modes and, for root, foreign owners.
	Names Names
	// HardLinks adds groups of links whose members lie in one directory.
	HardLinks bool
	// FarHardLinks adds groups whose members lie in different directories of the first level.
	FarHardLinks bool
}

// deepLevels is far below every depth at which a tree is cut, and far from the limit of a path's
// length.
const deepLevels = 40

// MakeTree makes a tree in dir. The directory may exist, but must be empty then. The same options
// always make the same tree, apart from ctimes: contents and modification times follow from the
// names. All modification times lie between 1990 and 2020, with nanoseconds.
func MakeTree(dir string, o TreeOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make a tree: %w", err)
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot make a tree: %w", err)
	}
	if len(old) > 0 {
		return fmt.Errorf("cannot make a tree in %q: it is not empty; name a new or an empty directory", dir)
	}
	m := maker{root: dir, asRoot: os.Geteuid() == 0}
	m.plain("", o.Fanout, o.Files, o.Size)
	if o.Names != PlainNames {
		m.odd(o.Names)
	}
	if o.HardLinks {
		m.hardLinks("near links/one", "near links/two", "near links/three")
		m.hardLinks("near links/deep/er/one", "near links/deep/er/two")
	}
	if o.FarHardLinks {
		m.hardLinks("far a/one", "far b/two", "far b/below/three")
	}
	m.times()
	if m.err != nil {
		return fmt.Errorf("cannot make a tree in %q: %w", dir, m.err)
	}
	return nil
}

// maker makes one tree. It stops at the first error and keeps it.
type maker struct {
	root   string
	asRoot bool
	err    error
	dirs   []string          // relative, parents first
	modes  map[string]uint32 // of directories; set last, as a read-only one cannot be filled
}

func (m *maker) do(act func() error) {
	if m.err == nil {
		m.err = act()
	}
}

// at joins by hand, as filepath.Join would clean names such as "..".
func (m *maker) at(rel string) string {
	if rel == "" {
		return m.root
	}
	return m.root + "/" + rel
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// dir makes a directory and those above it.
func (m *maker) dir(rel string) {
	if _, err := os.Lstat(m.at(rel)); err == nil && rel != "" {
		return
	}
	if parent, _, nested := cutLast(rel); nested {
		m.dir(parent)
	}
	m.do(func() error { return os.MkdirAll(m.at(rel), 0o755) })
	m.dirs = append(m.dirs, rel)
}

func cutLast(rel string) (dir, name string, nested bool) {
	i := strings.LastIndexByte(rel, '/')
	if i < 0 {
		return "", rel, false
	}
	return rel[:i], rel[i+1:], true
}

// file makes a file, and its directory if that is missing.
func (m *maker) file(rel string, size int) {
	if dir, _, nested := cutLast(rel); nested {
		m.dir(dir)
	}
	m.do(func() error { return os.WriteFile(m.at(rel), content(rel, size), 0o644) })
	m.touch(rel)
}

func (m *maker) touch(rel string) {
	m.do(func() error { return os.Chtimes(m.at(rel), time.Time{}, timeOf(rel)) })
}

func (m *maker) chmod(rel string, mode uint32) {
	m.do(func() error { return syscall.Chmod(m.at(rel), mode) })
}

func (m *maker) plain(dir string, fanout []int, files, size int) {
	m.dir(dir)
	for i := range files {
		m.file(join(dir, fmt.Sprintf("file%03d", i)), size)
	}
	if len(fanout) == 0 {
		return
	}
	for i := range fanout[0] {
		m.plain(join(dir, fmt.Sprintf("dir%03d", i)), fanout[1:], files, size)
	}
}

// lineNames survive a list with one path a line.
var lineNames = []string{
	" leading space", "trailing space ", "two  spaces", "tab\there", "-dash", "--delete", "'single'", `"double"`,
	`back\slash`, "100%", "%(session)s", "star*", "question?", "[range]", "{brace}", "~", "$HOME", "`id`", "a;b", "a#b",
	"...", "..data", ".hidden", "1_entry", "0_", "_", "umlaut-ä", "caf\xe9", "bad\xff\xfe", "\x01\x7f",
	strings.Repeat("n", 255),
}

// lostNames do not survive one: the line ends early, or is a comment.
var lostNames = []string{"new\nline", "\n", "return\r", "return", "#comment", ";comment"}

func (m *maker) odd(names Names) {
	set := lineNames
	if names == OddNames {
		set = append(set[:len(set):len(set)], lostNames...)
	}
	// The names are given to directories directly below the root and further down, each with
	// something in it, and to files.
	for _, parent := range []string{"", "odd/in/here"} {
		for i, name := range set {
			dir := join(parent, name)
			m.file(join(dir, set[(i+1)%len(set)]), 10+i)
			m.file(join(dir, "below/it/"+name), 100+i)
		}
	}
	for i, name := range set {
		m.file(join("odd/files", name), i)
	}
	if names == LineNames {
		// Comments only count at the beginning of a line.
		m.file("odd/in/#here/file", 1)
		m.file("odd/in/;here/file", 2)
	}

	m.file("kinds/big", 300_000)
	m.file("kinds/empty", 0)
	m.do(func() error { return syscall.Mkfifo(m.at("kinds/pipe"), 0o640) })
	m.touch("kinds/pipe")
	m.dir("kinds/links")
	for name, target := range map[string]string{
		"to a file":      "../big",
		"to a directory": "..",
		"dangling":       "no/such/file",
		"absolute":       "/etc/passwd",
		"outside":        "../../../../../../../../../etc",
		"itself":         "itself",
		"odd name":       "../../odd/files/caf\xe9",
	} {
		m.do(func() error { return os.Symlink(target, m.at(join("kinds/links", name))) })
	}
	m.do(func() error { return os.Symlink("kinds", m.at("link to a directory")) })

	m.dir("empty")
	m.dir("nearly/empty/inside")
	m.file("deep/"+strings.Repeat("down/", deepLevels)+"bottom", 7)

	for _, mode := range []uint32{0o400, 0o600, 0o666, 0o755, 0o4755, 0o2755} {
		rel := fmt.Sprintf("modes/file %04o", mode)
		m.file(rel, 3)
		m.chmod(rel, mode)
	}
	m.modes = map[string]uint32{"modes/dir 0700": 0o700, "modes/dir 2775": 0o2775, "modes/dir 1777": 0o1777}
	if m.asRoot {
		// Others could neither fill these again nor remove them.
		m.modes["modes/dir 0555"] = 0o555
		m.modes["modes/dir 0000"] = 0
		m.file("modes/file 0000", 3)
		m.chmod("modes/file 0000", 0)
		m.file("owners/file", 3)
		m.dir("owners/dir")
		m.do(func() error { return os.Symlink("file", m.at("owners/link")) })
		for _, name := range []string{"file", "dir", "link"} {
			m.do(func() error { return os.Lchown(m.at("owners/"+name), 54321, 54322) })
		}
	}
	for rel := range m.modes {
		m.file(rel+"/file", 3)
	}
}

// hardLinks makes one file that has all these names.
func (m *maker) hardLinks(first string, others ...string) {
	m.file(first, 2000)
	for _, name := range others {
		if dir, _, nested := cutLast(name); nested {
			m.dir(dir)
		}
		m.do(func() error { return os.Link(m.at(first), m.at(name)) })
	}
}

// times gives directories their modes and times, from the bottom up, because whatever is made in a
// directory changes it.
func (m *maker) times() {
	for i := len(m.dirs) - 1; i >= 0; i-- {
		rel := m.dirs[i]
		m.touch(rel)
		if mode, ok := m.modes[rel]; ok {
			m.chmod(rel, mode)
		}
	}
}

func sum(rel string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(rel))
	return h.Sum64()
}

// content returns size bytes that begin with the file's own path.
func content(rel string, size int) []byte {
	seed := fmt.Appendf(nil, "%s %016x\n", filepath.ToSlash(rel), sum(rel))
	return bytes.Repeat(seed, size/len(seed)+1)[:size]
}

func timeOf(rel string) time.Time {
	from := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	span := uint64(30 * 365 * 24 * time.Hour)
	return from.Add(time.Duration(sum("time of "+rel) % span))
}
