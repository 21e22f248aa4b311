// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

// extra makes things at the destination that the source has not: 7 names each.
func (r *rig) extra(dirs ...string) {
	r.t.Helper()
	for _, dir := range dirs {
		top := filepath.Join(r.dst, dir, "extra")
		r.must(os.MkdirAll(filepath.Join(top, "a/b"), 0o755))
		for i := range 4 {
			r.must(os.WriteFile(filepath.Join(top, "a/b", strconv.Itoa(i)), nil, 0o644))
		}
	}
	r.age(dirs...)
}

// empty moves away all that is in the source.
func (r *rig) empty() {
	r.t.Helper()
	entries, err := os.ReadDir(r.src)
	r.must(err, os.Mkdir(r.src+".away", 0o755))
	for _, e := range entries {
		r.must(os.Rename(r.path(e.Name()), filepath.Join(r.src+".away", e.Name())))
	}
}

// names counts what is below the destination.
func (r *rig) names() int {
	r.t.Helper()
	n := 0
	r.must(filepath.WalkDir(r.dst, func(string, fs.DirEntry, error) error { n++; return nil }))
	return n
}

// Deletions are right at each level, shallow entries included.
func TestDeletesAtEveryLevel(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.copied()
	r.extra("", "dir001", "dir001/dir000")
	r.finish(r.source(1, deleting), r.slave(2, deleting), r.slave(3, deleting), r.destination(4), r.destination(5))
	r.identical()
	r.logged("0 failed, 0 vanished, 0 changed, 0 unfinished")
}

// maxDelete is --delete with a limit.
func maxDelete(n int) func(*Config) {
	return func(c *Config) { c.Rsync.Delete, c.MaxDelete = true, n }
}

// All slaves together delete as much as they are allowed to, and no more.
func TestMaxDelete(t *testing.T) {
	for limit, enough := range map[int]bool{0: false, 1: false, 20: false, 41: false, 42: true, 1000: true} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.copied()
			r.extra("", "dir000", "dir001", "dir002", "dir000/dir000", "dir002/dir001") // 42 names
			before := r.names()
			report := filepath.Join(t.TempDir(), "report")
			max := maxDelete(limit)
			master := r.source(1, max, func(c *Config) { c.Leader.Report = report })
			slaves := []*running{r.slave(2, max), r.slave(3, max)}
			dests := []*running{r.destination(4), r.destination(5)}
			err := r.wait(master)
			r.finish(append(slaves, dests...)...)
			deleted := before - r.names()
			if want := min(limit, 42); deleted != want {
				t.Errorf("%d deleted, want %d; log:\n%s", deleted, want, r.log)
			}
			lines := r.reported(report)
			if total := lines[len(lines)-1]; total.Deleted != deleted || total.Exhausted == enough {
				t.Errorf("the report says %d deleted, exhausted %v; %d were deleted", total.Deleted, total.Exhausted, deleted)
			}
			if enough {
				if err != nil {
					t.Error(err)
				}
				r.identical()
			} else if !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "--max-delete") {
				t.Errorf("error %v, want wire.ErrIncomplete that names --max-delete", err)
			}
			r.left()
		})
	}
}

// A slave that dies in a run has spent its share.
func TestMaxDeleteOfSlaveThatDies(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{1}, Files: 1, Size: 600_000})
	r.must(os.MkdirAll(filepath.Join(r.dst, "dir000/extra/a/b/c/d/e"), 0o755))
	r.age("dir000")
	depth0 := func(c *Config) { c.Leader.Depth = 0 }
	master := r.queued(maxDelete(16), depth0)
	dest := r.destination(3)
	slave := r.source(2, maxDelete(16), slow)
	r.waitFor("is sending path")
	r.until("the share is taken", func() bool {
		data, stat, err := r.zk().Get(t.Context(), r.tree().Deletes())
		return err == nil && string(data) == "14" && stat.NumChildren == 1
	})
	slave.stop(errStopped)
	if err := r.wait(slave); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if data, stat, err := r.zk().Get(t.Context(), r.tree().Deletes()); string(data) != "14" || stat.NumChildren != 0 || err != nil {
		t.Errorf("%s deletions are left and %d shares out (%v), want 14 and none", data, stat.NumChildren, err)
	}
	r.finish(r.source(4, maxDelete(16)), master, dest)
	r.identical()
}

