// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
)

// lister writes a list of changes.
func (r *rig) lister(separator string, names ...string) func(*Config) {
	r.t.Helper()
	list := filepath.Join(r.t.TempDir(), "list")
	r.must(os.WriteFile(list, []byte(strings.Join(names, separator)+separator), 0o644))
	return func(c *Config) { c.Leader.Changed = list }
}

// What is listed is made as in the source, and nothing else is.
func TestChanged(t *testing.T) {
	for name, c := range map[string]struct {
		separator string
		change    func(*Config)
		deletes   bool
	}{
		"delete":     {"\n", deleting, true},
		"keep":       {"\x00", func(*Config) {}, false},
		"many tasks": {"\n", func(c *Config) { deleting(c); oneByOne(c) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(testtree.TreeOptions{Fanout: []int{3, 2}, Files: 4, Size: 100})
			r.copied()
			names := []string{
				"dir000/file000", r.path("dir000/dir000/file001"), "./dir001//dir000/", "new/deep/file", "dir002/link",
				"dir001/file000", "dir001/dir001", "gone/too/file", "gone/too", "gone", "never/was", "dir002/file003", "dir000/now a directory", "",
				"dir000/.snapshots/file",
			}
			r.must(
				os.WriteFile(r.path("dir000/file000"), []byte("new"), 0o644), os.WriteFile(r.path("dir000/dir000/file001"), []byte("newer"), 0o644),
				os.WriteFile(r.path("dir000/file001"), []byte("nobody has listed this"), 0o644),
				os.Chmod(r.path("dir001/dir000"), 0o700), os.MkdirAll(r.path("new/deep"), 0o750), os.WriteFile(r.path("new/deep/file"), []byte("x"), 0o600),
				os.Symlink("../dir000", r.path("dir002/link")), os.Remove(r.path("dir001/file000")), os.RemoveAll(r.path("dir001/dir001")),
				os.MkdirAll(r.dst+"/gone/too", 0o755), os.WriteFile(r.dst+"/gone/too/file", nil, 0o644), os.WriteFile(r.dst+"/not listed", nil, 0o644),
				os.MkdirAll(r.dst+"/dir000/.snapshots", 0o755), os.WriteFile(r.dst+"/dir000/.snapshots/file", nil, 0o644),
				os.MkdirAll(r.path("dir000/now a directory/with"), 0o755), os.WriteFile(r.dst+"/dir000/now a directory", nil, 0o644),
			)
			if name == "many tasks" {
				for i := range 5000 {
					names = append(names, fmt.Sprintf("missing/%0100d", i))
				}
			}
			excluding := func(c *Config) { c.Base.Exclude = regexp.MustCompile(`/\.snapshots(/.*|$)`) }
			master := r.queued(c.change, excluding, r.lister(c.separator, names...))
			r.finish(r.slave(2, c.change, excluding), r.slave(4, c.change, excluding), r.destination(3), master)
			r.logged(" 0 failed, 0 vanished, 0 changed, 0 unfinished")
			for name, want := range map[string]string{
				"dir000/file000": "new", "dir000/dir000/file001": "newer", "new/deep/file": "x", "dir000/.snapshots/file": "", "not listed": "",
			} {
				if got := r.read(filepath.Join(r.dst, name)); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if r.read(filepath.Join(r.dst, "dir000/file001")) == r.read(r.path("dir000/file001")) {
				t.Error("what nobody has listed was sent")
			}
			if info, err := os.Stat(r.dst + "/dir001/dir000"); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the directory is %v, %v", info, err)
			}
			if target, err := os.Readlink(r.dst + "/dir002/link"); target != "../dir000" {
				t.Errorf("the link leads to %q, %v", target, err)
			}
			if info, err := os.Stat(r.dst + "/dir000/now a directory"); err != nil || !info.IsDir() {
				t.Errorf("the file is not replaced: %v, %v", info, err)
			}
			for _, gone := range []string{"dir001/file000", "dir001/dir001", "gone"} {
				if _, err := os.Lstat(filepath.Join(r.dst, gone)); (err != nil) != c.deletes {
					t.Errorf("%s: %v", gone, err)
				}
			}
		})
	}
}

// A file system that has gone has not been deleted.
func TestChangedBelowALostMount(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.put(r.src, "m")
	r.must(syscall.Mount("none", r.path("m"), "tmpfs", 0, ""), os.WriteFile(r.path("m/file"), nil, 0o644))
	r.must(os.Mkdir(r.dst+"/m", 0o755), os.WriteFile(r.dst+"/m/file", nil, 0o644))
	lister := r.lister("\n", "dir000/file000", "m/file")
	master := r.queued(deleting, lister)
	slave := r.slave(2, deleting)
	r.waitFor("event=no-destination")
	r.must(syscall.Unmount(r.path("m"), syscall.MNT_DETACH))
	dest := r.destination(3)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want one that says that not all is done", err)
	}
	r.finish(slave, dest)
	r.logged(" event=end completed=0 failed=1 vanished=0 changed=0 unfinished=0 ")
	if _, err := os.Lstat(r.dst + "/m/file"); err != nil {
		t.Errorf("it was deleted: %v", err)
	}
	if _, err := os.Lstat(r.dst + "/dir000/file000"); err != nil {
		t.Errorf("the rest was not sent: %v", err)
	}
}
