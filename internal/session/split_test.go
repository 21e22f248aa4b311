// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
)

// uneven makes directories for the source, each with so many below it, which hold
// 100 kB each: a second of work for a source that is slowed down.
func (r *rig) uneven(below int, names ...string) {
	r.t.Helper()
	for _, name := range names {
		dirs := []string{name}
		for i := range below {
			dirs = append(dirs, fmt.Sprintf("%s/part%d", name, i))
		}
		for _, dir := range dirs {
			r.must(os.MkdirAll(r.path(dir), 0o755), os.WriteFile(r.path(dir+"/file"), bytes.Repeat([]byte(dir), 100_000/len(dir)), 0o644))
		}
		r.age(dirs...)
	}
}

// slowly is for sources whose paths are to take a while, and for masters that are
// to notice soon.
func slowly(c *Config) {
	c.Leader.Depth = 1
	c.Rsync.Extra = []string{"bwlimit:100"}
	c.Member.Timing.Idle, c.Member.Timing.SplitAfter, c.Member.Timing.Settle = 100*time.Millisecond, 400*time.Millisecond, 300*time.Millisecond
}

// jobs gives a client several jobs, as a source or a destination.
func jobs(n int) func(*Config) { return func(c *Config) { c.Jobs, c.Destination.Slots = n, n } }

// A large path that one job works on is cut when others have nothing to do, in either queue.
func TestPathInWorkIsCut(t *testing.T) {
	for _, big := range []string{"big", "#big"} {
		t.Run(big, func(t *testing.T) {
			r := newRig(t)
			r.uneven(6, big)
			r.must(os.MkdirAll(filepath.Join(r.dst, big, "stale/below"), 0o755), os.MkdirAll(filepath.Join(r.dst, big, "part1/stale"), 0o755))
			report := filepath.Join(t.TempDir(), "report")
			r.finish(r.source(1, slowly, deleting, jobs(3), func(c *Config) { c.Leader.Report = report }), r.destination(2, jobs(3)))
			r.identical()
			r.left()
			r.logged("event=handed-back path=1_"+r.path(big), "event=cut path=1_"+r.path(big)+" pieces=7", "Paths: 8 completed, 0 failed")
			r.reported(report)
			if r.sent(big+"/part3") != 1 {
				t.Errorf("a piece was sent %d times, want once", r.sent(big+"/part3"))
			}
		})
	}
}

// A path that waits is cut while another takes long, without anybody being disturbed.
func TestPathThatWaitsIsCut(t *testing.T) {
	for _, big := range []string{"big", "#big"} {
		t.Run(big, func(t *testing.T) {
			r := newRig(t)
			r.uneven(3, big+"1", big+"2", big+"3")
			r.finish(r.source(1, slowly, jobs(2), oneByOne), r.destination(2, jobs(2)))
			r.identical()
			r.logged(" pieces=4", "0 failed, 0 vanished, 0 changed, 0 unfinished")
			if strings.Contains(r.log.String(), "event=handed-back") {
				t.Error("a run was stopped although no job was idle")
			}
		})
	}
}

// What the other jobs could do is taken away from one that has a long list.
func TestLongListIsShared(t *testing.T) {
	r := newRig(t)
	r.uneven(0, "a", "b", "c", "d", "e", "f", "g", "h")
	master, dest := r.source(1, slowly, jobs(1)), r.destination(2)
	r.waitFor("is sending path")
	r.finish(master, dest, r.source(3, slowly), r.destination(4), r.source(5, slowly), r.destination(6))
	r.identical()
	r.logged("event=shared", "Paths: 9 completed, 0 failed")
	// The first list, and the two or three paths that each job takes of it: lists of one are not shared.
	if n := strings.Count(r.log.String(), "event=shared"); n > 6 {
		t.Errorf("lists were taken away %d times: what was asked for once has to be forgotten", n)
	}
}

