// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
)

// mountedDst makes the destination's base a mount of its own, of a directory beside it or, with options, a
// tmpfs. It returns what mounts it again.
func (r *rig) mountedDst(tmpfs string) (again func()) {
	r.t.Helper()
	backing := filepath.Join(r.t.TempDir(), "backing")
	r.must(os.Mkdir(backing, 0o755))
	mount := func() {
		r.t.Helper()
		if tmpfs != "" {
			r.must(syscall.Mount("none", r.dst, "tmpfs", 0, tmpfs))
			return
		}
		r.must(syscall.Mount(backing, r.dst, "", syscall.MS_BIND, ""))
	}
	mount()
	r.t.Cleanup(func() { _ = syscall.Unmount(r.dst, syscall.MNT_DETACH) })
	return mount
}

func (r *rig) count(text string) int { return strings.Count(r.log.String(), text) }

// heldBack takes all paths out of the queue, so that the test says when each is free.
func (r *rig) heldBack() (free func(values ...string)) {
	r.t.Helper()
	queue := r.zk().Queue(r.tree().PathQueue())
	n, err := queue.Len(r.t.Context())
	r.must(err)
	release := map[string]func() error{}
	for range n {
		entry, err := queue.Take(r.t.Context())
		r.must(err)
		release[string(entry.Value)] = func() error { return entry.Release(r.t.Context()) }
	}
	return func(values ...string) {
		r.t.Helper()
		if len(values) == 0 { // all
			values = slices.Collect(maps.Keys(release))
		}
		for _, value := range values {
			r.must(release[value]())
		}
	}
}

// results are those that are recorded.
func (r *rig) results() int {
	stat, _, err := r.zk().Exists(r.t.Context(), r.tree().Results())
	r.must(err)
	return int(stat.NumChildren)
}

func rarely(c *Config) { c.Member.Timing.Flush = time.Hour; c.Destination.FlushEach = time.Hour }

// A cleaner of temporary files takes away what the daemon needs for each connection.
func TestDestinationWhoseConfigIsRemoved(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	dir := t.TempDir()
	dest := r.destination(2, func(c *Config) {
		c.Destination.TempDir, c.Member.Timing.SelfTest = dir, 200*time.Millisecond // it is looked at before each connection
	})
	r.waitFor("Added destination")
	find := func() []string {
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		r.must(err)
		return found
	}
	for _, name := range find() {
		r.must(os.RemoveAll(name))
	}
	r.until("the file is back", func() bool { return len(find()) > 0 })
	r.finish(r.source(3), dest, master)
	r.identical()
	if r.count("event=set-aside") > 0 || r.count("was paused") > 0 {
		t.Errorf("log:\n%s", r.log)
	}
	if left := find(); len(left) > 0 {
		t.Errorf("%v left", left)
	}
}

