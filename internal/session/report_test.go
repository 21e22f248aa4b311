// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vsc-zk/internal/session/wire"
)

// oddNames are directories whose entries a file of lines cannot have as they are,
// or that look like something else.
var oddNames = []string{"new\nline", "return\r", "\xff\xfe", `"quoted"`, `"`, "1_x", "l_[]", " ", "tab\t", "#", ";", `back\slash`, "é"}

// A report has a line for every path, and what failed can be sent by itself,
// whatever its name.
func TestReportAndPathsFrom(t *testing.T) {
	r := newRig(t)
	for _, name := range oddNames {
		r.put(r.src, name)
		r.must(os.MkdirAll(filepath.Join(r.dst, name, "file/in/the/way"), 0o755))
	}
	r.put(r.src, "good")
	r.age(append(slices.Clone(oddNames), "good")...)
	dir := t.TempDir()
	report, failed := filepath.Join(dir, "report"), filepath.Join(dir, "failed")
	depth1 := func(c *Config) { c.Leader.Depth = 1 }
	master := r.source(1, depth1, func(c *Config) { c.Leader.Report, c.Leader.Failed = report, failed })
	slave, dest := r.slave(2, oneByOne), r.destination(3)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want wire.ErrIncomplete", err)
	}
	r.finish(slave, dest)
	lines := r.reported(report)
	if head := lines[0]; head.Session != r.name || string(head.Source) != r.src || head.Time == "" {
		t.Errorf("header %+v", head)
	}
	seen := map[string]reportLine{}
	for _, line := range lines[1 : len(lines)-1] {
		seen[string(line.Path)] = line
	}
	for _, name := range oddNames {
		line := seen["1_"+r.path(name)]
		if line.Outcome != "failed" || *line.Attempts != attempts || *line.Seconds <= 0 || *line.Who != dest127(2) || !strings.Contains(strings.Join(line.Errors, "\n"), "could not make way") {
			t.Errorf("%q: %+v", name, line)
		}
	}
	if line := seen["1_"+r.path("good")]; line.Outcome != "completed" || *line.Attempts != 1 || *line.Bytes != int64(len(r.src)) || line.Errors != nil {
		t.Errorf("%+v", line)
	}

	for _, name := range oddNames {
		r.must(os.RemoveAll(filepath.Join(r.dst, name, "file")))
	}
	r.log.reset()
	again := r.source(4, depth1, func(c *Config) { c.Leader.PathsFrom, c.Leader.Report, c.Leader.Failed = failed, report, failed })
	r.finish(again, r.slave(5), r.destination(6))
	r.identical()
	if n := r.sent(""); n != len(oddNames) {
		t.Errorf("%d paths sent, want the %d that had failed", n, len(oddNames))
	}
	if total := r.reported(report); total[len(total)-1].Completed != len(oddNames) || r.read(failed) != "" {
		t.Errorf("%+v; failed: %q", total[len(total)-1], r.read(failed))
	}
}

// What nobody has sent is in the report and among the failed, the pass for hard
// links included, and can be sent later.
func TestUnfinishedCanBeSentLater(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.must(os.Link(r.path("dir000/file000"), r.path("dir001/link")))
	r.slowEnd()
	r.age("dir001")
	r.rest()
	dir := t.TempDir()
	report, failed := filepath.Join(dir, "report"), filepath.Join(dir, "failed")
	master := r.queued(hardLinks, impatient, func(c *Config) { c.Leader.Report, c.Leader.Failed = report, failed })
	slowEndBegun := r.slowEndLast()
	slave, dest := r.source(2, hardLinks, slow, oneByOne), r.destination(3)
	slowEndBegun()
	// The Go source leaves, and a Python one does the rest, as far as it can.
	python := r.zk()
	r.must(python.Party(r.tree().Party(wire.PartySources), "python:1").Join(t.Context()))
	slave.stop(errStopped)
	if err := r.wait(slave); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	finishPaths(t, python, r.tree())
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "0 failed, 1 unfinished, 10 completed") {
		t.Errorf("error %v, want 1 unfinished", err)
	}
	r.finish(dest) // whose end of the stopped transfer may go on for a moment
	if out, err := exec.Command("cp", "-a", r.path("dir002/dir001"), filepath.Join(r.dst, "dir002")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	python.Close()
	r.reported(report)
	if got := r.read(failed); got != `l_["dir000/file000","dir001/link"]`+"\n" {
		t.Fatalf("--failed has %q, want the hard links", got)
	}
	r.log.reset()
	r.finish(r.source(4, hardLinks, func(c *Config) { c.Leader.PathsFrom = failed }), r.slave(5, hardLinks), r.destination(6))
	r.logged("is sending 2 files that are linked")
	r.identical()
}

// A line that is no entry below the base is refused before anything begins.
func TestBadPathsFrom(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	for _, bad := range []string{
		"dir000", "2_" + r.path("dir000"), "1_/elsewhere", "1_" + r.path("dir000/../../x"), `"1_` + r.path("dir000"),
		`l_["../x"]`, `l_["/etc/passwd"]`, "l_[", "1_" + r.src + "x", "\x00",
	} {
		list := filepath.Join(t.TempDir(), "list")
		r.must(os.WriteFile(list, []byte("1_"+r.path("dir001")+"\n\n"+bad+"\n0_"+r.path("dir002")), 0o644))
		joined := func(c *Config) {
			c.Leader.PathsFrom, c.Member.Joined = list, func() { t.Error("the start was said to have gone well") }
		}
		if err := r.wait(r.source(1, joined)); err == nil || !strings.Contains(err.Error(), list+", line 3: ") {
			t.Errorf("%q: error %v, want one that names the line", bad, err)
		}
	}
	if err := r.wait(r.source(1, func(c *Config) { c.Leader.PathsFrom = "/nonexistent/list" })); err == nil || !strings.Contains(err.Error(), "/nonexistent/list") {
		t.Errorf("error %v, want one that names the file", err)
	}
	if _, ok, err := r.zk().Exists(t.Context(), r.tree().Ready()); ok || err != nil {
		t.Errorf("the session has begun (%v)", err)
	}
}