// A master does not ask a Python slave, which would not hear it.
func TestPythonSlaveIsNotAsked(t *testing.T) {
	r := newRig(t)
	r.uneven(2, "big")
	master := r.queued(slowly)
	python := r.zk()
	queue := python.Queue(r.tree().PathQueue())
	r.must(python.Party(r.tree().Party(wire.PartyAll), "python:1").Join(t.Context()), python.Party(r.tree().Party(wire.PartySources), "python:1").Join(t.Context()))
	for range 2 { // all there is
		if _, err := queue.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slave, dest := r.source(2, slowly), r.destination(3)
	r.until("a job is idle", func() bool {
		names, err := python.Children(t.Context(), r.tree().Idle())
		return err == nil && len(names) == 1
	})
	time.Sleep(time.Second) // for a master that would ask
	if data, _, err := python.Get(t.Context(), r.tree().Wanted()); err != nil || len(data) > len("{}") {
		t.Errorf("the master asks for %s (%v)", data, err)
	}
	python.Close()
	r.finish(slave, dest, master)
	r.identical()
}

// No more than a window of entries is in the queue, and the cursor says how far
// the walk has come.
func TestWindow(t *testing.T) {
	r := newRig(t)
	for i := range 60 {
		dir := fmt.Sprintf("dir%02d", i)
		r.must(os.MkdirAll(r.path(dir), 0o755))
		r.age(dir)
	}
	narrow := func(c *Config) { c.Leader.Depth, c.Leader.Window = 1, 10 }
	master := r.source(1, narrow)
	zk := r.zk()
	entries := func() int {
		n, err := zk.Queue(r.tree().PathQueue()).Len(t.Context())
		r.must(err)
		return n
	}
	r.until("the window is full", func() bool { return entries() == 10 })
	time.Sleep(500 * time.Millisecond) // for a feed that does not know the window
	if n := entries(); n != 10 {
		t.Errorf("%d entries wait, want no more than 10", n)
	}
	data, _, err := zk.Get(t.Context(), r.tree().Meta())
	r.must(err)
	state, ok := wire.DecodeMeta(data)
	if !ok {
		t.Fatalf("cannot read %q", data)
	}
	if want := wire.Text("1_" + r.path("dir08")); state.Stage.Cursor != want || state.Queued != 10 {
		t.Errorf("the cursor is %q after %d entries, want %q after 10", state.Stage.Cursor, state.Queued, want)
	}
	slave, dest := r.source(2), r.destination(3)
	most := 0
	r.until("the walk is over", func() bool {
		most = max(most, entries())
		return strings.Contains(r.log.String(), "pathqueue building finished")
	})
	if most > 10 {
		t.Errorf("%d entries were in the queue, want no more than 10", most)
	}
	r.finish(slave, dest, master)
	r.identical()
	r.logged("Paths: 61 completed")
}

func TestAutoDepth(t *testing.T) {
	r := newRig(t)
	for i := range 120 {
		dir := fmt.Sprintf("dir%d/sub%03d", i%2, i)
		r.must(os.MkdirAll(r.path(dir+"/deep"), 0o755))
		r.age(dir+"/deep", dir)
	}
	r.age("dir0", "dir1")
	auto := func(c *Config) { c.Leader.Depth = AutoDepth }
	r.finish(r.source(1, auto, jobs(1)), r.destination(2))
	r.logged("event=depth depth=2", "Paths: 123 completed")
	r.identical()
	built, err := PathsOnly(t.Context(), r.config(1, r.src, auto))
	if err != nil || built.Depth != 2 || built.Paths != 123 {
		t.Errorf("%+v, %v; want 123 paths at depth 2", built, err)
	}
}

// A directory with very many files is sent in ranges of names, and what is to be
// deleted in it afterwards.
func TestFlatDirectory(t *testing.T) {
	r := newRig(t)
	names := []string{"new\nline", "#", ";", "-n", "\xff\xfe", " ", "1_x", "*", "[a]", `back\slash`, "%", strings.Repeat("x", 255)}
	for i := range 200 {
		names = append(names, fmt.Sprintf("file%04d", i))
	}
	r.must(os.MkdirAll(r.path("flat/sub"), 0o755), os.MkdirAll(filepath.Join(r.dst, "flat/stale/below"), 0o755))
	for i, name := range names {
		r.must(os.WriteFile(r.path("flat/"+name), []byte(name), 0o644))
		if i%3 == 0 {
			r.must(os.WriteFile(filepath.Join(r.dst, "flat", "stale"+name[:min(len(name), 100)]), nil, 0o644))
		}
	}
	r.must(os.Link(r.path("flat/file0001"), r.path("flat/zzz")), os.Link(r.path("flat/file0100"), r.path("flat/sub/link")),
		os.Symlink("file0000", r.path("flat/symlink")))
	r.age("flat", "flat/sub")
	change := func(c *Config) { c.Leader.Flat, c.Leader.Depth, c.Rsync.HardLinks = 50, 2, true }
	failed := filepath.Join(t.TempDir(), "failed")
	r.finish(r.source(1, deleting, change, jobs(2)), r.destination(2, jobs(2)))
	r.identical()
	r.left()
	r.logged("sending deletions in path " + r.path("flat"))
	if n := strings.Count(r.log.String(), "sending files from "); n < 4 || n > 8 {
		t.Errorf("sent in %d ranges, want about 5", n)
	}
	if n := r.sent("flat"); n != 0 {
		t.Errorf("the directory was sent as a whole %d times", n)
	}

	// The entries of such a directory can be sent by themselves.
	r.must(os.RemoveAll(filepath.Join(r.dst, "flat/file0001")), os.WriteFile(filepath.Join(r.dst, "flat/stale"), nil, 0o644),
		os.WriteFile(failed, []byte("d_"+r.path("flat")+"\n"+`r_{"path":"`+r.path("flat")+`","from":"file0001","to":"file0002"}`+"\n"), 0o644))
	r.age()
	r.log.reset()
	r.finish(r.source(3, deleting, change, jobs(1), func(c *Config) { c.Leader.PathsFrom = failed; c.Rsync.HardLinks = false }), r.destination(4))
	r.logged("Paths: 2 completed")
	if _, err := os.Lstat(filepath.Join(r.dst, "flat/stale")); err == nil {
		t.Error("the deletions were not sent")
	}
	if data := r.read(filepath.Join(r.dst, "flat/file0001")); data != "file0001" {
		t.Errorf("the file of the range has %q", data)
	}
}

// Without a Go source that could send ranges a directory goes as a whole.
func TestFlatDirectoryWithoutGoSource(t *testing.T) {
	r := newRig(t)
	for i := range 30 {
		r.must(os.MkdirAll(r.path("flat/sub"), 0o755), os.WriteFile(r.path(fmt.Sprintf("flat/file%d", i)), nil, 0o644))
	}
	r.age("flat", "flat/sub")
	master := r.queued(func(c *Config) { c.Leader.Flat = 10 })
	if n, err := r.zk().Queue(r.tree().ExtQueue()).Len(t.Context()); n != 0 || err != nil {
		t.Errorf("%d entries (%v) that only a Go source can send, and there is none", n, err)
	}
	r.finish(r.source(2), r.destination(3), master)
	r.identical()
}

// A master that cannot go on while the walk does counts what it has queued.
func TestMasterThatFailsDuringTheWalk(t *testing.T) {
	r := newRigAlone(t)
	r.fakeRsync(refusesOptions)
	for i := range 100 {
		dir := fmt.Sprintf("dir%02d", i)
		r.must(os.MkdirAll(r.path(dir), 0o755))
		r.age(dir)
	}
	doneFile := filepath.Join(t.TempDir(), "done.gz")
	master := r.source(1, jobs(1), func(c *Config) {
		c.Leader.Depth, c.Leader.Window, c.Leader.DoneFile = 1, 10, doneFile
	})
	dest := r.destination(2)
	err := r.wait(master)
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v, want rsync's", err)
	}
	r.finish(dest)
	r.left()
	if strings.Contains(r.log.String(), "event=lost-paths") {
		t.Errorf("paths are missing in the account:\n%s", r.log)
	}
	n := strings.Count(r.log.String(), "Unfinished Path ")
	if n < 1 || n > 20 {
		t.Errorf("%d unfinished paths in the log, want what was queued: a window of 10 and few more at most", n)
	}
	r.logged("event=broken", fmt.Sprintf("Paths: 0 completed, 0 failed, 0 vanished, 0 changed, %d unfinished", n))
}