// The destination's file system goes away during the run, and its mount point stays: what was written last may
// lie anywhere, and counts only when it was sent again to the right place.
func TestDestinationIsUnmounted(t *testing.T) {
	r := newRig(t)
	mount := r.mountedDst("")
	r.put(r.src, "a", "b", "c")
	r.rest()
	master := r.queued(depth1)
	free := r.heldBack()
	dest, slave := r.destination(2, rarely), r.source(3)
	free("1_" + r.path("a"))
	r.until("a is sent", func() bool { return r.results() == 1 })
	r.until("it is unmounted", func() bool { return syscall.Unmount(r.dst, 0) == nil }) // a receiver lives a little longer
	r.waitFor("was paused")
	r.waitFor("event=sent-again path=1_" + r.path("a"))
	free("1_"+r.path("b"), "1_"+r.path("c"), "0_"+r.src)
	time.Sleep(300 * time.Millisecond) // nothing goes below the mount point
	if entries, err := os.ReadDir(r.dst); err != nil || len(entries) > 0 {
		t.Errorf("%v below the mount point, %v", entries, err)
	}
	if n := r.count("Completed Path"); n > 0 {
		t.Errorf("%d paths completed", n)
	}
	mount()
	r.finish(slave, dest, master)
	r.identical()
	r.logged("4 completed, 0 failed, 0 vanished, 0 changed, 0 unfinished")
	if n := r.count("event=cannot-receive"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}

// What a run writes that came to the empty mount point lies below it, also if the run ends long after the file system is back.
func TestRunThatOutlastsTheUnmount(t *testing.T) {
	r := newRig(t)
	mount := r.mountedDst("")
	r.put(r.src, "")
	r.must(os.WriteFile(r.path("file"), make([]byte, 150_000), 0o644))
	r.rest()
	unmount := func() { r.must(syscall.Unmount(r.dst, syscall.MNT_DETACH)) }
	master := r.queued(depth1)
	slave, dest := r.source(2, slow, r.when("is sending path "+r.src+" to", unmount)), r.destination(3)
	r.until("it writes below the mount point", func() bool {
		found, err := filepath.Glob(r.dst + "/.file.*")
		return err == nil && len(found) > 0
	})
	r.waitFor("was paused")
	mount()
	r.until("it is offered again", func() bool { return r.count(" was activated") == 2 })
	r.finish(slave, dest, master)
	r.identical()
	r.logged("event=sent-again")
}

// As long as the base is not what it should be that is said once, and once that it is sent again what was received.
func TestDestinationWithoutItsSentinelSaysSoOnce(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	sentinel := filepath.Join(r.dst, "mounted")
	r.must(os.WriteFile(sentinel, nil, 0o644), os.WriteFile(r.path("mounted"), nil, 0o644))
	master := r.queued()
	dest := r.destination(3, func(c *Config) { c.Base.Sentinel = "mounted" })
	r.waitFor("was activated")
	r.must(os.Remove(sentinel))
	r.waitFor("was paused")
	time.Sleep(20 * shortTiming.PathCheck)
	for _, event := range []string{"cannot-receive", "not-flushed"} {
		if n := r.count("event=" + event); n != 1 {
			t.Errorf("%s is said %d times, want once", event, n)
		}
	}
	r.must(os.WriteFile(sentinel, nil, 0o644))
	r.finish(r.source(2), dest, master)
}

// Another file system in its place is not the one that was meant, however well it takes what is sent.
func TestDestinationWithAnotherMount(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	dest := r.destination(2)
	r.waitFor("was activated")
	r.mountedDst("size=1m")
	r.waitFor("was paused")
	slave := r.source(3)
	r.until("the destination is disabled", func() bool {
		data, _, err := r.zk().Get(t.Context(), r.tree().Dest(dest127(2)))
		return err == nil && string(data) == wire.Disabled
	})
	if n := r.sent(""); n != 0 {
		t.Errorf("%d paths sent", n)
	}
	r.until("it is unmounted", func() bool { return syscall.Unmount(r.dst, 0) == nil }) // the destination looks at it again and again
	r.finish(slave, dest, master)
	r.identical()
}

// A destination that could not receive anything says why and ends, when it starts; one that writes nothing need
// not be able to.
func TestDestinationThatCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		options string
		fill    bool
		want    string
	}{
		"read-only": {"size=1m,ro", false, "read-only"},
		"full":      {"size=64k", true, "full"},
		"inodes":    {"size=1m,nr_inodes=1", false, "no room for another file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.mountedDst(c.options)
			if c.fill {
				_ = os.WriteFile(filepath.Join(r.dst, "fill"), make([]byte, 100_000), 0o600)
			}
			master := r.queued()
			dest := r.destination(2)
			if err := r.wait(dest); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), r.dst) {
				t.Errorf("error %v, want one that says %q of %s", err, c.want, r.dst)
			}
			if r.count("Added destination") > 0 {
				t.Error("it has offered itself")
			}
			master.stop(errStopped)
		})
	}
	for name, compare := range map[string]func(*Config){
		"verify": func(c *Config) { c.Rsync.Verify = true },
		"dryrun": func(c *Config) { c.Rsync.DryRun = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.copied()
			r.must(syscall.Mount(r.dst, r.dst, "", syscall.MS_BIND, ""))
			t.Cleanup(func() { r.must(syscall.Unmount(r.dst, syscall.MNT_DETACH)) })
			r.must(syscall.Mount("", r.dst, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
			master := r.queued(compare)
			r.finish(r.source(2, compare), r.destination(3))
			_ = r.wait(master) // the times differ
			r.logged("10 completed, 0 failed")
			if r.count("was paused") > 0 {
				t.Errorf("log:\n%s", r.log)
			}
		})
	}
}

