// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A directory that becomes a symbolic link before the pass for hard links is not followed there either.
func TestHardLinkBelowSwappedDirectory(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.must(
		os.Link(r.path("dir000/dir000/file000"), r.path("dir001/link")),
		os.Link(r.path("dir000/dir000/file000"), r.path("dir002/link")),
	)
	r.age("dir001", "dir002")
	outside := t.TempDir()
	r.must(os.WriteFile(filepath.Join(outside, "link"), []byte("secret"), 0o600))
	swap := r.when("event=linking", func() {
		r.must(os.Rename(r.path("dir001"), r.src+".away"), os.Symlink(outside, r.path("dir001")))
	})
	master := r.queued(hardLinks, swap)
	r.finish(r.source(2, hardLinks), r.destination(3), master)
	if got := r.read(filepath.Join(r.dst, "dir001/link")); got == "secret" {
		t.Error("the link was followed")
	}
	one, err := os.Stat(filepath.Join(r.dst, "dir000/dir000/file000"))
	two, err2 := os.Stat(filepath.Join(r.dst, "dir002/link"))
	if r.must(err, err2); !os.SameFile(one, two) {
		t.Error("the names that are still there are not linked")
	}
}

// A name over which something is mounted by then is left out; the others are linked.
func TestLinkBelowANewMount(t *testing.T) {
	r := newRig(t)
	r.put(r.src, "a", "b", "c")
	r.must(os.Link(r.path("a/file"), r.path("b/link")), os.Link(r.path("a/file"), r.path("c/link")))
	r.rest()
	both := func(c *Config) { deleting(c); hardLinks(c); c.Worker.Batch = 1 }
	master := r.queued(both, depth1, r.when("event=linking", func() { r.mountOver("c", "tmpfs") }))
	r.finish(r.source(2, both), r.destination(3), master)
	r.logged("0 failed, 0 vanished, 0 changed, 0 unfinished")
	var names [2]syscall.Stat_t
	for i, name := range []string{"a/file", "b/link"} {
		r.must(syscall.Lstat(filepath.Join(r.dst, name), &names[i]))
	}
	if names[0].Ino != names[1].Ino {
		t.Error("the others are not linked")
	}
}