// A report whose disk is full does not end the run, and is not passed over.
func TestReportThatCannotBeWritten(t *testing.T) {
	r := newRig(t)
	for i := range 100 {
		dir := fmt.Sprintf("dir%02d", i)
		r.must(os.MkdirAll(r.path(dir), 0o755))
		r.age(dir)
		r.age(fmt.Sprintf("dir%02d", i))
	}
	r.age()
	full := filepath.Join(t.TempDir(), "full")
	r.must(os.Mkdir(full, 0o755), unix.Mount("tmpfs", full, "tmpfs", 0, "size=4k"))
	defer func() { r.must(unix.Unmount(full, unix.MNT_DETACH)) }()
	master := r.source(1, jobs(1), func(c *Config) { c.Leader.Depth, c.Leader.Report = 1, filepath.Join(full, "report") })
	dest := r.destination(2)
	if err := r.wait(master); err == nil || !strings.Contains(err.Error(), "cannot write the report") || errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want one that says that the report is not complete", err)
	}
	r.finish(dest)
	r.left()
	r.identical()
	r.logged("Paths: 101 completed")
}

// A subpath that is not there any more ends no run.
func TestSubpathThatVanishes(t *testing.T) {
	for name, swap := range map[string]bool{"gone": false, "swapped": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(testtree.TreeOptions{Fanout: []int{2, 2, 2}, Files: 1, Size: 10})
			master := r.queued(deleting, func(c *Config) { c.Leader.Depth, c.Leader.Subpaths = 1, []string{"2_dir000"} })
			r.must(os.RemoveAll(r.path("dir000")))
			if swap {
				r.must(os.Symlink("dir001", r.path("dir000")))
			}
			r.age()
			r.finish(r.source(2, deleting), r.destination(3), master)
			r.identical()
			r.logged("event=subpath-gone path=" + r.path("dir000"))
		})
	}
}