// Later a destination pauses for the same reasons, says so once, and comes back by itself.
func TestDestinationThatCannotGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		options    string
		harm, mend func(r *rig) error
		want       string
	}{
		"read-only": {"size=1m", func(r *rig) error {
			return syscall.Mount("", r.dst, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
		}, func(r *rig) error {
			return syscall.Mount("", r.dst, "", syscall.MS_BIND|syscall.MS_REMOUNT, "")
		}, "read-only"},
		"full": {"size=1m", func(r *rig) error {
			_ = os.WriteFile(filepath.Join(r.dst, "fill"), make([]byte, 2<<20), 0o600)
			return nil
		}, func(r *rig) error { return os.Remove(filepath.Join(r.dst, "fill")) }, "full"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.mountedDst(c.options)
			master := r.queued()
			dest := r.destination(2)
			r.waitFor("was activated")
			r.must(c.harm(r))
			r.waitFor("was paused")
			time.Sleep(300 * time.Millisecond) // several looks
			slave := r.source(3)
			r.waitFor("event=no-destination")
			r.must(c.mend(r))
			r.finish(slave, dest, master)
			r.identical()
			if n := r.count("event=cannot-receive"); n != 1 || r.count(c.want) == 0 {
				t.Errorf("said %d times, want once that it is %s; log:\n%s", n, c.want, r.log)
			}
			if r.count("event=set-aside")+r.count("event=rsync-failed") > 0 {
				t.Errorf("log:\n%s", r.log)
			}
		})
	}
}

// One of two destinations has no room for some paths: the other one gets these, nobody is set aside and
// nothing fails.
func TestNoRoomForSomePaths(t *testing.T) {
	r := newRig(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	r.put(r.src, names...)
	r.rest()
	for _, name := range names {
		r.must(os.MkdirAll(filepath.Join(r.dst, name), 0o755))
		old := time.Unix(1500000000, 123)
		r.must(os.Chtimes(filepath.Join(r.dst, name), old, old))
	}
	narrow := filepath.Join(t.TempDir(), "narrow") // the same tree, in which some directories take nothing
	r.must(os.Mkdir(narrow, 0o755))
	for _, name := range append([]string{""}, names[:4]...) {
		at := filepath.Join(narrow, name)
		r.must(syscall.Mount(filepath.Join(r.dst, name), at, "", syscall.MS_BIND, ""))
		t.Cleanup(func() { r.must(syscall.Unmount(at, syscall.MNT_DETACH)) })
		if name != "" {
			r.must(syscall.Mount("", at, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		}
	}
	master := r.queued(depth1)
	free := r.heldBack()
	dests := []*running{r.start(Destination, r.config(2, narrow))}
	slave := r.source(4, oneByOne)
	r.until("the slave holds it", func() bool {
		stat, _, err := r.zk().Exists(t.Context(), r.tree().ExtDestQueue()+"/taken")
		return err == nil && stat.NumChildren == 1
	})
	dests = append(dests, r.destination(3))
	r.waitFor("Added destination " + dest127(3))
	for _, name := range names {
		free("1_" + r.path(name))
	}
	free("0_" + r.src)
	r.finish(append(dests, slave, master)...)
	r.identical()
	r.logged("7 completed, 0 failed, 0 vanished, 0 changed, 0 unfinished")
	if r.count("event=set-aside")+r.count("was paused") > 0 {
		t.Errorf("log:\n%s", r.log)
	}
	if r.count("event=rsync-failed") == 0 {
		t.Error("nothing was sent where there is no room: this tested nothing")
	}
}

// Two containers can have the same host name and the same pid.
func TestTwoDestinationsOfOneName(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{8}, Files: 1, Size: 100})
	master := r.queued()
	dests := []*running{r.destination(2), r.destination(2)}
	r.until("both are there", func() bool { return r.count("Added destination") == 2 })
	names, err := r.zk().Children(t.Context(), r.tree().Root()+"/portmap")
	if r.must(err); len(names) != 2 {
		t.Errorf("ports of %v, want those of two destinations", names)
	}
	free := r.heldBack()
	slaves := []*running{r.source(3, oneByOne), r.source(4, oneByOne)}
	paths, err := r.zk().Children(t.Context(), r.tree().PathQueue()+"/entries")
	r.must(err)
	for _, name := range paths {
		data, _, err := r.zk().Get(t.Context(), r.tree().PathQueue()+"/entries/"+name)
		r.must(err)
		free(string(data))
	}
	r.finish(append(append(dests, slaves...), master)...)
	r.identical()
	if n := r.count("event=renamed"); n != 1 {
		t.Errorf("%d renamed, want 1", n)
	}
}

// A destination known by a loopback address says so when somebody on another host needs it.
func TestDestinationOnLoopback(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	dest := r.destination(2)
	r.waitFor("Added destination")
	time.Sleep(200 * time.Millisecond) // some looks
	if r.count("event=loopback") > 0 {
		t.Errorf("warned though all are on this host; log:\n%s", r.log)
	}
	slave := r.source(3, func(c *Config) { c.Member.Host = "192.0.2.7" })
	r.waitFor("event=loopback")
	r.finish(slave, dest, master)
	r.logged("192.0.2.7:", "--host")
	if n := r.count("event=loopback"); n != 1 {
		t.Errorf("warned %d times", n)
	}
}