// A destination that goes in a run, or whose daemon does, may have deleted all that the run was allowed to.
func TestMaxDeleteOfDestinationThatGoes(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"silent": syscall.SIGSTOP, "daemon": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(testtree.TreeOptions{Fanout: []int{1}, Files: 1, Size: 600_000})
			r.must(os.MkdirAll(filepath.Join(r.dst, "extra/a/b/c/d/e"), 0o755))
			change := func(c *Config) { c.Leader.Depth = 0 }
			master := r.queued(maxDelete(16), change)
			dest := r.destination(3)
			slave := r.source(2, maxDelete(16), change, slow)
			left := func(run int) (data string) { // while that run is at work
				r.until("the share is taken", func() bool {
					found, stat, err := r.zk().Get(t.Context(), r.tree().Deletes())
					data = string(found)
					return err == nil && stat.NumChildren == 1 && r.sent("") == run
				})
				return data
			}
			if n := left(1); n != "14" {
				t.Fatalf("%s deletions are left, want 14", n)
			}
			r.until("the file is on its way", func() bool {
				found, err := filepath.Glob(filepath.Join(r.dst, "dir000/.file000.*"))
				return err == nil && len(found) > 0
			})
			r.signal(r.daemons(), signal)
			others := []*running{dest}
			if signal == syscall.SIGSTOP {
				r.must(r.zk().Delete(t.Context(), r.tree().PortMap(dest127(3))))
				others = []*running{r.destination(4)}
			}
			if n := left(2); n != "12" {
				t.Errorf("%s deletions are left, want 12", n)
			}
			slave.stop(errStopped) // it is slow
			if err := r.wait(slave); !errors.Is(err, errStopped) {
				t.Fatal(err)
			}
			r.finish(append(others, r.source(5, maxDelete(16), change), master)...)
		})
	}
}

// A run that finds nothing left waits for what another one may put back, and no
// longer than that.
func TestMaxDeleteWaitsForShares(t *testing.T) {
	for back, want := range map[string]error{"1": nil, "0": wire.ErrIncomplete} {
		t.Run(back, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(testtree.TreeOptions{Files: 1, Size: 10})
			r.must(os.Mkdir(filepath.Join(r.dst, "extra"), 0o755))
			r.age()
			master := r.queued(maxDelete(1))
			zk, share := r.zk(), r.tree().Deletes()+"/share-OTHER"
			_, err := zk.Set(t.Context(), r.tree().Deletes(), []byte("0"), -1)
			r.must(err)
			_, err = zk.Create(t.Context(), share, []byte("1"), zkclient.Ephemeral)
			r.must(err)
			slave, dest := r.source(2, maxDelete(1)), r.destination(3)
			r.waitFor("is sending path")
			time.Sleep(time.Second)
			if n := r.sent(""); n != 1 || strings.Contains(r.log.String(), "Completed Path") {
				t.Errorf("%d runs, want one that waits:\n%s", n, r.log)
			}
			_, err = zk.Set(t.Context(), r.tree().Deletes(), []byte(back), -1)
			r.must(err, zk.Delete(t.Context(), share))
			if err := r.wait(master); !errors.Is(err, want) {
				t.Errorf("error %v, want %v", err, want)
			}
			r.finish(slave, dest)
			if want == nil {
				r.identical()
			}
		})
	}
}

