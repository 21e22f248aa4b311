// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/slowfs"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

// linkedTree has hard links in, below, between and out of the paths.
func (r *rig) linkedTree() {
	r.t.Helper()
	r.makeTree(testtree.TreeOptions{Fanout: []int{3, 2}, Files: 2, Size: 1000, HardLinks: true, FarHardLinks: true})
	outside := r.t.TempDir()
	if err := os.MkdirAll(r.path("dir000/dir000/deep/er"), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.must(
		// One file below the base of a recursive path and in a shallow one, and another name outside.
		os.Link(r.path("file000"), r.path("dir000/dir000/deep/er/link")),
		os.Link(r.path("file000"), filepath.Join(outside, "link")),
		// One that has no other name below the base.
		os.Link(r.path("dir001/file000"), filepath.Join(outside, "link2")),
		// Odd names.
		os.Link(r.path("dir002/file000"), r.path("dir001/#\nlink\xff")),
	)
	r.age("dir000/dir000/deep/er", "dir000/dir000/deep", "dir000/dir000", "dir001")
}

func hardLinks(c *Config) { c.Rsync.HardLinks = true }

// literals are rsync's counts of content that was sent, a run each.
func literals(output string) (counts []string) {
	for line := range strings.Lines(output) {
		if count, ok := strings.CutPrefix(line, "Literal data: "); ok {
			counts = append(counts, strings.TrimSpace(count))
		}
	}
	return counts
}

// Links between paths that different slaves send are links at the destination,
// for which nothing is sent twice; and so they stay in a later run.
func TestHardLinksAcrossPaths(t *testing.T) {
	r := newRig(t)
	r.linkedTree()
	r.rest()
	output := &logBuffer{}
	change := func(c *Config) { hardLinks(c); deleting(c); c.Output = output }
	for run := range 2 {
		r.log.reset()
		output.reset()
		master := r.queued(change)
		r.finish(master, r.source(2, change), r.source(3, change), r.destination(4), r.destination(5))
		r.identical()
		r.logged("files that are linked", "event=linking", "0 failed, 0 vanished, 0 changed, 0 unfinished")
		counts := literals(output.String())
		if last := counts[len(counts)-1]; last != "0 bytes" {
			t.Errorf("the last pass sent %s of content", last)
		}
		if all := strings.Join(counts, " "); run == 1 && strings.ReplaceAll(all, "0 bytes", "") != strings.Repeat(" ", len(counts)-1) {
			t.Errorf("a run in which nothing changed sent %s of content", all)
		}
	}
	r.left()
}

// A pass that sends some members of a group again does not part them for good.
func TestHardLinksOfLaterPass(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.must(
		os.Link(r.path("dir000/dir000/file000"), r.path("dir001/link")),
		os.Link(r.path("dir000/dir000/file000"), r.path("dir001/dir000/link")),
	)
	r.slowEnd()
	r.age("dir001", "dir001/dir000")
	r.rest()
	master := r.queued(hardLinks)
	slowEndBegun := r.slowEndLast()
	slave, dest := r.source(2, hardLinks, slow), r.destination(3)
	slowEndBegun()
	// New content for all names, and a change that has one of the paths sent again.
	f, err := os.OpenFile(r.path("dir001/link"), os.O_WRONLY|os.O_APPEND, 0)
	r.must(err)
	_, err = f.WriteString("more")
	r.must(err, f.Close(), os.WriteFile(r.path("dir001/new"), nil, 0o644), os.WriteFile(r.path("dir000/dir000/new"), nil, 0o644), os.WriteFile(r.path("dir001/dir000/new"), nil, 0o644))
	r.age("dir001/link", "dir001/dir000", "dir001", "dir000/dir000")
	r.finish(slave, dest, master)
	if r.sent("dir001") != 2 {
		t.Errorf("sent %d times, want 2", r.sent("dir001"))
	}
	r.identical()
}

// A member that is gone before the last pass is no trouble.
func TestHardLinkThatVanishes(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.must(
		os.Link(r.path("dir000/dir000/file000"), r.path("dir001/link")),
		os.Link(r.path("dir000/dir000/file000"), r.path("dir001/dir000/link")),
	)
	r.slowEnd()
	r.age("dir001", "dir001/dir000")
	r.rest()
	both := func(c *Config) { hardLinks(c); deleting(c) }
	master := r.queued(both)
	slowEndBegun := r.slowEndLast()
	slave, dest := r.source(2, both, slow), r.destination(3)
	slowEndBegun()
	r.must(os.Remove(r.path("dir001/link")))
	r.age("dir001")
	r.finish(slave, dest, master)
	r.identical()
}

// Without --hardlinks names are files of their own, and no pass is made for them.
func TestWithoutHardLinks(t *testing.T) {
	r := newRig(t)
	r.linkedTree()
	r.finish(r.source(1), r.slave(2), r.destination(3))
	differences, err := testtree.Compare(r.src, r.dst, testtree.HardLinks)
	if r.must(err); len(differences) > 0 {
		t.Errorf("source and destination differ:\n%s", strings.Join(differences, "\n"))
	}
	info, err := os.Stat(filepath.Join(r.dst, "far a/one"))
	if r.must(err); info.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Error("linked without --hardlinks")
	}
	if strings.Contains(r.log.String(), "inking") {
		t.Errorf("a pass for links without --hardlinks:\n%s", r.log)
	}
}

