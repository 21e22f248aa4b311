// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

func TestRun(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{4, 3, 2}, Files: 3, Size: 2000, Names: testtree.OddNames})
	doneFile := filepath.Join(t.TempDir(), "done.gz")
	master := r.source(1, func(c *Config) { c.Leader.DoneFile = doneFile; c.Leader.Depth = 3 })
	r.waitFor("pathqueue building finished")
	r.finish(master, r.source(2), r.source(3), r.destination(4), r.destination(5))
	r.identical()
	r.left()

	log := r.log.String()
	queued := strings.Count(log, "is sending path")
	if queued < 1+4+12+24 {
		t.Errorf("%d paths sent, the plain directories alone are more", queued)
	}
	if n := strings.Count(log, "Completed Path "); n != queued {
		t.Errorf("%d paths completed, %d sent", n, queued)
	}
	want := `{"unfinished": 0, "failed": 0, "completed": ` + strconv.Itoa(queued) + `, "vanished": 0, "changed": 0, "skipped": 0}`
	if got := pythonReads(t, doneFile); !strings.Contains(got, want) {
		t.Errorf("done-file %s, want %s", got, want)
	}
	if !strings.Contains(log, `\"Number_of_regular_files_transferred\": `) || strings.Contains(log[strings.LastIndex(log, "progress stats"):], `\"Number_of_regular_files_transferred\": 0,`) {
		t.Error("the last statistics count no file")
	}
}

func TestClientsMayComeBeforeTheMaster(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	dest := r.destination(2)
	// A slave that is first would be the master: hold the lock until it waits.
	lock := r.zk().Lock(r.tree().Lock(), "")
	if ok, err := lock.TryAcquire(t.Context()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	slave := r.source(3)
	r.until("both have joined", func() bool {
		n, err := r.zk().Party(r.tree().Party(wire.PartyAll), "").Count(t.Context())
		return err == nil && n == 2
	})
	time.Sleep(300 * time.Millisecond) // they must not end now
	if err := lock.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.finish(r.source(1), slave, dest)
	r.identical()
}

func TestEmptySourceWithDelete(t *testing.T) {
	r := newRig(t)
	if err := os.Mkdir(r.src, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dst, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.age()
	withDelete := func(c *Config) { c.Rsync.Delete = true }
	err := r.wait(r.source(1, withDelete))
	if err == nil || !strings.Contains(err.Error(), "--allow-empty") || !strings.Contains(err.Error(), r.src) {
		t.Fatalf("error %v, want one that names the source and --allow-empty", err)
	}
	allow := func(c *Config) { c.Base.AllowEmpty = true }
	r.finish(r.source(1, withDelete, allow), r.slave(2, withDelete, allow), r.destination(3))
	r.identical() // now it is what the user asked for: everything deleted
}

// A file system that goes away while slaves work must not wipe the destination.
func TestSourceThatBecomesEmpty(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	if err := os.CopyFS(r.dst, os.DirFS(r.src)); err != nil {
		t.Fatal(err)
	}
	withDelete := func(c *Config) { c.Rsync.Delete = true }
	master := r.source(1, withDelete)
	r.waitFor("pathqueue building finished")
	slave := r.source(2, withDelete)
	r.waitFor("event=no-destination")
	away := r.src + ".away"
	if err := errors.Join(os.Rename(r.src, away), os.Mkdir(r.src, 0o755)); err != nil {
		t.Fatal(err)
	}
	dest := r.destination(3)
	r.waitFor("event=base-away")
	if err := r.wait(r.source(4, withDelete)); err == nil || !strings.Contains(err.Error(), "--allow-empty") {
		t.Errorf("error %v, want a new slave to refuse the empty source", err)
	}
	if _, err := os.Stat(filepath.Join(r.dst, "dir000")); err != nil {
		t.Errorf("the destination was wiped: %v", err)
	}
	if err := errors.Join(os.Remove(r.src), os.Rename(away, r.src)); err != nil {
		t.Fatal(err)
	}
	r.finish(slave, dest, master)
	r.identical()
}

// slave is a source started when there is a master.
func (r *rig) slave(n int, change ...func(*Config)) *running {
	r.t.Helper()
	r.waitFor("removing old queue and building new queue")
	return r.source(n, change...)
}

func TestUncleanRunIsCleanedUpBySingleSource(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.source(1)
	r.waitFor("pathqueue building finished")
	master.stop(errStopped)
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatalf("error %v, want the cause of the stop", err)
	}

	other := r.destination(2) // someone else is there: nothing may be touched
	r.waitFor("Added destination")
	if err := r.wait(r.source(3)); !errors.Is(err, ErrUnclean) || !strings.Contains(err.Error(), "1 other client") {
		t.Fatalf("error %v, want ErrUnclean that counts the others", err)
	}
	if n, err := r.zk().Queue(r.tree().PathQueue()).Len(t.Context()); n != 10 || err != nil {
		t.Fatalf("%d paths in the queue (%v), want all 10 untouched", n, err)
	}
	other.stop(errStopped)
	if err := r.wait(other); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}

	doneFile := filepath.Join(t.TempDir(), "done.gz")
	if err := r.wait(r.source(4, func(c *Config) { c.Leader.DoneFile = doneFile })); !errors.Is(err, ErrUnclean) {
		t.Fatalf("error %v, want ErrUnclean after the clean-up", err)
	}
	if n := strings.Count(r.log.String(), "Unfinished Path "); n != 10 {
		t.Errorf("%d unfinished paths logged, want 10", n)
	}
	if got := pythonReads(t, doneFile); !strings.Contains(got, `{"unfinished": 10, "failed": 0, "completed": 0, "vanished": 0, "changed": 0, "skipped": 0}`) {
		t.Errorf("done-file %s", got)
	}
	r.left()
	r.finish(r.source(5), r.slave(6), r.destination(7)) // a new run begins
	r.identical()
}