// The sentinel tells the right file system from an empty mount point.
func TestSentinel(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	sentinel := func(c *Config) { c.Base.Sentinel = ".mounted" }
	for name, role := range map[string]*running{r.src: r.source(1, sentinel), r.dst: r.destination(1, sentinel)} {
		if err := r.wait(role); err == nil || !strings.Contains(err.Error(), "--sentinel") || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one that names --sentinel and %s", err, name)
		}
	}
	r.must(os.WriteFile(r.path(".mounted"), nil, 0o644))
	r.age(".mounted")
	r.copied()
	r.extra("dir001")
	master := r.queued(deleting, sentinel)
	slave := r.source(2, deleting, sentinel)
	r.waitFor("event=no-destination")

	// Away at the source: nothing runs.
	r.must(os.Rename(r.path(".mounted"), r.src+".sentinel"))
	dest := r.destination(3, sentinel)
	r.waitFor("event=base-away")
	if n := r.sent(""); n != 0 {
		t.Errorf("%d paths sent without the sentinel", n)
	}
	// Away at the destination too, and back at the source.
	r.must(os.Rename(filepath.Join(r.dst, ".mounted"), r.dst+".sentinel"))
	r.waitFor("was paused")
	r.must(os.Rename(r.src+".sentinel", r.path(".mounted")))
	r.age()
	r.until("the destination is disabled", func() bool {
		data, _, err := r.zk().Get(t.Context(), r.tree().Dest(dest127(3)))
		return err == nil && string(data) == wire.Disabled
	})
	if n := r.sent(""); n != 0 {
		t.Errorf("%d paths sent to a destination without the sentinel", n)
	}
	if _, err := os.Stat(filepath.Join(r.dst, "dir001/extra")); err != nil {
		t.Error(err)
	}
	r.must(os.Rename(r.dst+".sentinel", filepath.Join(r.dst, ".mounted")))
	r.finish(slave, dest, master)
	r.identical()
}

// Where something else is mounted than at the start, nothing is deleted.
func TestAnotherMountOverDirectory(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.copied()
	master := r.queued(deleting)
	slave := r.source(2, deleting)
	r.waitFor("event=no-destination")
	for _, name := range []string{"dir001/dir000", "dir002"} { // recursive, shallow
		r.mountOver(name, "tmpfs")
	}
	dest := r.destination(3)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "failed") {
		t.Errorf("error %v, want wire.ErrIncomplete with failed paths", err)
	}
	r.finish(slave, dest)
	for _, name := range []string{"dir001/dir000/file000", "dir002/file000", "dir002/dir001/file001"} {
		if _, err := os.Stat(filepath.Join(r.dst, name)); err != nil {
			t.Errorf("deleted: %v; log:\n%s", err, r.log)
		}
	}
	r.logged("Failed Path 1_"+r.path("dir001/dir000"), "Failed Path 0_"+r.path("dir002"), "now it is on none (tmpfs) mounted at "+r.path("dir002"))
}

// mountOver mounts an empty file system over a directory of the source.
func (r *rig) mountOver(name, fstype string) {
	r.t.Helper()
	at := r.path(name)
	if err := syscall.Mount("none", at, fstype, 0, ""); err != nil {
		r.t.Fatalf("cannot mount (these tests need root): %v", err)
	}
	r.t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			r.t.Error(err)
		}
	})
}

// What is newly mounted somewhere below a path is neither sent nor deleted; all else of the path is.
func TestNewMountBelowDirectory(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.put(r.src, "dir001/dir000/deep/er")
	r.copied()
	r.extra("dir001/dir000", "dir001/dir000/deep")
	r.must(os.WriteFile(r.path("dir001/dir000/later"), nil, 0o644))
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(deleting, func(c *Config) { c.Leader.Report = report })
	slave := r.source(2, deleting)
	r.waitFor("event=no-destination")
	r.mountOver("dir001/dir000/deep", "tmpfs")
	r.must(os.WriteFile(r.path("dir001/dir000/deep/mounted"), nil, 0o644))
	r.finish(r.destination(3), slave, master)
	r.has("dir001/dir000/deep/er", r.src)
	for name, want := range map[string]bool{
		"dir001/dir000/deep/er": true, "dir001/dir000/deep/extra": true, "dir001/dir000/extra": false,
		"dir001/dir000/later": true, "dir001/dir000/deep/mounted": false,
	} {
		if _, err := os.Stat(filepath.Join(r.dst, name)); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", name, err, want)
		}
	}
	if n := strings.Count(r.log.String(), "event=kept-back"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, r.log)
	}
	r.kept(report, "1_"+r.path("dir001/dir000"), "completed")
	r.logged("10 completed, 0 failed")
}