// What the user's own rules leave out is not brought in by the pass for links.
func TestHardLinksThatAreLeftOut(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.must(
		os.Mkdir(r.path("dir000/dir000/deep"), 0o755),
		os.Link(r.path("dir000/file000"), r.path("dir000/dir000/deep/link")),
		os.Link(r.path("dir000/file000"), r.path("dir001/a.tmp")),
		os.Link(r.path("dir000/file000"), r.path("dir002/b")),
	)
	r.age("dir000/dir000/deep", "dir000/dir000", "dir001", "dir002")
	change := func(c *Config) { hardLinks(c); c.Rsync.Extra = []string{"exclude:*.tmp", "filter:- deep/"} }
	r.finish(r.source(1, change), r.slave(2, change), r.destination(3))
	for _, name := range []string{"dir001/a.tmp", "dir000/dir000/deep"} {
		if _, err := os.Lstat(filepath.Join(r.dst, name)); !os.IsNotExist(err) {
			t.Errorf("%s is at the destination (%v)", name, err)
		}
		r.must(os.RemoveAll(r.path(name)))
	}
	r.age("dir000/dir000", "dir001")
	r.identical()
}

// Groups beyond the bound are named, and the run does not end well.
func TestTooManyHardLinks(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{2}, Files: 3, Size: 10})
	for _, file := range []string{"file000", "file001", "file002"} {
		r.must(os.Link(r.path("dir000/"+file), r.path("dir001/link-"+file)))
	}
	r.age("dir001")
	change := func(c *Config) { hardLinks(c); c.Leader.Depth = 1 }
	master := r.queued(change, func(c *Config) { c.Leader.Groups = 2 })
	slave, dest := r.source(2, change, oneByOne), r.destination(3)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "1 groups of hard links were not kept") {
		t.Errorf("error %v, want one that counts the groups", err)
	}
	r.finish(slave, dest)
	r.logged("event=links-not-kept", "4 files that are linked")
}

// snapshots makes a file of some bytes with a name in each of several directories.
func (r *rig) snapshots(dirs, size int) {
	r.t.Helper()
	r.must(os.MkdirAll(r.path("snap0"), 0o755), os.WriteFile(r.path("snap0/file"), bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o644))
	for i := 1; i < dirs; i++ {
		dir := fmt.Sprintf("snap%d", i)
		r.must(os.Mkdir(r.path(dir), 0o755), os.Link(r.path("snap0/file"), r.path(dir+"/file")), os.WriteFile(r.path(dir+"/own"), []byte(dir), 0o644))
	}
	for i := range dirs {
		r.age(fmt.Sprintf("snap%d", i))
	}
}

