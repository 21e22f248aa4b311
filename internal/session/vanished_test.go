// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/testtree"
)

// deleting turns --delete on.
func deleting(c *Config) { c.Rsync.Delete = true }

// path is a name below the source.
func (r *rig) path(name string) string { return filepath.Join(r.src, name) }

// must fails the test at once when something it rests on went wrong.
func (r *rig) must(errs ...error) {
	r.t.Helper()
	if err := errors.Join(errs...); err != nil {
		r.t.Fatal(err)
	}
}

// copied makes the destination a copy of the source that needs nothing.
func (r *rig) copied() {
	r.t.Helper()
	r.must(os.CopyFS(r.dst, os.DirFS(r.src)))
}

// rest waits until no directory of the source counts as just changed.
func (r *rig) rest() {
	r.t.Helper()
	time.Sleep(1100 * time.Millisecond)
}

// queued starts a master alone, and waits until the walk is over.
func (r *rig) queued(change ...func(*Config)) *running {
	r.t.Helper()
	master := r.source(1, change...)
	r.waitFor("pathqueue building finished")
	return master
}

// logged fails the test unless the log has each text.
func (r *rig) logged(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.log.String(), text) {
			r.t.Errorf("the log does not say %q:\n%s", text, r.log)
		}
	}
}

// sent counts the runs of rsync on a directory of the source, "" for all.
func (r *rig) sent(name string) int {
	if name == "" {
		return strings.Count(r.log.String(), "is sending path ")
	}
	return strings.Count(r.log.String(), "is sending path "+r.path(name)+" ")
}

// A queued directory that is gone when its turn comes is neither a failure nor
// tried again, and its copy goes, as it would with one rsync.
func TestVanishedDirectory(t *testing.T) {
	for name, change := range map[string]func(*Config){"delete": deleting, "keep": func(*Config) {}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.copied()
			master := r.queued(change)
			r.must(os.RemoveAll(r.path("dir001/dir000")), os.RemoveAll(r.path("dir002")))
			r.age("dir001")
			r.finish(r.source(2, change), r.destination(3), master)
			for _, gone := range []string{"1_" + r.path("dir001/dir000"), "0_" + r.path("dir002"), "1_" + r.path("dir002/dir001")} {
				r.logged("level=WARN msg=\"Vanished Path " + gone)
				if n := strings.Count(r.log.String(), "event=not-there path="+gone+" "); n != 1 {
					t.Errorf("%s was tried %d times, want once", gone, n)
				}
			}
			// The four that vanished and the six others, of which the two above them twice.
			r.logged("Paths: 8 completed, 0 failed, 4 vanished, 0 changed, 0 unfinished")
			if name == "delete" {
				r.identical()
			} else if _, err := os.Stat(filepath.Join(r.dst, "dir002/dir001/file000")); err != nil {
				t.Errorf("deleted without --delete: %v", err)
			}
		})
	}
}

// A directory that has become a symbolic link is not followed; the link arrives.
func TestSwappedDirectory(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	outside := filepath.Join(t.TempDir(), "outside")
	r.must(testtree.MakeTree(outside, smallTree), os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600))
	r.copied()
	master := r.queued(deleting)
	r.must(
		os.RemoveAll(r.path("dir001/dir001")), os.Symlink(outside, r.path("dir001/dir001")), // itself
		os.RemoveAll(r.path("dir002")), os.Symlink(outside, r.path("dir002")), // a component above dir002/dir000
	)
	r.age("dir001")
	r.finish(r.source(2, deleting), r.destination(3), master)
	for _, changed := range []string{"1_" + r.path("dir001/dir001"), "0_" + r.path("dir002"), "1_" + r.path("dir002/dir000")} {
		r.logged("level=WARN msg=\"Changed Path " + changed)
	}
	r.logged("Paths: 8 completed, 0 failed, 0 vanished, 4 changed, 0 unfinished")
	for _, link := range []string{"dir001/dir001", "dir002"} {
		if target, err := os.Readlink(filepath.Join(r.dst, link)); err != nil || target != outside {
			t.Errorf("%s leads to %q (%v), want the link itself", link, target, err)
		}
	}
	r.identical()
}

// A link is sent as itself also where the destination has nothing yet.
func TestSwappedDirectoryIsNew(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	outside := t.TempDir()
	r.must(os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600))
	master := r.queued()
	r.must(os.RemoveAll(r.path("dir000")), os.Symlink(outside, r.path("dir000")))
	r.age()
	r.finish(r.source(2), r.destination(3), master)
	r.logged("3 changed, 0 unfinished")
	r.identical()
}

// Files that vanish while rsync runs are a warning: the path is sent again, and
// then is as it should be.
func TestVanishingFiles(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{1}, Files: 3, Size: 200_000})
	r.age("dir000")
	master := r.queued(deleting)
	slave := r.slave(2, deleting, func(c *Config) { c.Rsync.Extra = []string{"bwlimit:100"} })
	dest := r.destination(3)
	// rsync lists all before it sends the first.
	r.until("the first file is on its way", func() bool {
		found, err := filepath.Glob(filepath.Join(r.dst, ".file000.*"))
		return err == nil && len(found) > 0
	})
	r.must(os.Remove(r.path("file002")))
	r.age()
	r.finish(slave, dest, master)
	r.logged("some source files vanished")
	r.logged("0 failed")
	r.identical()
}

// Files that vanish in every run on a path are no failure either.
func TestFilesVanishInEveryRun(t *testing.T) {
	r := newRig(t)
	big := func(name string) { // anew, so that it is sent again
		data := make([]byte, 150_000)
		for i := range data {
			data[i] = byte(rand.IntN(256))
		}
		r.must(os.WriteFile(r.src+".new", data, 0o644), os.Rename(r.src+".new", r.path(name)))
	}
	r.must(os.MkdirAll(r.path("dir"), 0o755))
	for _, name := range []string{"dir/0", "dir/1"} {
		big(name)
	}
	r.must(os.WriteFile(r.path("dir/victim 0"), nil, 0o644))
	r.age("dir")
	change := func(c *Config) { deleting(c); c.Leader.Depth = 1; c.Rsync.Extra = []string{"bwlimit:200"} }
	master := r.queued(change)
	slave, dest := r.source(2, change), r.destination(3)
	last := "" // temporary file of the run before
	for i := range attempts {
		// rsync lists all before it sends the first.
		r.until("the second file is on its way", func() bool {
			found, err := filepath.Glob(filepath.Join(r.dst, "dir/.1.*"))
			if err != nil || len(found) != 1 || found[0] == last {
				return false
			}
			last = found[0]
			return true
		})
		big("dir/0")
		big("dir/1")
		r.must(os.Remove(r.path(fmt.Sprintf("dir/victim %d", i))), os.WriteFile(r.path(fmt.Sprintf("dir/victim %d", i+1)), nil, 0o644))
		r.age("dir")
	}
	r.finish(slave, dest, master)
	r.logged(`level=WARN msg="Vanished Path 1_` + r.path("dir"))
	if strings.Contains(r.log.String(), "Failed Path") {
		t.Error("a path has failed")
	}
	r.identical()
}
