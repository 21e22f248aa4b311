// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
)

const largeSize = 3_000_000

// large makes a tree with a file of largeSize, which has nothing twice, in dir000.
func (r *rig) large() {
	r.t.Helper()
	r.makeTree(testtree.TreeOptions{Fanout: []int{2}, Files: 2, Size: 1000})
	content := make([]byte, largeSize)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	r.must(os.WriteFile(r.path("dir000/large"), content, 0o640))
	r.age("dir000")
	r.rest()
}

// partial keeps what was received of a file.
func partial(c *Config) { c.Rsync.Partial = true }

// crawl has an rsync take seconds for the large file, so that nothing waits between it and the destination.
const crawl = "bwlimit:1000"

func crawling(c *Config) { c.Rsync.Extra = []string{crawl} }

// begun waits until a good part of the large file has been received.
func (r *rig) begun() {
	r.t.Helper()
	r.until("the file is on its way", func() bool {
		found, err := filepath.Glob(filepath.Join(r.dst, "dir000/.large.*"))
		if r.must(err); len(found) == 0 {
			return false
		}
		info, err := os.Stat(found[0])
		return err == nil && info.Size() > largeSize*2/3
	})
}

// partIsKept waits until something of the large file is kept.
func (r *rig) partIsKept() {
	r.t.Helper()
	r.until("what was received is kept", func() bool {
		info, err := os.Lstat(filepath.Join(r.dst, "dir000", rsyncrunner.PartialDir, "large"))
		return err == nil && info.Size() > 0
	})
}

var literalData = regexp.MustCompile(`Literal data: ([\d,]+) bytes`)

// literal is how much of the content of files the runs have sent that came to their end.
func (r *rig) literal(output *logBuffer) (bytes int) {
	r.t.Helper()
	for _, found := range literalData.FindAllStringSubmatch(output.String(), -1) {
		n, err := strconv.Atoi(strings.ReplaceAll(found[1], ",", ""))
		r.must(err)
		bytes += n
	}
	return bytes
}

// What a run has received of a file when it ends, whatever ends it, is there for the next attempt, which sends the
// rest, deletes nothing of it, and leaves nothing behind.
func TestPartialFileSurvives(t *testing.T) {
	for name, end := range map[string]func(r *rig) (begun func()){
		"stopped": func(r *rig) func() {
			slave := r.slave(3, deleting, partial, crawling)
			return func() { slave.stop(errStopped); _ = r.wait(slave) }
		},
		"killed": func(r *rig) func() {
			source, in := r.process(elsewhere{Host: "127.0.0.3", Delete: true, Partial: true, Extra: []string{crawl}})
			return func() { r.must(source.Process.Kill()); _ = source.Wait(); in.Close() }
		},
		"rsync killed": func(r *rig) func() {
			slave := r.slave(3, deleting, partial, crawling)
			return func() {
				r.signal(r.rsyncs("/"+r.tree().Module()), syscall.SIGKILL)
				slave.stop(errStopped)
				_ = r.wait(slave)
			}
		},
		"cut off": func(r *rig) func() {
			slave := r.slave(3, deleting, partial, crawling)
			return func() {
				r.must(r.zk().Delete(r.t.Context(), r.tree().Key(dest127(3))))
				r.partIsKept()
				slave.stop(errStopped)
				_ = r.wait(slave)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.large()
			// Of an earlier session, in the source: neither sent nor a difference.
			r.put(r.src, "dir001/"+rsyncrunner.PartialDir)
			r.must(os.WriteFile(r.path("dir001/"+rsyncrunner.PartialDir+"/file"), nil, 0o644))
			r.age("dir001")
			master := r.queued(deleting, partial)
			dest := r.destination(2)
			ends := end(r)
			r.begun()
			ends()
			r.partIsKept()
			output := &logBuffer{}
			r.finish(r.slave(4, deleting, partial, func(c *Config) { c.Output = output }), dest, master)
			r.must(os.RemoveAll(r.path("dir001/" + rsyncrunner.PartialDir)))
			r.age("dir001")
			r.identical()
			if sent := r.literal(output); sent == 0 || sent > largeSize/2 {
				t.Errorf("%d bytes were sent by the next attempt, want no more than the rest of %d", sent, largeSize)
			}
		})
	}
}

