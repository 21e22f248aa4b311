// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vsc-zk/internal/testtree"
)

// debugging is for tests that go by what only developers want to read.
func (r *rig) debugging(c *Config) {
	c.Member.Logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A directory above a path that somebody swaps for a link when rsync has been started is not followed: where others
// than root may do that, rsync gets a list, of which it follows no component.
func TestDirectorySwappedUnderRsync(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	const other = 12345
	r.must(os.Chown(r.src, other, 0)) // who may rename what is in it
	outside := filepath.Join(t.TempDir(), "outside")
	r.must(testtree.MakeTree(outside, smallTree), os.WriteFile(filepath.Join(outside, "dir000/secret"), []byte("x"), 0o600))
	list := filepath.Join(t.TempDir(), "list")
	r.must(os.WriteFile(list, []byte("1_"+r.path("dir001/dir000")+"\n"), 0o644))
	master := r.queued(func(c *Config) { c.Leader.PathsFrom = list })
	swap := r.when("running [", func() {
		r.must(os.Rename(r.path("dir001"), r.src+".away"), os.Symlink(outside, r.path("dir001")), os.Lchown(r.path("dir001"), other, 0))
	})
	back := r.when("event=rsync-failed", func() {
		r.must(os.Remove(r.path("dir001")), os.Rename(r.src+".away", r.path("dir001")))
	})
	slave := r.source(2, r.debugging, swap, back)
	r.finish(slave, r.destination(3), master)
	if _, err := os.Lstat(filepath.Join(r.dst, "dir001/dir000/secret")); err == nil {
		t.Error("the link was followed")
	}
	r.logged("1 completed, 0 failed", `"--files-from=-`)
}

// Where nobody else can swap a directory the paths are arguments.
func TestPathsAreArguments(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.finish(r.source(1, deleting), r.slave(2, r.debugging, deleting), r.destination(3))
	if r.logged(`"--relative`); strings.Contains(r.log.String(), `--files-from`) {
		t.Error("some were in a list")
	}
	r.identical()
}
