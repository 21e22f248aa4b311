// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
)

// slowEnd makes one path of a small tree take seconds, for slaves that are slowed
// down.
func (r *rig) slowEnd() {
	r.t.Helper()
	r.must(os.WriteFile(r.path("dir002/dir001/big"), make([]byte, 300_000), 0o644))
	r.age("dir002", "dir002/dir001")
}

// slowEndLast puts that path behind all others in the queue, and gives a function
// that waits until it is being sent.
func (r *rig) slowEndLast() (begun func()) {
	r.t.Helper()
	queue, last := r.zk().Queue(r.tree().PathQueue()), "1_"+r.path("dir002/dir001")
	n, err := queue.Len(r.t.Context())
	r.must(err)
	for range n {
		entry, err := queue.Take(r.t.Context())
		if r.must(err); string(entry.Value) == last {
			r.must(entry.Consume(r.t.Context(), queue.PutOp(entry.Value, 900)))
			continue
		}
		defer func() { r.must(entry.Release(r.t.Context())) }()
	}
	return func() { r.waitFor("is sending path " + r.path("dir002/dir001") + " ") }
}

// reported reads a report. It fails the test unless every path is in one class
// and the sum is the number of those queued.
func (r *rig) reported(file string) (lines []reportLine) {
	r.t.Helper()
	f, err := os.Open(file)
	r.must(err)
	defer f.Close()
	last := map[string]string{} // outcome by path
	count := map[string]int{}   // lines by outcome
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var line reportLine
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			r.t.Fatalf("line %q: %v", in.Text(), err)
		}
		lines = append(lines, line)
		if line.Type != "path" {
			continue
		}
		path := string(line.Path)
		if last[path] == "failed" { // a later pass has sent it again
			count["failed"]--
		}
		last[path] = line.Outcome
		count[line.Outcome]++
	}
	r.must(in.Err())
	if len(lines) < 2 || lines[0].Type != "header" || lines[len(lines)-1].Type != "total" {
		r.t.Fatalf("%+v: want a header, paths, and a total", lines)
	}
	total := lines[len(lines)-1]
	for class, n := range map[string]int{
		"completed": total.Completed, "failed": total.Failed, "vanished": total.Vanished, "changed": total.Changed, "unfinished": total.Unfinished, "skipped": total.Skipped,
	} {
		if count[class] != n {
			r.t.Errorf("%d paths %s in the lines of the report, %d in its total", count[class], class, n)
		}
	}
	if sum := total.Completed + total.Failed + total.Vanished + total.Changed + total.Unfinished + total.Skipped; sum != total.Queued || sum == 0 {
		r.t.Errorf("%d paths queued, %d accounted for", total.Queued, sum)
	}
	return lines
}

type reportLine struct {
	Type     string    `json:"type"`
	Session  string    `json:"session"`
	Source   wire.Text `json:"source"`
	Time     string    `json:"time"`
	Path     wire.Text `json:"path"`
	Outcome  string    `json:"outcome"`
	Attempts *int      `json:"attempts"`
	Seconds  *float64  `json:"seconds"`
	Bytes    *int64    `json:"bytes"`
	Who      *string   `json:"who"`
	Batch    int       `json:"batch"`
	Errors   []string  `json:"errors"`
	Queued   int       `json:"queued"`
	wire.Counts
}

