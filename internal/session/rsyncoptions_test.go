// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
)

// anACL is an access control list that gives user 1 the right to read.
var anACL = []byte{2, 0, 0, 0,
	1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255}

// extras are options of rsync's own.
func extras(options ...string) func(*Config) {
	return func(c *Config) { c.Rsync.Extra = options }
}

// asOneRsync fails the test unless the destination is what one rsync with these options makes of a
// copy of what it was.
func (r *rig) asOneRsync(before string, args ...string) {
	r.t.Helper()
	if out, err := exec.Command("rsync", append(append([]string{"-a"}, args...), r.src+"/", before)...).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	differences, err := testtree.Compare(before, r.dst)
	if err != nil || len(differences) > 0 {
		r.t.Errorf("one rsync and the session differ: %v\n%s\nlog:\n%s", err, strings.Join(differences, "\n"), r.log)
	}
}

// What the user's rules leave out stays out also where it would be a path of its own, or lie below one;
// and hard links out of what is sent are kept.
func TestRulesLeaveOutPaths(t *testing.T) {
	for _, rules := range [][]string{
		{"exclude:tmp"}, {"exclude:/dir000/tmp/"}, {"exclude:dir001/dir*"}, {"include:/dir001/", "exclude:/*/"}, {"filter:hide tmp", "exclude:*.o"},
	} {
		t.Run(strings.ReplaceAll(rules[0], "/", "|"), func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.put(r.src, "tmp", "dir000/tmp/below", "dir001/dir000/tmp", "dir002/tmp")
			r.must(os.Link(r.path("dir000/file000"), r.path("dir001/link.o")), os.Link(r.path("dir000/file000"), r.path("dir001/dir001/link")),
				os.Link(r.path("dir001/file000"), r.path("tmp/link")), os.Link(r.path("dir001/dir000/file000"), r.path("dir001/dir001/link2")),
				os.WriteFile(r.path("dir001/big"), make([]byte, 8<<10), 0o644), os.Link(r.path("dir001/big"), r.path("dir002/big")))
			r.put(r.dst, "tmp/mine", "dir000/tmp/mine", "dir001/tmp", "dir002/extra")
			r.age("dir000", "dir001", "dir002", "tmp", "dir001/dir000", "dir001/dir001", "dir000/tmp", "dir000/tmp/below", "dir001/dir000/tmp", "dir002/tmp")
			before := t.TempDir()
			r.must(exec.Command("cp", "-a", r.dst+"/.", before).Run())
			change := func(c *Config) { c.Rsync.Delete, c.Rsync.HardLinks, c.Rsync.Extra = true, true, rules }
			r.finish(r.source(1, change), r.slave(2, change, oneByOne), r.destination(3))
			args := []string{"-H", "--delete"}
			for _, rule := range rules {
				args = append(args, "--"+strings.Replace(rule, ":", "=", 1))
			}
			r.asOneRsync(before, args...)
		})
	}
}

// ACLs and extended attributes are sent if asked for, and compared; if not, each source says once
// that it leaves some behind, unless it was told to.
func TestACLsAndExtendedAttributes(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	for _, name := range []string{"dir000", "dir001/file000", "dir002/dir000/file001", "dir002/dir001", "file000"} {
		r.must(unix.Setxattr(r.path(name), "user.test", []byte(name), 0), unix.Setxattr(r.path(name), "system.posix_acl_access", anACL, 0))
	}
	r.age("dir000", "dir002/dir001")
	told := func() int { return strings.Count(r.log.String(), "event=not-sent") }

	r.finish(r.source(1), r.slave(2, oneByOne), r.destination(3))
	if n := told(); n != 2 || !strings.Contains(r.log.String(), "--acls") || !strings.Contains(r.log.String(), "--xattrs") {
		t.Errorf("told %d times, want once of each:\n%s", n, r.log)
	}
	r.log.reset()
	silent := extras("no-acls", "no-X")
	r.finish(r.source(1, silent), r.slave(2, silent), r.destination(3))
	if n := told(); n != 0 {
		t.Errorf("told %d times of what was not asked for", n)
	}

	both := func(c *Config) { c.Rsync.ACLs, c.Rsync.XAttrs = true, true }
	verify := func(c *Config) { both(c); c.Rsync.Verify = true }
	report := filepath.Join(t.TempDir(), "report")
	if err := r.wait(r.withReport(report, verify)); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("a comparison with what was not sent: %v", err)
	}
	r.finish(r.source(1, both), r.slave(2, both), r.destination(3))
	for _, name := range []string{"dir000", "dir001/file000", "dir002/dir000/file001", "dir002/dir001", "file000"} {
		for _, attribute := range []string{"user.test", "system.posix_acl_access"} {
			want, got := make([]byte, 100), make([]byte, 100)
			_, err1 := unix.Getxattr(r.path(name), attribute, want)
			_, err2 := unix.Getxattr(filepath.Join(r.dst, name), attribute, got)
			if err1 != nil || err2 != nil || string(want) != string(got) {
				t.Errorf("%s of %s: %v, %v", attribute, name, err1, err2)
			}
		}
	}
	if err := r.wait(r.withReport(report, verify)); err != nil {
		t.Errorf("a comparison with what was sent: %v", err)
	}
	if n := told(); n != 0 {
		t.Errorf("told %d times of what was sent", n)
	}
}

