// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// excluding is --delete with a pattern of excluded directories.
func excluding(pattern string, change ...func(*Config)) func(*Config) {
	return func(c *Config) {
		c.Rsync.Delete, c.Base.Exclude = true, regexp.MustCompile(pattern)
		for _, f := range change {
			f(c)
		}
	}
}

func below(c *Config) { c.Base.ExcludeBelow = true }

// put makes directories with a file in each, at the source or at the destination.
func (r *rig) put(root string, dirs ...string) {
	r.t.Helper()
	for _, dir := range dirs {
		r.must(os.MkdirAll(filepath.Join(root, dir), 0o755), os.WriteFile(filepath.Join(root, dir, "file"), []byte(root), 0o644))
	}
}

// has fails the test unless the destination has the file that put has made
// there, or at the source; root is "" if there is to be no such directory.
func (r *rig) has(dir, root string) {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dst, dir, "file"))
	_, dirErr := os.Lstat(filepath.Join(r.dst, dir))
	switch {
	case root == "" && !os.IsNotExist(dirErr):
		r.t.Errorf("the destination has %q", dir)
	case root != "" && (err != nil || string(data) != root):
		r.t.Errorf("the destination has %q in %q (%v), want %q", data, dir, err, root)
	}
}

// An excluded directory that the walk meets is neither made nor deleted at the
// destination. Below the depth the pattern does not count, as in the original.
func TestExcludedAboveTheDepth(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.put(r.src, "skip", "dir000/skip", "dir001/skip", "dir002/dir000/skip")
	r.put(r.dst, "dir001/skip", "dir002/skip", "dir002/dir001/only/skip")
	change := excluding("/skip(/.*|$)")
	r.finish(r.source(1, change), r.slave(2, change), r.destination(3))
	r.has("skip", "")
	r.has("dir000/skip", "")
	r.has("dir001/skip", r.dst)
	r.has("dir002/skip", r.dst) // though the source has none
	r.has("dir002/dir001/only/skip", r.dst)
	r.has("dir002/dir000/skip", r.src)
}

// With an owner only directories of that user are excluded.
func TestExcludedByOwner(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.put(r.src, "dir000/skip", "dir001/skip", "dir002/dir000/theirs/skip", "dir002/dir000/ours/skip")
	const nobody = 65534
	r.must(os.Chown(r.path("dir001/skip"), nobody, nobody), os.Chown(r.path("dir002/dir000/theirs/skip"), nobody, nobody))
	change := excluding("/skip(/.*|$)", below, func(c *Config) { c.Base.ExcludeUser = "nobody" })
	r.finish(r.source(1, change), r.slave(2, change), r.destination(3))
	r.has("dir000/skip", r.src)
	r.has("dir001/skip", "")
	r.has("dir002/dir000/ours/skip", r.src)
	r.has("dir002/dir000/theirs/skip", "")
}

// --exclude-below extends the pattern to everything, names that mean something
// to rsync included, and protects the name where only the destination has it.
func TestExcludeBelow(t *testing.T) {
	for _, name := range []string{"skip", "s*k[i]p?", `a\b`, `a\*b`, "with space", "-#;", "new\nline"} {
		t.Run(strings.ReplaceAll(name, "\n", "_"), func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.put(r.src, name, "dir000/"+name, "dir000/dir000/"+name, "dir000/dir000/deep/"+name, "dir001/dir001/sXk[i]pX", "dir001/dir001/ab", "dir001/dir001/kept")
			r.put(r.dst, "dir000/dir000/"+name, "dir001/dir001/kept/"+name, "dir001/"+name, "dir001/dir001/other")
			change := excluding("/"+regexp.QuoteMeta(name)+"(/.*|$)", below)
			r.finish(r.source(1, change), r.slave(2, change), r.destination(3))
			for _, left := range []string{name, "dir000/" + name, "dir000/dir000/deep/" + name} {
				r.has(left, "")
			}
			for _, kept := range []string{"dir000/dir000/" + name, "dir001/dir001/kept/" + name, "dir001/" + name} {
				r.has(kept, r.dst)
			}
			for _, sent := range []string{"dir001/dir001/sXk[i]pX", "dir001/dir001/ab", "dir001/dir001/kept"} {
				r.has(sent, r.src)
			}
			r.has("dir001/dir001/other", "")
			if strings.Contains(r.log.String(), "event=unprotected") {
				t.Error("a needless warning")
			}
		})
	}
}

// Another form of pattern says nothing of what only the destination has.
func TestExcludeBelowWarns(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.put(r.src, "dir000/dir000/skip")
	r.put(r.dst, "dir000/dir001/skip")
	r.copied()
	change := excluding("/sk.p$", below)
	master := r.queued(change)
	r.logged("event=unprotected")
	r.finish(r.source(2, change), r.destination(3), master)
	r.has("dir000/dir000/skip", r.src) // copied before, and left as it is
	r.has("dir000/dir001/skip", "")
	if n := strings.Count(r.log.String(), "event=unprotected"); n != 2 {
		t.Errorf("warned %d times, want once by each source", n)
	}

	r.log.reset()
	harmless := func(c *Config) { change(c); c.Rsync.Delete = false }
	r.finish(r.source(1, harmless), r.slave(2, harmless), r.destination(3))
	if strings.Contains(r.log.String(), "event=unprotected") {
		t.Error("warned where nothing is deleted")
	}
}

// What lies in an excluded directory below the depth is not brought in by the pass for hard links.
func TestHardLinksInExcludedDirectory(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.must(
		os.Mkdir(r.path("dir000/dir000/skip"), 0o755),
		os.Link(r.path("dir000/file000"), r.path("dir000/dir000/skip/link")),
		os.Link(r.path("dir000/file000"), r.path("dir001/link")),
	)
	r.age("dir000/dir000", "dir001")
	change := excluding("/skip$", below, hardLinks)
	r.finish(r.source(1, change), r.slave(2, change), r.destination(3))
	if _, err := os.Lstat(filepath.Join(r.dst, "dir000/dir000/skip")); !os.IsNotExist(err) {
		t.Errorf("the excluded directory is at the destination (%v)", err)
	}
	r.must(os.RemoveAll(r.path("dir000/dir000/skip")))
	r.age("dir000/dir000")
	r.identical()
}