// What is made, moved in or renamed during the run arrives, with all its content.
func TestLivingSource(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.slowEnd()
	elsewhere := filepath.Join(filepath.Dir(r.src), "elsewhere")
	r.must(testtree.MakeTree(elsewhere, testtree.TreeOptions{Fanout: []int{2, 1, 1}, Files: 1, Size: 10}))
	r.rest() // so that its ctimes are older than the walk
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(deleting, func(c *Config) { c.Leader.Report = report })
	slowEndBegun := r.slowEndLast()
	slave, dest := r.source(2, deleting, slow), r.destination(3)
	slowEndBegun()
	r.must(
		os.MkdirAll(r.path("dir000/new/deep/er"), 0o755), os.WriteFile(r.path("dir000/new/deep/er/file"), []byte("new"), 0o644),
		os.Rename(elsewhere, r.path("moved")),
		os.Rename(r.path("dir001/dir000"), r.path("dir001/renamed")),
		os.Rename(r.path("dir001/dir001"), r.path("promoted")),
	)
	r.age("dir000", "dir000/new/deep/er", "dir000/new/deep", "dir000/new", "dir001")
	r.finish(slave, dest, master)
	r.identical()
	r.logged("event=changed-again")
	r.reported(report)
}

// A tree at rest is sent once, and so are the parts of one that did not change.
func TestTreeAtRest(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	master := r.queued()
	slave, dest := r.source(2), r.destination(3)
	r.finish(slave, dest, master)
	if n := r.sent(""); n != 10 {
		t.Errorf("%d paths sent, want each of 10 once", n)
	}
	r.identical()

	r.log.reset()
	master = r.queued()
	r.must(os.Mkdir(r.path("dir001/new"), 0o755))
	r.finish(r.source(2), r.destination(3), master)
	if n := r.sent(""); n != 12 || r.sent("dir001") != 2 || r.sent("dir001/new") != 1 {
		t.Errorf("%d paths sent, want 10, the one that changed again, and the new one; log:\n%s", n, r.log)
	}
}

// A tree that never comes to rest ends the run all the same, with a warning.
func TestSourceThatKeepsChanging(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{2}, Files: 1, Size: 10})
	report := filepath.Join(t.TempDir(), "report")
	master := r.source(1, func(c *Config) { c.Leader.Report = report })
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for mode := os.FileMode(0o700); ; mode ^= 0o001 {
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
				if err := os.Chmod(r.path("dir000"), mode); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	defer func() { <-done }()
	defer close(over)
	r.finish(r.slave(2), r.destination(3), master)
	if n := r.sent("dir000"); n != 1+morePasses {
		t.Errorf("sent %d times, want %d", n, 1+morePasses)
	}
	if n := r.sent("dir001"); n > 2 { // the second time only if it was young in the first walk
		t.Errorf("what did not change was sent %d times", n)
	}
	r.logged("event=still-changing")
	r.reported(report)
}

// What failed in one pass and was completed in a later one is completed.
func TestFailedAndThenCompleted(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.slowEnd()
	obstacle := filepath.Join(r.dst, "dir000/dir000/file000/x")
	r.must(os.MkdirAll(obstacle, 0o755))
	r.rest()
	dir := t.TempDir()
	report, failed, doneFile := filepath.Join(dir, "report"), filepath.Join(dir, "failed"), filepath.Join(dir, "done")
	master := r.queued(func(c *Config) { c.Leader.Report, c.Leader.Failed, c.Leader.DoneFile = report, failed, doneFile })
	slowEndBegun := r.slowEndLast()
	slave, dest := r.source(2, slow), r.destination(3)
	slowEndBegun()
	r.waitFor("Failed Path 1_" + r.path("dir000/dir000"))
	r.must(os.RemoveAll(filepath.Dir(obstacle)), os.WriteFile(r.path("dir000/dir000/new"), nil, 0o644))
	r.age("dir000/dir000")
	r.finish(slave, dest, master)
	r.identical()
	// All ten, and the base once more, whose time was changed.
	r.logged("Paths: 11 completed, 0 failed, 0 vanished, 0 changed, 0 unfinished")
	if got := r.read(failed); got != "" {
		t.Errorf("--failed has %q, want nothing", got)
	}
	if got := pythonReads(t, doneFile); !strings.Contains(got, `{"unfinished": 0, "failed": 0, "completed": 11, `) {
		t.Errorf("done-file %s", got)
	}
	r.reported(report)
}
