// SPDX-License-Identifier: LGPL-2.1-or-later

package testtree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Aspect is something that Compare can leave out.
type Aspect int

// HardLinks is the aspect of which names belong to one file.
const HardLinks Aspect = iota + 1

// Compare says in what two trees differ, one line for each difference, in the order of a walk. It
// compares names, types, content, link targets, modes, owners, device numbers, the modification
// times of files and directories to the nanosecond, and the structure of hard links; the two roots
// included. Names are quoted, so that a line is always one line. It does not look at access and
// change times, extended attributes and the times of symlinks.
//
// An error says that a tree could not be read; the differences found before come with it.
func Compare(a, b string, without ...Aspect) ([]string, error) {
	c := comparison{
		names: [2]string{a, b},
		links: !slices.Contains(without, HardLinks),
		first: [2]map[inode]string{{}, {}},
	}
	for side, name := range c.names {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, fmt.Errorf("cannot compare: %w", err)
		}
		defer root.Close()
		c.roots[side] = root
	}
	err := c.node(".")
	return c.differences, err
}

// Split gives the path that a line of Compare is about, and what it says of it.
func Split(line string) (path, what string, err error) {
	quoted, err := strconv.QuotedPrefix(line)
	if err != nil {
		return "", "", fmt.Errorf("cannot read %q as a line of a comparison: %w", line, err)
	}
	path, err = strconv.Unquote(quoted)
	return path, strings.TrimPrefix(line[len(quoted):], ": "), err
}

// temporary is the form of names that rsync gives files under way.
var temporary = regexp.MustCompile(`^\..*\.[0-9A-Za-z]{6}$`)

// Temporary tells whether a path may be that of a file which rsync has not finished.
func Temporary(path string) bool { return temporary.MatchString(filepath.Base(path)) }

// inode identifies a file that may have several names.
type inode struct{ dev, ino uint64 }

type comparison struct {
	names       [2]string
	roots       [2]*os.Root // goes down name by name, so paths may be of any length
	links       bool
	first       [2]map[inode]string // of each file with several names the one that was met first
	differences []string
}

func (c *comparison) differ(rel, format string, args ...any) {
	c.differences = append(c.differences, fmt.Sprintf("%q: ", rel)+fmt.Sprintf(format, args...))
}

func (c *comparison) cannot(side int, rel string, err error) error {
	return fmt.Errorf("cannot compare %q in %q: %w", rel, c.names[side], err)
}

// node compares what has the same name on both sides, and everything below it.
func (c *comparison) node(rel string) error {
	var stats [2]*syscall.Stat_t
	for side, root := range c.roots {
		info, err := root.Lstat(rel)
		if err != nil {
			return c.cannot(side, rel, err)
		}
		stats[side] = info.Sys().(*syscall.Stat_t)
	}
	a, b := stats[0], stats[1]
	kind := a.Mode & syscall.S_IFMT
	if other := b.Mode & syscall.S_IFMT; kind != other {
		c.differ(rel, "%s and %s", kindName(kind), kindName(other))
		return nil
	}
	if a.Uid != b.Uid || a.Gid != b.Gid {
		c.differ(rel, "owner %d:%d and %d:%d", a.Uid, a.Gid, b.Uid, b.Gid)
	}
	if kind != syscall.S_IFLNK {
		if a.Mode != b.Mode {
			c.differ(rel, "mode %04o and %04o", a.Mode&0o7777, b.Mode&0o7777)
		}
		if a.Mtim != b.Mtim {
			c.differ(rel, "modified %s and %s", when(a.Mtim), when(b.Mtim))
		}
	}
	if c.links && kind != syscall.S_IFDIR {
		if one, two := c.firstName(0, rel, a), c.firstName(1, rel, b); one != two {
			c.differ(rel, "the same file as %q and as %q", one, two)
		}
	}
	switch kind {
	case syscall.S_IFDIR:
		return c.children(rel)
	case syscall.S_IFREG:
		return c.content(rel, a.Size, b.Size)
	case syscall.S_IFLNK:
		return c.target(rel)
	case syscall.S_IFCHR, syscall.S_IFBLK:
		if a.Rdev != b.Rdev {
			c.differ(rel, "device %#x and %#x", a.Rdev, b.Rdev)
		}
	}
	return nil
}

// firstName returns the name under which this file was met first, which is its own the first time.
func (c *comparison) firstName(side int, rel string, st *syscall.Stat_t) string {
	if st.Nlink < 2 {
		return rel
	}
	key := inode{uint64(st.Dev), st.Ino}
	first, met := c.first[side][key]
	if !met {
		c.first[side][key] = rel
		return rel
	}
	return first
}

func (c *comparison) children(rel string) error {
	var names [2][]string
	for side, root := range c.roots {
		dir, err := root.Open(rel)
		if err != nil {
			return c.cannot(side, rel, err)
		}
		names[side], err = dir.Readdirnames(-1)
		dir.Close()
		if err != nil {
			return c.cannot(side, rel, err)
		}
		slices.Sort(names[side])
	}
	below := func(name string) string {
		if rel == "." {
			return name
		}
		return rel + "/" + name
	}
	a, b := names[0], names[1]
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			c.differ(below(a[0]), "only in %q", c.names[0])
			a = a[1:]
		case len(a) == 0 || b[0] < a[0]:
			c.differ(below(b[0]), "only in %q", c.names[1])
			b = b[1:]
		default:
			if err := c.node(below(a[0])); err != nil {
				return err
			}
			a, b = a[1:], b[1:]
		}
	}
	return nil
}

func (c *comparison) content(rel string, sizeA, sizeB int64) error {
	if sizeA != sizeB {
		c.differ(rel, "%d bytes and %d bytes", sizeA, sizeB)
		return nil
	}
	var files [2]*os.File
	for side, root := range c.roots {
		file, err := root.Open(rel)
		if err != nil {
			return c.cannot(side, rel, err)
		}
		defer file.Close()
		files[side] = file
	}
	var parts [2][64 << 10]byte
	for {
		var counts [2]int
		var ended bool
		for side, file := range files {
			n, err := io.ReadFull(file, parts[side][:])
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				ended = true
			} else if err != nil {
				return c.cannot(side, rel, err)
			}
			counts[side] = n
		}
		if !bytes.Equal(parts[0][:counts[0]], parts[1][:counts[1]]) {
			c.differ(rel, "different content")
			return nil
		}
		if ended {
			return nil // of both: the same number of bytes was read
		}
	}
}

func (c *comparison) target(rel string) error {
	var targets [2]string
	for side, root := range c.roots {
		target, err := root.Readlink(rel)
		if err != nil {
			return c.cannot(side, rel, err)
		}
		targets[side] = target
	}
	if targets[0] != targets[1] {
		c.differ(rel, "link to %q and to %q", targets[0], targets[1])
	}
	return nil
}

func when(ts syscall.Timespec) string {
	return time.Unix(ts.Unix()).UTC().Format("2006-01-02T15:04:05.999999999Z")
}

func kindName(kind uint32) string {
	switch kind {
	case syscall.S_IFREG:
		return "file"
	case syscall.S_IFDIR:
		return "directory"
	case syscall.S_IFLNK:
		return "symlink"
	case syscall.S_IFIFO:
		return "named pipe"
	case syscall.S_IFSOCK:
		return "socket"
	case syscall.S_IFCHR, syscall.S_IFBLK:
		return "device"
	}
	return fmt.Sprintf("kind %#o", kind)
}