func TestFailedPath(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.age("dir000", "dir000/dir000")
	bad := filepath.Join(r.src, "dir000", "dir000")
	// A directory that is not empty stands where a file is to be written.
	if err := os.MkdirAll(filepath.Join(r.dst, "dir000/dir000/file000/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	failed, report := filepath.Join(t.TempDir(), "failed"), filepath.Join(t.TempDir(), "report")
	master := r.source(1, func(c *Config) { c.Leader.Failed, c.Leader.Report = failed, report })
	slave, dest := r.slave(2, oneByOne), r.destination(3)
	err := r.wait(master)
	if !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "1 failed") {
		t.Errorf("error %v, want wire.ErrIncomplete with 1 failed", err)
	}
	r.finish(slave, dest) // for them the session has ended
	log := r.log.String()
	if !strings.Contains(log, "Failed Path 1_"+bad) || !strings.Contains(log, "There were issues with path 1_"+bad) {
		t.Errorf("the failed path is not named in the log:\n%s", log)
	}
	if n := strings.Count(log, "is sending path "+bad+" "); n%3 != 0 || n == 0 {
		t.Errorf("%d attempts, want 3 a pass", n)
	}
	r.left()
	if got := r.read(failed); got != "1_"+bad+"\n" {
		t.Errorf("--failed has %q", got)
	}
	if got := r.read(report); !strings.Contains(got, `"path":"1_`+bad+`","outcome":"failed","attempts":3,`) ||
		!strings.Contains(got, "could not make way") || !strings.Contains(got, `{"type":"total",`) {
		t.Errorf("--report has %s", got)
	}

	// What failed can be sent again by itself.
	if err := os.RemoveAll(filepath.Join(r.dst, "dir000/dir000/file000")); err != nil {
		t.Fatal(err)
	}
	r.log.reset()
	again := r.source(4, func(c *Config) { c.Leader.PathsFrom = failed })
	r.finish(r.slave(5), r.destination(6), again)
	r.identical()
	if n := strings.Count(r.log.String(), "is sending path"); n != 1 {
		t.Errorf("%d paths sent, want the failed one", n)
	}
}

func TestDestinationWhoseBasePathGoesAway(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.source(1)
	dest := r.destination(2)
	r.waitFor("Added destination")
	away := r.dst + ".away"
	if err := os.Rename(r.dst, away); err != nil {
		t.Fatal(err)
	}
	r.waitFor("was paused")
	slave := r.source(3)
	r.until("the slave has disabled it", func() bool {
		data, _, err := r.zk().Get(t.Context(), r.tree().Dest(dest127(2)))
		return err == nil && string(data) == wire.Disabled
	})
	r.until("it is out of the queue of destinations", func() bool {
		n, err := r.zk().Queue(r.tree().ExtDestQueue()).Len(t.Context())
		return err == nil && n == 0
	})
	if err := os.Rename(away, r.dst); err != nil {
		t.Fatal(err)
	}
	r.finish(master, slave, dest)
	r.identical()
	if n := strings.Count(r.log.String(), "was activated"); n != 2 {
		t.Errorf("activated %d times, want 2", n)
	}
}

func dest127(n int) string { return wire.Whoami("127.0.0."+strconv.Itoa(n), os.Getpid()) }

// Without verification a destination is active whatever its path does, so that
// Python sources use it too.
func TestDestinationWithoutVerification(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	dest := r.destination(2, func(c *Config) { c.Base.VerifyPath = false })
	r.finish(r.source(1), r.slave(3), dest)
	r.identical()
	if !strings.Contains(r.log.String(), "was activated") {
		t.Error("the destination was not activated")
	}
}

func TestFixedPortOfAnother(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	port := freePort(t)
	fixed := func(c *Config) { c.Destination.Port = port; c.Member.Zookeeper.SessionTimeout = time.Second }
	master := r.source(1)
	first := r.destination(2, fixed)
	r.waitFor("Added destination")
	err := r.wait(r.destination(2, fixed, func(c *Config) { c.Member.Host = "127.0.0.2" }))
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("error %v, want one that names the port", err)
	}
	master.stop(errStopped)
	first.stop(errStopped)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestTwoDestinationsOfOneHostTakeTwoPorts(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.source(1)
	one, two := r.destination(2), r.destination(3)
	r.until("both are queued", func() bool {
		n, err := r.zk().Queue(r.tree().ExtDestQueue()).Len(t.Context())
		return err == nil && n == 2
	})
	zk := r.zk()
	a, _, err := zk.Get(t.Context(), r.tree().PortMap(dest127(2)))
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := zk.Get(t.Context(), r.tree().PortMap(dest127(3)))
	if err != nil {
		t.Fatal(err)
	}
	if string(a) == string(b) {
		t.Errorf("both use port %s", a)
	}
	r.finish(master, r.source(4), r.source(5), one, two)
	r.identical()
}

// slow makes a transfer take seconds.
func slow(c *Config) { c.Rsync.Extra = []string{"bwlimit:50"} }

func TestStopInTheMiddleGivesThePathBack(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{2}, Files: 1, Size: 600_000})
	master := r.source(1, func(c *Config) { c.Leader.Depth = 1 })
	dest := r.destination(2)
	slave := r.slave(3, slow)
	r.waitFor("is sending path")
	begin := time.Now()
	slave.stop(errStopped)
	if err := r.wait(slave); !errors.Is(err, errStopped) {
		t.Fatalf("error %v, want the cause of the stop", err)
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the stop took %v: the slave waited for its rsync", took)
	}
	taken, err := r.zk().Children(t.Context(), r.tree().PathQueue()+"/taken")
	if err != nil || len(taken) != 0 {
		t.Errorf("taken %v (%v), want none", taken, err)
	}
	r.finish(r.source(4), master, dest)
	r.identical()
}

