// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
)

// What --paths-from names twice, or below something that is sent with all below it, is sent once: two runs at once over one
// directory would delete each other's files.
func TestPathsFromTwice(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	list := filepath.Join(t.TempDir(), "list")
	r.must(os.WriteFile(list, []byte("1_"+r.path("dir001")+"\n1_"+r.path("dir001/dir000")+"\n1_"+r.path("dir001")+"\n0_"+r.path("dir001")+"\n"), 0o644))
	r.queued(deleting, func(c *Config) { c.Leader.PathsFrom = list })
	n, err := r.zk().Queue(r.tree().PathQueue()).Len(t.Context())
	if r.must(err); n != 1 {
		t.Errorf("%d entries queued over one directory, want 1", n)
	}
}

// A path that failed, and that a later pass has queued again in vain, is unfinished, and named once.
func TestFailedAndThenUnfinished(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	const odd = "odd\nname" // only for Go sources
	r.put(r.src, odd)
	r.must(os.MkdirAll(filepath.Join(r.dst, odd, "file/in/the/way"), 0o755))
	r.slowEnd()
	r.age(odd)
	r.rest()
	dir := t.TempDir()
	report, failed := filepath.Join(dir, "report"), filepath.Join(dir, "failed")
	master := r.queued(impatient, func(c *Config) { c.Leader.Report, c.Leader.Failed = report, failed; c.Leader.Depth = 2 })
	slowEndBegun := r.slowEndLast()
	slave, dest := r.source(2, slow, jobs(2)), r.destination(3, jobs(2)) // one of them is busy with the slow end
	slowEndBegun()
	r.waitFor("There were issues with path")
	// It changes, and the only Go source leaves: the next pass queues it for nobody.
	r.must(os.WriteFile(r.path(odd+"/new"), nil, 0o644))
	python := r.zk()
	r.must(python.Party(r.tree().Party(wire.PartySources), "python:1").Join(t.Context()))
	r.waitFor("Failed Path")
	slave.stop(errStopped)
	if err := r.wait(slave); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.wait(master) }()
	for over := false; !over; {
		select {
		case err := <-done:
			over = true
			t.Log(err)
		case <-time.After(100 * time.Millisecond):
			finishPaths(t, python, r.tree())
		}
	}
	r.finish(dest)
	if got := r.read(failed); strings.Count(got, "odd") != 1 {
		t.Errorf("--failed has %q, want the path once", got)
	}
	if got := r.read(report); strings.Contains(got, `"failed":1`) {
		t.Errorf("counted as failed and as unfinished: %s", got)
	}
}