// The names of a file that lie in many paths need room for one copy, as with one rsync.
func TestHardLinksNeedNoRoom(t *testing.T) {
	r := newRig(t)
	r.must(os.MkdirAll(r.src, 0o755))
	r.snapshots(8, 8<<20)
	r.must(unix.Mount("tmpfs", r.dst, "tmpfs", 0, "size=20m"))
	t.Cleanup(func() { r.must(unix.Unmount(r.dst, unix.MNT_DETACH)) })
	output := &logBuffer{}
	change := func(c *Config) {
		hardLinks(c)
		depth1(c)
		oneByOne(c)
		c.Jobs, c.Destination.Slots, c.Output = 2, 4, output
	}
	master := r.queued(hardLinks, depth1)
	r.finish(r.source(2, change), r.source(3, change), r.destination(4, change), master)
	r.identical()
	sent := 0
	for _, count := range literals(output.String()) {
		n, err := strconv.Atoi(strings.ReplaceAll(strings.TrimSuffix(count, " bytes"), ",", ""))
		r.must(err)
		sent += n
	}
	if sent > 9<<20 {
		t.Errorf("%d bytes of content were sent, want those of one copy", sent)
	}
	r.left()
}

// A run that ends before the last pass says that names which were kept back are not sent, and they can
// be sent later.
func TestHeldLinksOfABrokenRun(t *testing.T) {
	r := newRig(t)
	r.must(os.MkdirAll(r.src, 0o755))
	r.snapshots(3, 1<<20)
	failed, report := filepath.Join(t.TempDir(), "failed"), filepath.Join(t.TempDir(), "report")
	change := func(c *Config) { hardLinks(c); depth1(c); oneByOne(c) }
	r.put(r.src, "bad")
	r.age("bad")
	master := r.queued(change, func(c *Config) { c.Leader.MaxFailures, c.Leader.Failed, c.Leader.Report = 1, failed, report })
	// Somebody has a path in hand, and it fails when all others are done.
	queue, bad := r.zk().Queue(r.tree().PathQueue()), (*zkclient.Entry)(nil)
	var others []*zkclient.Entry
	for range 5 {
		entry, err := queue.Take(t.Context())
		r.must(err)
		if string(entry.Value) == "1_"+r.path("bad") {
			bad = entry
		} else {
			others = append(others, entry)
		}
	}
	for _, entry := range others {
		r.must(entry.Release(t.Context()))
	}
	slave, dest := r.source(2, change), r.destination(4)
	r.until("all others are done", func() bool { return strings.Count(r.log.String(), "Completed Path") == 4 })
	r.must(bad.Consume(t.Context(), r.zk().Queue(r.tree().FailedQueue()).PutOp(bad.Value, zkclient.DefaultPriority)))
	r.finish(slave, dest)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want unfinished paths", err)
	}
	r.reported(report)
	if got := r.read(failed); strings.Count(got, "l_[") != 1 {
		t.Errorf("--failed has %q, want the names that were kept back", got)
	}
	r.finish(r.source(5, change, func(c *Config) { c.Leader.PathsFrom = failed }), r.slave(6, change), r.destination(7))
	r.identical()
}

// A directory in which a source cannot look for hard links fails the path in which it lies, and nothing else.
func TestLinksInABrokenDirectory(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.before(slowfs.Options{Broken: "dir001/dir001"})
	r.rest()
	master := r.queued(hardLinks, depth1)
	slave, dest := r.source(2, hardLinks), r.destination(3)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want that one path has failed", err)
	}
	r.finish(slave, dest)
	r.logged("Failed Path 1_"+r.path("dir001"), " event=end completed=3 failed=1 vanished=0 changed=0 unfinished=0 ")
}
