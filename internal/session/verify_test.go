// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
)

// verifying is --verify with --delete and --hardlinks.
func verifying(c *Config) { c.Rsync.Verify, c.Rsync.Delete, c.Rsync.HardLinks = true, true, true }

// --verify finds each kind of difference, and changes nothing.
func TestVerify(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{3, 2}, Files: 2, Size: 1000, FarHardLinks: true})
	r.must(exec.Command("cp", "-a", r.src+"/.", r.dst).Run())
	r.identical()
	output := &logBuffer{}
	out := func(c *Config) { c.Stdout = output }
	r.finish(r.source(1, verifying), r.slave(2, verifying, out), r.destination(3)) // no difference, no error
	if output.String() != "" {
		t.Errorf("differences where there are none:\n%s", output)
	}

	at := func(name string) string { return filepath.Join(r.dst, name) }
	info, err := os.Stat(at("dir000/dir000/file000"))
	r.must(err)
	old := time.Unix(1, 0)
	r.must(
		// Other content of the same size and time.
		os.WriteFile(at("dir000/dir000/file000"), []byte(strings.Repeat("x", 1000)), 0o644), os.Chtimes(at("dir000/dir000/file000"), info.ModTime(), info.ModTime()),
		os.Chmod(at("dir001/file000"), 0o600), os.Chtimes(at("dir001/file001"), old, old), os.Chown(at("dir001/dir000/file000"), 65534, -1),
		os.Remove(at("dir002/dir001/file001")), os.MkdirAll(at("dir002/dir000/extra/below"), 0o755), os.WriteFile(at("extra"), nil, 0o644),
		os.Chmod(at("dir002"), 0o700), os.Chmod(r.dst, 0o711),
		// A copy in place of a hard link.
		exec.Command("sh", "-c", "cp -p '"+at("far a/one")+"' '"+at("far a/new")+"' && mv '"+at("far a/new")+"' '"+at("far a/one")+"'").Run(),
	)
	r.copyTimes("dir002/dir001", "dir002/dir000", "far a", "")
	before, err := exec.Command("sh", "-c", "cd '"+r.dst+"' && find . -printf '%p %i %m %U %T@ %C@ %s\\n' | sort").Output()
	r.must(err)

	r.log.reset()
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(verifying, func(c *Config) { c.Leader.Report = report })
	slave, dest := r.source(2, verifying, out), r.destination(3)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "differences between source and destination") {
		t.Errorf("error %v, want wire.ErrIncomplete that counts the differences", err)
	}
	r.finish(slave, dest)
	after, err := exec.Command("sh", "-c", "cd '"+r.dst+"' && find . -printf '%p %i %m %U %T@ %C@ %s\\n' | sort").Output()
	if r.must(err); string(after) != string(before) {
		t.Errorf("the destination was changed:\n%s\nit was\n%s", after, before)
	}
	for _, want := range []string{
		"<fc........ dir000/dir000/file000", ".f...p..... dir001/file000", ".f..t...... dir001/file001", ".f....o.... dir001/dir000/file000",
		"<f+++++++++ dir002/dir001/file001", "*deleting dir002/dir000/extra/below/", "*deleting extra", ".d...p..... dir002/", ".d...p..... ./",
	} {
		// A directory is in the runs of two paths, its own and the one above.
		if n := strings.Count(output.String(), want+"\n"); n < 1 || n > 2 || n > 1 && !strings.HasSuffix(want, "/") {
			t.Errorf("said %d times: %s; all:\n%s", n, want, output)
		}
		r.logged(`msg="Difference ` + want)
		if !strings.Contains(r.read(report), want) {
			t.Errorf("not in the report: %s", want)
		}
	}
	if !strings.Contains(output.String(), "hf") || !strings.Contains(r.log.String(), "Difference hf") {
		t.Errorf("the hard link that is none is not said:\n%s", output)
	}
	lines := r.reported(report)
	if total := lines[len(lines)-1]; total.Differences != strings.Count(output.String(), "\n") || total.Completed != total.Queued {
		t.Errorf("%+v, %d lines", total.Counts, strings.Count(output.String(), "\n"))
	}
}

// copyTimes gives directories of the destination the times of the source.
func (r *rig) copyTimes(names ...string) {
	r.t.Helper()
	for _, name := range names {
		info, err := os.Stat(r.path(name))
		r.must(err, os.Chtimes(filepath.Join(r.dst, name), info.ModTime(), info.ModTime()))
	}
}

// A path with very many differences tells the master of the first.
func TestVerifyBoundsWhatTheMasterGets(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Files: 3 * maxExamples, Size: 10})
	output := &logBuffer{}
	change := func(c *Config) { c.Rsync.Verify, c.Stdout = true, output }
	master := r.source(1, change)
	slave, dest := r.slave(2, change), r.destination(3)
	if err := r.wait(master); err == nil || !strings.Contains(err.Error(), "301 differences") { // the base's time is one
		t.Errorf("error %v, want 301 differences", err)
	}
	r.finish(slave, dest)
	if n := strings.Count(output.String(), "\n"); n != 301 {
		t.Errorf("%d lines on the slave's output, want all 301", n)
	}
	if n := strings.Count(r.log.String(), `msg="Difference `); n != maxExamples {
		t.Errorf("%d lines in the master's log, want %d", n, maxExamples)
	}
}