func TestState(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	if s := r.state(); s.State != status.None {
		t.Errorf("%+v before the session", s)
	}
	if _, ok, err := r.zk().Exists(t.Context(), r.tree().Root()); ok || err != nil {
		t.Errorf("asking made the session's node (%v)", err)
	}
	master := r.source(1)
	r.waitFor("pathqueue building finished")
	if s := r.state(); s.State != status.Running || s.Paths.Remaining != 10 || s.Paths.Failed != 0 {
		t.Errorf("%+v, want 10 remaining", s)
	}
	r.finish(r.source(2), r.destination(3), master)
	if s := r.state(); s.State != status.None {
		t.Errorf("%+v after the session", s)
	}
}

func TestPathsOnly(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	built, err := PathsOnly(t.Context(), r.config(1, r.src))
	if err != nil || built.Paths != 10 || built.Took <= 0 {
		t.Errorf("%+v, %v, want 10 paths", built, err)
	}
	r.left()

	master := r.source(1)
	r.waitFor("pathqueue building finished")
	if _, err := PathsOnly(t.Context(), r.config(2, r.src)); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v, want ErrLocked", err)
	}
	master.stop(errStopped)
	if err := r.wait(master); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if _, err := PathsOnly(t.Context(), r.config(3, r.src)); !errors.Is(err, ErrUnclean) {
		t.Errorf("error %v, want ErrUnclean", err)
	}
	if n, err := r.zk().Queue(r.tree().PathQueue()).Len(t.Context()); n != 10 || err != nil {
		t.Errorf("%d paths (%v): the unfinished ones are lost", n, err)
	}
}