// kept fails the test unless the report says of a path how it ended, and what was kept back; of no other path it says that.
func (r *rig) kept(report, path, outcome string) {
	r.t.Helper()
	for _, line := range r.reported(report) {
		kept := strings.Contains(strings.Join(line.Errors, "\n"), "is neither sent nor deleted")
		if string(line.Path) == path && (line.Outcome != outcome || !kept) || string(line.Path) != path && kept {
			r.t.Errorf("the report says %+v", line)
		}
	}
}

// What was mounted below a path and is so no more is kept at the destination. All else of the path is sent, but the path counts as
// failed: not all of it has arrived.
func TestMountBelowDirectoryGoesAway(t *testing.T) {
	for name, change := range map[string]func(*Config){"delete": deleting, "keep": func(*Config) {}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.put(r.src, "dir001/dir000/deep", "dir002/dir000/back")
			for _, at := range []string{"dir001/dir000/deep", "dir002/dir000/back"} {
				r.put(r.src, "../fs/"+at+"/er")
				r.must(syscall.Mount(r.path("../fs/"+at), r.path(at), "", syscall.MS_BIND, ""))
				t.Cleanup(func() { syscall.Unmount(r.path(at), syscall.MNT_DETACH) })
			}
			r.copied()
			r.must(os.WriteFile(r.path("dir001/dir000/later"), nil, 0o644))
			report := filepath.Join(t.TempDir(), "report")
			master := r.queued(change, func(c *Config) { c.Leader.Report = report })
			slave := r.source(2, change)
			r.waitFor("event=no-destination")
			for _, at := range []string{"dir001/dir000/deep", "dir002/dir000/back"} {
				r.must(syscall.Unmount(r.path(at), 0))
			}
			r.must(syscall.Mount(r.path("../fs/dir002/dir000/back"), r.path("dir002/dir000/back"), "", syscall.MS_BIND, "")) // is as before
			dest := r.destination(3)
			if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "1 failed") {
				t.Errorf("error %v, want wire.ErrIncomplete with 1 failed", err)
			}
			r.finish(slave, dest)
			for _, name := range []string{"dir001/dir000/deep/er", "dir001/dir000/later", "dir002/dir000/back/er"} {
				if _, err := os.Stat(filepath.Join(r.dst, name)); err != nil {
					t.Error(err)
				}
			}
			r.kept(report, "1_"+r.path("dir001/dir000"), "failed")
		})
	}
}

// A mount that changes while rsync runs cannot be kept from deleting, but the path
// does not count as done.
func TestAnotherMountDuringRun(t *testing.T) {
	for name, kind := range map[string]string{"dir002": "0_", "dir001/dir000": "1_"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.copied()
			mount := r.when("is sending path "+r.path(name)+" ", func() { r.mountOver(name, "tmpfs") })
			master := r.queued(deleting)
			slave, dest := r.source(2, deleting, mount), r.destination(3)
			if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "failed") {
				t.Errorf("error %v, want wire.ErrIncomplete with failed paths", err)
			}
			r.finish(slave, dest)
			r.logged("Failed Path "+kind+r.path(name)+`"`, "now it is on none (tmpfs) mounted at "+r.path(name))
			if n := r.sent(name); n != 1 {
				t.Errorf("sent %d times, want only the one time before it was seen", n)
			}
			if strings.Contains(r.log.String(), "Completed Path "+kind+r.path(name)+`"`) {
				t.Errorf("it counts as done; log:\n%s", r.log)
			}
		})
	}
}

// --dryrun with --delete shows what would go, and nothing goes.
func TestDryRunShowsDeletes(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.copied()
	r.extra("dir001", "dir002/dir001")
	r.must(os.WriteFile(filepath.Join(r.dst, "odd\nname"), nil, 0o644))
	r.age()
	before := r.names()
	out := &logBuffer{}
	dry := func(c *Config) { c.Rsync.Delete, c.Rsync.DryRun, c.Stdout = true, true, out }
	r.finish(r.source(1, dry), r.slave(2, dry), r.destination(3))
	for _, name := range []string{"dir001/extra/a/b/3", "dir001/extra/", "dir002/dir001/extra/a/", strconv.Quote("odd\nname")} {
		if line := fmt.Sprintf("*deleting %s\n", name); strings.Count(out.String(), line) != 1 {
			t.Errorf("not said once: %q; all:\n%s", line, out)
		}
	}
	if n := r.names(); n != before {
		t.Errorf("%d names at the destination, there were %d", n, before)
	}
}