// A file that has vanished since it was begun leaves nothing behind either, unless something has failed: it may be that.
func TestPartialFileOfAVanishedOne(t *testing.T) {
	for name, fails := range map[string]bool{"all sent": false, "one has failed": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.large()
			if fails {
				r.put(r.dst, "dir001/file000") // a directory that is not empty
			}
			master := r.queued(partial)
			dest := r.destination(2)
			slave := r.slave(3, partial, crawling)
			r.begun()
			slave.stop(errStopped)
			_ = r.wait(slave)
			r.partIsKept()
			r.must(os.Remove(r.path("dir000/large")))
			r.age("dir000")
			last := r.slave(4, partial)
			if fails {
				if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
					t.Errorf("error %v, want one that says that a path has failed", err)
				}
				r.finish(last, dest)
				r.partIsKept()
				return
			}
			r.finish(last, dest, master)
			r.identical()
			r.logged("event=partial-removed")
		})
	}
}

// Idle jobs wait for a run that is in the midst of a large file, unless that is kept: then it is handed over at once.
func TestLargeFileIsNotBegunAnew(t *testing.T) {
	for name, change := range map[string]func(*Config){"anew": func(*Config) {}, "kept": partial} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.uneven(4, "big")
			content := make([]byte, largeSize)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
			r.must(os.WriteFile(r.path("big/large"), content, 0o644))
			r.age("big")
			output := &logBuffer{}
			var before bool // the large file was there when its run was ended
			master := r.source(1, slowly, change, jobs(2), r.when("event=handed-back", func() {
				_, err := os.Lstat(filepath.Join(r.dst, "big/large"))
				before = err == nil
			}), func(c *Config) {
				c.Rsync.Extra, c.Worker.Large, c.Output = []string{"bwlimit:500"}, largeSize, output
				c.Member.Timing.SplitAfter = 2 * time.Second // the file is in the midst by then
			})
			r.finish(master, r.destination(2, jobs(2)))
			r.identical()
			waited, sent := strings.Contains(r.log.String(), "event=large-file"), r.literal(output)
			if name == "anew" && (!waited || !before) {
				t.Errorf("the run was ended in the midst of the file (%v, %v):\n%s", waited, before, r.log)
			}
			if name == "kept" && (waited || before || sent > largeSize*9/10) {
				t.Errorf("the run was not ended (%v, %v), or %d bytes of %d were sent by another:\n%s", waited, before, sent, largeSize, r.log)
			}
		})
	}
}

// When those that are asked first are in the midst of large files, others are asked, too.
func TestOthersAreAskedMeanwhile(t *testing.T) {
	r := newRig(t)
	r.uneven(3, "a", "b")
	r.uneven(40, "c")
	for _, dir := range []string{"a", "b"} {
		r.must(os.WriteFile(r.path(dir+"/large"), bytes.Repeat([]byte(dir), 2*largeSize), 0o644))
		r.age(dir)
	}
	master := r.source(1, slowly, jobs(4), oneByOne, func(c *Config) {
		c.Rsync.Extra, c.Worker.Large = []string{"bwlimit:500"}, largeSize
		c.Member.Timing.SplitAfter = time.Second
	})
	r.finish(master, r.destination(2, jobs(4)))
	r.identical()
	r.logged("event=large-file", "event=handed-back path=1_"+r.path("c"))
}

// A list of changes neither sends what is kept of files nor removes it.
func TestPartialDirsThatAreListed(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.copied()
	r.put(r.dst, "dir000/"+rsyncrunner.PartialDir)
	r.put(r.src, "dir001/"+rsyncrunner.PartialDir)
	lister := r.lister("\n", "dir000/"+rsyncrunner.PartialDir, "dir000/"+rsyncrunner.PartialDir+"/file", "dir001/"+rsyncrunner.PartialDir,
		"dir001/"+rsyncrunner.PartialDir+"/file", "dir000/file000")
	master := r.queued(deleting, partial, lister)
	r.finish(r.slave(2, deleting, partial), r.destination(3), master)
	r.has("dir000/"+rsyncrunner.PartialDir, r.dst)
	r.has("dir001/"+rsyncrunner.PartialDir, "")
	r.logged(" 0 failed, 0 vanished, 0 changed, 0 unfinished")
}