// withReport runs a session whose master is returned.
func (r *rig) withReport(report string, change func(*Config)) *running {
	r.t.Helper()
	master := r.source(1, change, func(c *Config) { c.Leader.Report, c.Jobs = report, 1 })
	r.destination(3)
	return master
}

// --one-file-system sends what is mounted below the base as an empty directory, and keeps what the
// destination has there.
func TestOneFileSystem(t *testing.T) {
	for _, given := range []func(*Config){func(c *Config) { c.Rsync.OneFileSystem = true }, extras("one-file-system")} {
		r := newRigAlone(t)
		r.makeTree(smallTree)
		for _, name := range []string{"mounted", "dir000/mounted", "dir001/dir000/mounted", "dir002/dir001"} {
			r.must(os.MkdirAll(r.path(name), 0o755), unix.Mount("tmpfs", r.path(name), "tmpfs", 0, "mode=0711"))
			t.Cleanup(func() { r.must(unix.Unmount(r.path(name), unix.MNT_DETACH)) })
			r.put(r.src, name, name+"/below/deep")
			r.put(r.dst, name+"/kept")
		}
		r.put(r.dst, "dir001/dir000/extra")
		before := t.TempDir()
		r.age("dir000", "dir001", "dir002", "dir001/dir000", "mounted", "dir000/mounted", "dir001/dir000/mounted", "dir002/dir001")
		r.must(exec.Command("cp", "-a", r.dst+"/.", before).Run())
		change := func(c *Config) { c.Rsync.Delete = true; given(c) }
		r.finish(r.source(1, change), r.slave(2, change), r.destination(3))
		r.asOneRsync(before, "--delete", "-x")
		r.left()
	}
}

// Names in maps of users and groups are numbers at the destination, whose rsync knows no names.
func TestUserMap(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.must(os.Chown(r.path("dir000"), 65534, 1), os.Chown(r.path("dir001/file000"), 1000, 65534), os.Chown(r.path("dir002/dir000/file000"), 1001, 1))
	before := t.TempDir()
	maps := func(c *Config) {
		c.Rsync.UserMap, c.Rsync.GroupMap = "nobody:daemon,1000:2000,1001:2001", "nogroup:7,1:nogroup"
	}
	r.age("dir000")
	r.finish(r.source(1, maps), r.slave(2, maps), r.destination(3))
	r.asOneRsync(before, "--usermap=nobody:daemon,1000:2000,1001:2001", "--groupmap=nogroup:7,daemon:nogroup")
}

// Numbers for people's eyes would be read as nothing.
func TestHumanReadableIsCounted(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{1}, Files: 1, Size: 1 << 20})
	report := filepath.Join(t.TempDir(), "report")
	human := extras("human-readable", "stats", "progress")
	r.finish(r.source(1, human, func(c *Config) { c.Leader.Report = report }), r.slave(2, human, oneByOne), r.destination(3))
	lines := r.reported(report)
	bytes := int64(0)
	for _, line := range lines[1 : len(lines)-1] {
		bytes += *line.Bytes
	}
	if bytes != 2<<20 {
		t.Errorf("%d bytes are reported, want those of two files", bytes)
	}
}

// A pattern that matches the base would leave out all of it, and the session end well.
func TestExcludeMatchesBase(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	for _, pattern := range []string{"src", "/src(/.*|$)", "^/"} {
		for _, role := range []func() error{
			func() error { return r.wait(r.source(1, excluding(pattern))) },
			func() error { _, err := PathsOnly(t.Context(), r.config(1, r.src, excluding(pattern))); return err },
		} {
			if err := role(); err == nil || !strings.Contains(err.Error(), "--excludere="+pattern) || !strings.Contains(err.Error(), r.src) {
				t.Errorf("%s: %v, want an error that names it and the base", pattern, err)
			}
		}
	}
}