// A master whose source becomes empty during its first walk must not go on.
func TestSourceThatIsEmptyAfterTheWalk(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.copied()
	empty := r.when("pathlist of path ", r.empty)
	if err := r.wait(r.source(1, deleting, empty)); err == nil || !strings.Contains(err.Error(), "--allow-empty") {
		t.Errorf("error %v, want one that names --allow-empty", err)
	}
	r.left()
}

// With --allow-empty it does.
func TestSourceThatMayBeEmpty(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.copied()
	allow := func(c *Config) { c.Base.AllowEmpty = true }
	master := r.queued(deleting, allow)
	r.empty()
	r.age()
	begin := time.Now()
	r.finish(r.source(2, deleting, allow), r.destination(3), master)
	r.identical()
	if took := time.Since(begin); took > 60*time.Second {
		t.Errorf("took %v", took)
	}
}

// What was deleted for a path that its slave gives back is in the report's total.
func TestDeletionsOfAPathGivenBack(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{1, 1}, Files: 1, Size: 100})
	r.age("dir000", "dir000/dir000")
	readOnly := filepath.Join(r.dst, "dir000/dir000")
	for _, name := range []string{"stale1", "stale2", "stale3", "dir000"} {
		r.must(os.MkdirAll(filepath.Join(r.dst, "dir000", name), 0o755))
	}
	r.must(syscall.Mount("tmpfs", readOnly, "tmpfs", syscall.MS_RDONLY, ""))
	mounted := true
	unmount := func() {
		if mounted {
			r.must(syscall.Unmount(readOnly, syscall.MNT_DETACH))
		}
		mounted = false
	}
	defer unmount()
	report := filepath.Join(t.TempDir(), "report")
	change := func(c *Config) { deleting(c); oneByOne(c); c.Leader.Depth = 1; c.Member.Timing.Retry = time.Second }
	master := r.queued(change, func(c *Config) { c.Leader.Report = report })
	dest := r.destination(3)
	slave := r.source(2, change)
	r.waitFor("rsync of path 1_" + r.path("dir000"))
	away := r.src + ".away" // before the second attempt
	r.must(os.Rename(r.src, away))
	r.waitFor("event=base-away")
	slave.stop(errStopped)
	if err := r.wait(slave); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	unmount()
	r.must(os.Rename(away, r.src))
	r.finish(r.source(4, change), dest, master)
	r.identical()
	lines := r.reported(report)
	if total := lines[len(lines)-1]; total.Deleted != 3 {
		t.Errorf("%d deletions in the report, want the 3 of the first attempt", total.Deleted)
	}
}

// A link in the place of a directory is in nobody's way in a session that only looks.
func TestLinkInTheWayOfALook(t *testing.T) {
	for name, look := range map[string]func(*Config){
		"dryrun": func(c *Config) { c.Rsync.Delete, c.Rsync.DryRun, c.Rsync.Extra = true, true, []string{"fuzzy"} },
		"verify": func(c *Config) { c.Rsync.Delete, c.Rsync.Verify, c.Rsync.Extra = true, true, []string{"fuzzy"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.copied()
			r.must(os.RemoveAll(filepath.Join(r.dst, "dir001/dir000")), os.Symlink("../dir002", filepath.Join(r.dst, "dir001/dir000")))
			r.rest()
			master := r.queued(look)
			slave, dest := r.source(2, look), r.destination(3)
			if err := r.wait(master); err != nil && !errors.Is(err, wire.ErrIncomplete) {
				t.Error(err)
			}
			r.finish(slave, dest)
			r.logged(" failed=0 vanished=0 changed=0 unfinished=0 ")
		})
	}
}
