// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

// mounted makes the source's base a mount of the tree that is there, and gives functions that take it away and mount it again.
func (r *rig) mounted() (away, back func()) {
	r.t.Helper()
	fs := r.src + ".fs"
	r.must(os.Rename(r.src, fs), os.Mkdir(r.src, 0o755))
	back = func() { r.must(syscall.Mount(fs, r.src, "", syscall.MS_BIND, "")) }
	away = func() { r.must(syscall.Unmount(r.src, syscall.MNT_DETACH)) } // under the hands of those who read it
	back()
	r.t.Cleanup(func() { syscall.Unmount(r.src, syscall.MNT_DETACH) })
	return away, back
}

// said counts the messages about an event.
func (r *rig) said(event string) int { return strings.Count(r.log.String(), "event="+event+" ") }

// A source whose file system is away waits, with and without --delete; no path fails by it. It goes on when the file system is
// back, though its mount is another one.
func TestSourceMountedAgain(t *testing.T) {
	for name, change := range map[string]func(*Config){"delete": deleting, "keep": func(*Config) {}} {
		for when, text := range map[string]string{"before": "event=no-destination", "during": "is sending path "} {
			t.Run(name+", "+when, func(t *testing.T) {
				r := newRig(t)
				r.makeTree(smallTree)
				away, back := r.mounted()
				if name == "delete" {
					r.copied()
				}
				report := filepath.Join(t.TempDir(), "report")
				master := r.queued(change, func(c *Config) { c.Leader.Report = report })
				r.log.reset()
				slave := r.source(2, change, r.when(text, away), func(c *Config) { c.Worker.Jobs = 1; c.Jobs = 3 })
				if when == "before" {
					r.waitFor(text)
				}
				dest := r.destination(3)
				r.until("the source waits", func() bool { return r.said("base-away") > 0 })
				if r.said("base-away") > 2 { // once each, by the slave and the master
					t.Errorf("said several times:\n%s", r.log)
				}
				back()
				r.finish(slave, dest, master)
				r.identical()
				if r.said("base-back") == 0 || strings.Contains(r.log.String(), "level=ERROR") {
					t.Errorf("nobody says that it is back, or there was an error:\n%s", r.log)
				}
				r.logged("0 failed, 0 vanished, 0 changed, 0 unfinished")
				r.reported(report)
			})
		}
	}
}

// A run that has begun when the file system goes away deletes nothing: rsync does not take the empty mount point for the source.
func TestSourceGoesAwayUnderARunThatDeletes(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	away, back := r.mounted()
	r.copied()
	list := filepath.Join(t.TempDir(), "list")
	r.must(os.WriteFile(list, []byte("0_"+r.src+"\n"), 0o644)) // one run, which compares what is directly in the base
	master := r.queued(deleting, func(c *Config) { c.Leader.PathsFrom = list })
	slave := r.source(2, deleting, r.debugging, r.when("running [", away))
	dest := r.destination(3)
	r.until("the source waits", func() bool { return r.said("base-away") > 0 })
	if _, err := os.Lstat(r.dst + "/dir000/dir000/file000"); err != nil {
		t.Errorf("something was deleted: %v", err)
	}
	back()
	r.finish(slave, dest, master)
}

// What is on the mount point instead is another file system, also if it has files.
func TestAnotherFileSystemAtTheBase(t *testing.T) {
	for name, change := range map[string]func(*Config){"delete": deleting, "keep": func(*Config) {}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.copied()
			master := r.queued(change)
			slave := r.source(2, change)
			r.waitFor("event=no-destination")
			r.must(syscall.Mount("other", r.src, "tmpfs", 0, ""), os.WriteFile(r.path("other"), nil, 0o644))
			mounted := true
			defer func() {
				if mounted {
					syscall.Unmount(r.src, syscall.MNT_DETACH)
				}
			}()
			dest := r.destination(3)
			r.waitFor("event=base-away")
			r.logged("now it is on other (tmpfs) mounted at " + r.src)
			r.must(syscall.Unmount(r.src, 0))
			mounted = false
			r.finish(slave, dest, master)
			r.identical()
			if _, err := os.Stat(filepath.Join(r.dst, "other")); err == nil {
				t.Error("a file of the other file system has arrived")
			}
			r.logged("0 failed, 0 vanished, 0 changed, 0 unfinished")
		})
	}
}