func TestNetcat(t *testing.T) {
	r := newRig(t)
	netcat := func(c *Config) { c.Lines = 15; c.Base.Path = "/nonexistent"; c.Rsync.Delete = true }
	lines := &logBuffer{}
	dest := r.start(Destination, r.config(2, "", netcat, func(c *Config) { c.Output = lines }))
	r.finish(r.source(1, netcat), r.slave(3, netcat), dest)
	for i := range 15 {
		if !strings.Contains(lines.String(), dest127(3)+" is sending "+strconv.Itoa(i)+"\n") {
			t.Errorf("the line of path %d did not arrive:\n%s", i, lines)
		}
	}
	if n := strings.Count(r.log.String(), "Completed Path "); n != 15 {
		t.Errorf("%d paths completed, want %d", n, 15)
	}
}

// Names that a Python slave would misread never stand in the queue it reads.
func TestOddNamesAreOnlyForGo(t *testing.T) {
	r := newRig(t)
	names := []string{"#x", ";y", "a\nb", "c\r", "plain", "plain/#z"}
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(r.src, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.age(names...)
	master := r.source(1)
	r.waitFor("pathqueue building finished")
	zk := r.zk()
	for queue, want := range map[string]int{r.tree().ExtQueue(): 4, r.tree().PathQueue(): 3} {
		if n, err := zk.Queue(queue).Len(t.Context()); n != want || err != nil {
			t.Errorf("%d entries in %s (%v), want %d", n, queue, err, want)
		}
	}
	r.finish(r.source(2), r.destination(3), master)
	r.identical()
}

// Every client loses its ZooKeeper session in the middle of the work, and the
// run still ends as it should.
func TestLostZooKeeperSession(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{3, 2}, Files: 1, Size: 100_000})
	proxy := zktest.NewProxy(t, r.addr)
	direct := r.addr
	r.addr = proxy.Addr()
	short := func(c *Config) { c.Member.Zookeeper.SessionTimeout = 2 * time.Second }
	master := r.source(1, short)
	dest := r.destination(2, short)
	slave := r.slave(3, short, slow)
	r.waitFor("is sending path")
	proxy.Cut()
	r.until("all three have seen it", func() bool {
		return strings.Count(r.log.String(), "event=session-lost") >= 3 // sessions are short, and the machine may be busy
	})
	r.addr = direct
	r.until("ZooKeeper has seen it too", func() bool {
		n, err := r.zk().Party(r.tree().Party(wire.PartyAll), "").Count(t.Context())
		return err == nil && n == 0
	})
	proxy.Heal()
	r.finish(master, slave, dest)
	r.identical()
	if n := strings.Count(r.log.String(), "Completed Path "); n != 10 {
		t.Errorf("%d paths completed, want each of 10 once", n)
	}
	r.left()
}

// A result that the master has told, and then loses ZooKeeper before it is counted, is told once and counted once.
func TestResultToldBeforeALoss(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	proxy := zktest.NewProxy(t, r.addr)
	report := filepath.Join(t.TempDir(), "report")
	lost := r.when("Completed Path ", proxy.Cut)
	master := r.queued(lost, func(c *Config) {
		c.Leader.Report = report
		c.Member.Zookeeper.Servers, c.Member.Zookeeper.SessionTimeout = []string{proxy.Addr()}, 2*time.Second
	})
	slave, dest := r.source(2, noMaster), r.destination(3)
	r.waitFor("event=session-lost")
	proxy.Heal()
	r.finish(slave, dest, master)
	r.reported(report)
	if n := strings.Count(r.log.String(), "Completed Path "); n != 10 {
		t.Errorf("%d paths told, want each of 10 once", n)
	}
	r.identical()
}

// An rsync that does not heed SIGTERM is dead before the path of its slave, whose ZooKeeper session is lost, can be
// another's: two at once over a directory would delete each other's files.
func TestStubbornRsyncOfLostSession(t *testing.T) {
	r := newRigAlone(t)
	r.makeTree(testtree.TreeOptions{Files: 1, Size: 10})
	rsync, err := exec.LookPath("rsync")
	r.must(err)
	bin, alive := t.TempDir(), filepath.Join(t.TempDir(), "alive")
	r.must(os.WriteFile(filepath.Join(bin, "rsync"), []byte(`#!/bin/sh
case "$*" in *" rsync://"*) ;; *) exec `+rsync+` "$@" ;; esac
trap "" TERM
while :; do touch `+alive+`; sleep 0.05; done
`), 0o755))
	path := os.Getenv("PATH")
	t.Setenv("PATH", bin+":"+path)
	master := r.queued(deleting)
	dest := r.destination(2)
	proxy := zktest.NewProxy(t, r.addr)
	slave := r.source(3, deleting, func(c *Config) { c.Member.Zookeeper.Servers = []string{proxy.Addr()} })
	r.until("rsync is at work", func() bool { _, err := os.Stat(alive); return err == nil })
	t.Setenv("PATH", path)
	zk := r.zk()
	proxy.Cut()
	r.until("another slave could have the path", func() bool {
		taken, err := zk.Children(t.Context(), r.tree().PathQueue()+"/taken")
		return err == nil && len(taken) == 0
	})
	freed := time.Now()
	time.Sleep(300 * time.Millisecond) // if it lives on, it shows that
	info, err := os.Stat(alive)
	if r.must(err); info.ModTime().After(freed.Add(-50 * time.Millisecond)) {
		t.Errorf("rsync was at work %v before the path was free for others", freed.Sub(info.ModTime()))
	}
	proxy.Heal()
	r.finish(slave, dest, master)
	r.identical()
}

