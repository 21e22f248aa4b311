// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

func TestRawCarriesEveryByte(t *testing.T) {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	line, err := json.Marshal(Raw(all[:]))
	ok(t, err)
	var back Raw
	ok(t, json.Unmarshal(line, &back))
	if back != Raw(all[:]) {
		t.Errorf("%q came back as %q", all, back)
	}
	if err := json.Unmarshal([]byte(`"ŋ"`), &back); err == nil {
		t.Error("a character beyond Latin-1 was taken for a byte")
	}
}

func TestPeerSteps(t *testing.T) {
	t.Parallel()
	py, path := stepped(t), own(t)
	py.Do("node create", Fields{"path": path, "data": Raw("\x00\xff"), "makepath": true})
	got := value[struct{ Data Raw }](t, py.Do("node get", Fields{"path": path}))
	if got.Data != "\x00\xff" {
		t.Errorf("data came back as %q", got.Data)
	}
	if got := py.Begin("node get", Fields{"path": path + "/no"}).Err(); !strings.HasPrefix(got, "NoNodeError") {
		t.Errorf("a missing node: %q", got)
	}
	if got := py.Begin("fly", nil).Err(); !strings.Contains(got, "fly") {
		t.Errorf("an unknown step: %q", got)
	}
	py.Close()
}

// inSession is a peer in a role (or "state") of a session, with short waits, on loopback alone.
func inSession(t testing.TB, session, path, port string, mode ...string) *Peer {
	t.Helper()
	return StartPeer(t, server.Addr(), append([]string{
		"--session", session, "--path", path, "--depth", "1", "--host", "localhost", "--address", "127.0.0.1",
		"--startport", port, "--take", "0.5", "--pause", "0.1", "--base-pause", "0.5", "--tick", "0.05",
	}, mode...)...)
}

// A session of Python peers alone is the measure of the mixed ones. It has to be right itself, with
// every name that a list of lines can carry.
func TestSessionOfPeers(t *testing.T) {
	t.Parallel()
	src, dst := filepath.Join(t.TempDir(), "src"), t.TempDir()
	ok(t, testtree.MakeTree(src, testtree.TreeOptions{Fanout: []int{2, 2}, Files: 2, Size: 1000, Names: testtree.LineNames}))
	paths, files := 1, int64(0) // at depth 1: the root, and each directory in it
	ok(t, filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() && filepath.Dir(path) == src {
			paths++
		}
		if d.Type().IsRegular() {
			files++
		}
		return err
	}))
	session, port := path.Base(own(t)), strconv.Itoa(zktest.Ports(t, 2))
	start := func(path string, mode ...string) *Peer { return inSession(t, session, path, port, mode...) }
	wantExit := func(p *Peer, who string, want int) {
		t.Helper()
		if code := p.Exit(); code != want {
			t.Errorf("%s ended with %d, want %d: %v", who, code, want, p.All("error"))
		}
	}

	// Without a master there is nothing to follow, and no session. (The session's name is
	// another one, because such a destination ends without closing its ZooKeeper session, and
	// counts as connected until that is over.)
	wantExit(inSession(t, session+"-none", dst, port, "role", "destination"), "a destination without master", 1)
	wantExit(start(src, "state"), "state without master", 14)

	master := start(src, "role", "master")
	total := master.Await("queued").Count
	if total != paths {
		t.Errorf("%d paths were queued, want %d", total, paths)
	}
	wantExit(start(src, "role", "master"), "a second master", 1)
	state := start(src, "state")
	wantExit(state, "state", 0)
	if got := state.All("state"); len(got) != 1 || !got[0].Active || got[0].Remaining != total {
		t.Errorf("state says %+v", got)
	}

	slaves := []*Peer{start(src, "role", "slave"), start(src, "role", "source")}
	dests := []*Peer{start(dst, "role", "destination"), start(dst, "role", "destination")}
	wantExit(master, "the master", 0)
	done := map[Raw]int{}
	for _, slave := range slaves {
		wantExit(slave, "a slave", 0)
		for _, e := range slave.All("path done") {
			done[e.Path]++
		}
	}
	for _, dest := range dests {
		wantExit(dest, "a destination", 0)
	}
	if dests[0].Await("port").Port == dests[1].Await("port").Port {
		t.Error("two destinations of one host have one port")
	}
	end := master.Await("cleaned up")
	if end.Completed != total || end.Failed != 0 || end.Unfinished != 0 {
		t.Errorf("the master ends with %+v", end)
	}
	for _, e := range master.All("completed") {
		if done[e.Path] != 1 {
			t.Errorf("%q was done %d times", e.Path, done[e.Path])
		}
	}
	if got := master.Await("stats").Stats["Number_of_regular_files_transferred"]; got != files {
		t.Errorf("%d files were sent, want %d", got, files)
	}
	differences, err := testtree.Compare(src, dst)
	ok(t, err)
	for _, line := range differences {
		t.Error(line)
	}
}