// A walk over which the file system was away has not seen everything: there is another.
func TestWalkWithoutTheFileSystem(t *testing.T) {
	for _, where := range []string{"first", "later"} {
		t.Run(where, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			away, back := r.mounted()
			change := func(*Config) {}
			if where == "first" {
				change = r.when("contains 10 entries", away)
			}
			master := r.source(1, change)
			slave, dest := r.slave(2), r.destination(3)
			if where == "later" {
				r.until("some paths are done", func() bool { return strings.Contains(r.log.String(), "Completed Path") })
				away()
			}
			r.until("somebody waits", func() bool { return r.said("base-away") > 0 })
			dir, old := r.src+".fs/dir000", time.Unix(1500000000, 123)
			r.must(os.Mkdir(dir+"/new", 0o755), os.WriteFile(dir+"/new/file", nil, 0o644), os.Chtimes(dir+"/new", old, old), os.Chtimes(dir, old, old))
			back()
			r.finish(slave, dest, master)
			r.identical()
		})
	}
}

// end is what a worker does that ends a path, here without having worked on it.
func (r *rig) end(path string, o wire.Outcome) {
	r.t.Helper()
	queue := r.zk().Queue(r.tree().PathQueue())
	var others []*zkclient.Entry
	for {
		entry, err := queue.Take(r.t.Context())
		r.must(err)
		if string(entry.Value) == path {
			result := wire.Result{Paths: []wire.Text{wire.Text(path)}, Outcome: o, Who: "127.0.0.9:9", Attempts: 1}
			r.must(entry.Consume(r.t.Context(), zkclient.OpCreate(r.tree().Results()+"/result-", result.Encode(), zkclient.Sequential)))
			break
		}
		others = append(others, entry)
	}
	for _, entry := range others {
		r.must(entry.Release(r.t.Context()))
	}
}

// Nobody believes a source that says a path is gone which the master sees.
func TestPathThatOneSourceDoesNotSee(t *testing.T) {
	for name, change := range map[string]func(*rig, *Config){
		"walk": func(*rig, *Config) {},
		"paths-from": func(r *rig, c *Config) {
			c.Leader.PathsFrom = filepath.Join(r.t.TempDir(), "list")
			r.must(os.WriteFile(c.Leader.PathsFrom, []byte("1_"+r.path("dir000")+"\n1_"+r.path("dir001/dir000")+"\n"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			report := filepath.Join(t.TempDir(), "report")
			master := r.queued(func(c *Config) { change(r, c); c.Leader.Report = report })
			path := "1_" + r.path("dir001/dir000")
			r.end(path, wire.Vanished)
			r.until("it is queued again", func() bool { return r.said("not-believed") == 1 })
			r.end(path, wire.Changed)
			r.until("it is queued again", func() bool { return r.said("not-believed") == 2 })
			r.finish(r.source(2), r.destination(3), master)
			if _, err := os.Stat(filepath.Join(r.dst, "dir001/dir000/file000")); err != nil {
				t.Error(err)
			}
			r.logged("0 failed, 0 vanished, 0 changed, 0 unfinished")
			r.reported(report)
		})
	}
}

// There is an end to that.
func TestPathThatNoSourceSees(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	dir := t.TempDir()
	report, failed := filepath.Join(dir, "report"), filepath.Join(dir, "failed")
	master := r.queued(func(c *Config) { c.Leader.Report, c.Leader.Failed = report, failed })
	path := "1_" + r.path("dir001/dir000")
	for i := range 3 {
		r.until("it is queued", func() bool { return r.said("not-believed") == i })
		r.end(path, wire.Vanished)
	}
	slave, dest := r.source(2), r.destination(3)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "1 failed") {
		t.Errorf("error %v, want wire.ErrIncomplete with 1 failed", err)
	}
	r.finish(slave, dest)
	r.logged("Failed Path "+path, "the master sees it")
	if got := r.read(failed); got != path+"\n" {
		t.Errorf("--failed has %q", got)
	}
	r.reported(report)
}

// A master that sees nothing itself waits with its judgement.
func TestMasterThatCannotJudge(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{3}, Files: 2, Size: 100})
	away, back := r.mounted()
	master := r.queued()
	away()
	r.end("0_"+r.path("dir001"), wire.Vanished)
	slave, dest := r.source(2), r.destination(3)
	r.until("the slave waits, and the master", func() bool { return r.said("base-away") == 2 })
	if names, err := r.zk().Children(t.Context(), r.tree().Results()); err != nil || len(names) != 1 {
		t.Errorf("%d results (%v), want the one that waits", len(names), err)
	}
	back()
	r.finish(slave, dest, master)
	r.identical()
	r.logged("0 failed, 0 vanished, 0 changed, 0 unfinished")
}