// Attempts at a path that fails are further and further apart.
func TestBackOff(t *testing.T) {
	r := newRig(t)
	r.put(r.src, "a")
	r.must(os.MkdirAll(filepath.Join(r.dst, "a/file/in/the/way"), 0o755))
	r.age("a")
	const retry = 400 * time.Millisecond
	master := r.queued(depth1)
	slave, dest := r.source(2, func(c *Config) { c.Member.Timing.Retry = retry }), r.destination(3)
	times := func(texts ...string) (times []time.Time) { // when they were logged, one after the other
		for i, text := range texts {
			r.until(text, func() bool { return strings.Count(r.log.String(), text) > i/2 })
			times = append(times, time.Now())
		}
		return times
	}
	begun, failed := "is sending path "+r.path("a")+" ", "rsync of path 1_"+r.path("a")+" "
	at := times(begun, failed, begun, failed, begun)
	for i := range attempts - 1 {
		want := retry*time.Duration(i+1) - 50*time.Millisecond // the look at the log comes late
		if pause := at[2*i+2].Sub(at[2*i+1]); pause < want {
			t.Errorf("attempt %d came after %v, want %v at least", i+2, pause, want)
		}
	}
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want wire.ErrIncomplete", err)
	}
	r.finish(slave, dest)
}

// When somebody has cleaned up in the meantime, a master must not go on.
func TestMasterWhoseSessionWasCleanedUp(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	proxy := zktest.NewProxy(t, r.addr)
	direct := r.addr
	r.addr = proxy.Addr()
	short := func(c *Config) { c.Member.Zookeeper.SessionTimeout = 2 * time.Second }
	master := r.source(1, short)
	r.waitFor("pathqueue building finished")
	proxy.Cut()
	r.waitFor("event=session-lost")
	r.addr = direct
	r.until("it has gone", func() bool {
		n, err := r.zk().Party(r.tree().Party(wire.PartyAll), "").Count(t.Context())
		return err == nil && n == 0
	})
	if err := r.wait(r.source(2)); !errors.Is(err, ErrUnclean) {
		t.Fatal(err)
	}
	proxy.Heal()
	if err := r.wait(master); err == nil || !strings.Contains(err.Error(), "cleaned up") {
		t.Errorf("error %v, want one that says the session was cleaned up", err)
	}
}

// What is wrong with the walk is found before the session begins.
func TestBadWalkChangesNothing(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	for name, change := range map[string]func(*Config){
		"elsewhere":        func(c *Config) { c.Leader.Subpaths = []string{"3_elsewhere"} },
		"no-such-user-xyz": func(c *Config) { c.Base.Exclude, c.Base.ExcludeUser = regexp.MustCompile("x"), "no-such-user-xyz" },
	} {
		joined := func(c *Config) { c.Member.Joined = func() { t.Error("the start was said to have gone well") } }
		if err := r.wait(r.source(1, change, joined)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one that names %s", err, name)
		}
	}
	if _, ok, err := r.zk().Exists(t.Context(), r.tree().Ready()); ok || err != nil {
		t.Errorf("the session has begun (%v)", err)
	}
}

func TestBadSessionNames(t *testing.T) {
	for _, name := range []string{"", " ", "/elsewhere", "/admin", "a//b", "../x"} {
		c := Config{Member: member.Config{Session: name, Zookeeper: zkclient.Config{Servers: []string{"127.0.0.1:1"}}}, Base: guard.Config{Path: "/tmp"}}
		if err := Source(context.Background(), c); err == nil || !strings.Contains(err.Error(), "session") {
			t.Errorf("session %q: error %v, want one about the session's name", name, err)
		}
	}
}

func TestRefusedRsyncOptions(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	c := r.config(1, r.src)
	c.Rsync = rsyncrunner.Options{Extra: []string{"no-implied-dirs"}}
	if err := Source(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no-implied-dirs") {
		t.Errorf("error %v, want one that names the option", err)
	}
}