// A master that finds the watch node of one that has died cleans up after it, and ends.
func TestPeerCleansUpAfterADeadMaster(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "src")
	ok(t, testtree.MakeTree(src, testtree.TreeOptions{Fanout: []int{2}}))
	session := path.Base(own(t))
	first := inSession(t, session, src, "0", mortalOption, "role", "master")
	total := first.Await("queued").Count
	first.Kill()

	c := connect(t)
	until(t, "the dead master's session is over", func() bool {
		names, err := c.Children(t.Context(), "/admin/rsync/"+session+"/parties/allsd")
		ok(t, err)
		return len(names) == 0
	})
	second := inSession(t, session, src, "0", "role", "master")
	if code := second.Exit(); code != 1 {
		t.Errorf("ended with %d, want 1", code)
	}
	if got := second.Await("cleaned up"); got.Unfinished != total || len(second.All("unfinished")) != total {
		t.Errorf("%d paths were queued; cleaned up: %+v", total, got)
	}
	third := inSession(t, session, src, "0", "role", "master")
	third.Await("queued")
}

// A destination whose base path goes away is paused, disabled by the slave that meets it, and comes
// back.
func TestPeerDestinationComesBack(t *testing.T) {
	t.Parallel()
	src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
	ok(t, testtree.MakeTree(src, testtree.TreeOptions{Fanout: []int{3}, Files: 1, Size: 10}))
	ok(t, os.Mkdir(dst, 0o755))
	session, port := path.Base(own(t)), strconv.Itoa(zktest.Ports(t, 2))

	master := inSession(t, session, src, port, "role", "master")
	master.Await("queued")
	dest := inSession(t, session, dst, port, "role", "destination")
	dest.Await("destination active")
	dest.Await("destination queued")
	ok(t, os.Rename(dst, dst+".away"))
	if e := dest.Await("destination paused"); e.Was != "active" {
		t.Errorf("paused when it was %q", e.Was)
	}
	slave := inSession(t, session, src, port, "role", "slave")
	slave.Await("destination disabled")
	slave.Await("path returned")
	ok(t, os.Rename(dst+".away", dst))
	if e := dest.Await("destination active"); e.Was != "disabled" {
		t.Errorf("active again when it was %q", e.Was)
	}
	dest.Await("destination queued")
	for _, p := range []*Peer{master, slave, dest} {
		if code := p.Exit(); code != 0 {
			t.Errorf("a peer ended with %d: %v", code, p.All("error"))
		}
	}
	if end := master.Await("cleaned up"); end.Completed != 4 || end.Failed != 0 {
		t.Errorf("the master ends with %+v", end)
	}
	differences, err := testtree.Compare(src, dst)
	if err != nil || len(differences) > 0 {
		t.Errorf("differences: %q, %v", differences, err)
	}
}