// A destination with several slots is in the queue as often, also when it was away.
func TestSlots(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	free := r.heldBack() // so that the run does not end
	dest := r.destination(2, jobs(3))
	zk := r.zk()
	queue := zk.Queue(r.tree().ExtDestQueue())
	slots := func() int {
		n, err := queue.Len(t.Context())
		r.must(err)
		return n
	}
	r.until("it is in the queue three times", func() bool { return slots() == 3 })
	away := r.dst + ".away"
	r.must(os.Rename(r.dst, away))
	r.waitFor("was paused")
	slave := r.source(3) // takes one of them out
	r.until("a source has met it", func() bool { return slots() < 3 })
	r.must(os.Rename(away, r.dst))
	r.until("it is in the queue three times again", func() bool { return slots() == 3 })
	time.Sleep(200 * time.Millisecond) // for one too many
	if n := slots(); n != 3 {
		t.Errorf("%d times in the queue, want 3", n)
	}
	free()
	r.finish(slave, dest, master)
	r.identical()
	r.left()
}

// A chain of single directories is not cut level by level, but where it branches.
func TestChainIsCutOnce(t *testing.T) {
	r := newRig(t)
	r.uneven(3, "chain/of/single/big")
	r.age("chain", "chain/of", "chain/of/single")
	r.finish(r.source(1, slowly, jobs(2)), r.destination(2, jobs(2)))
	r.identical()
	r.logged("event=cut path=1_"+r.path("chain")+" pieces=7", "0 failed, 0 vanished, 0 changed, 0 unfinished")
	if n := strings.Count(r.log.String(), "event=handed-back"); n != 1 {
		t.Errorf("the run was stopped %d times, want once", n)
	}
}

// What --excludere leaves out only above the depth does not depend on whether a
// path was cut.
func TestPathWithExcludedDirectoryIsNotCut(t *testing.T) {
	r := newRig(t)
	r.uneven(2, "big")
	r.must(os.MkdirAll(r.path("big/.snapshots/below"), 0o755))
	r.age("big/.snapshots", "big/.snapshots/below", "big")
	exclude := func(c *Config) { c.Base.Exclude = regexp.MustCompile(`/\.snapshots(/.*|$)`) }
	r.finish(r.source(1, slowly, exclude, jobs(2)), r.destination(2, jobs(2)))
	r.identical()
	if strings.Contains(r.log.String(), "event=cut") {
		t.Error("the path was cut")
	}
}

// Nothing is cut of what --paths-from names: no walk comes after it.
func TestPathsFromAreNotCut(t *testing.T) {
	r := newRig(t)
	r.uneven(2, "big")
	list := filepath.Join(t.TempDir(), "list")
	r.must(os.WriteFile(list, []byte("0_"+r.src+"\n1_"+r.path("big")+"\n"), 0o644))
	r.finish(r.source(1, slowly, jobs(2), func(c *Config) { c.Leader.PathsFrom = list }), r.destination(2, jobs(2)))
	r.identical()
	if strings.Contains(r.log.String(), "event=cut") {
		t.Error("the path was cut")
	}
}

// A file that goes while the range it is in is sent is no failure, and a
// comparison sees the directory itself.
func TestFlatDirectoryThatChanges(t *testing.T) {
	r := newRig(t)
	for i := range 40 {
		r.must(os.MkdirAll(r.path("flat"), 0o755), os.WriteFile(r.path(fmt.Sprintf("flat/file%02d", i)), bytes.Repeat([]byte("x"), 20_000), 0o644))
	}
	r.age("flat")
	change := func(c *Config) { c.Leader.Flat, c.Leader.Depth = 10, 2 }
	master, dest := r.source(1, deleting, change, jobs(1), func(c *Config) { c.Rsync.Extra = []string{"bwlimit:100"} }), r.destination(2)
	r.waitFor("sending files from ")
	for i := range 10 {
		r.must(os.Remove(r.path(fmt.Sprintf("flat/file%02d", 4*i+3))))
	}
	r.age("flat")
	r.finish(master, dest)
	r.logged("0 failed")
	r.identical()

	r.must(os.Chmod(filepath.Join(r.dst, "flat"), 0o700))
	r.log.reset()
	master, dest = r.source(3, change, jobs(1), func(c *Config) { c.Rsync.Verify = true }), r.destination(4)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "1 differences") {
		t.Errorf("error %v, want the one difference of the directory", err)
	}
	r.finish(dest)
}
