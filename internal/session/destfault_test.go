// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

// port is the one that a destination has published.
func (r *rig) port(n int) string {
	r.t.Helper()
	data, _, err := r.zk().Get(r.t.Context(), r.tree().PortMap(dest127(n)))
	r.must(err)
	return string(data)
}

// daemons are the processes that serve connections at the destinations of this session.
func (r *rig) daemons() []int { return r.rsyncs("--config=" + filepath.Dir(filepath.Dir(r.src)) + "/") }

// rsyncs are the processes of rsync that have a text in their command lines.
func (r *rig) rsyncs(with string) (pids []int) {
	r.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	r.must(err)
	for _, file := range files {
		command, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(command), "rsync\x00") && strings.Contains(string(command), with) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (r *rig) signal(pids []int, signal syscall.Signal) {
	r.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != syscall.ESRCH { // one may have ended with another
			r.must(err)
		}
	}
}

// attempts reads how often each path was tried.
func (r *rig) attempts(report string) map[string]int {
	r.t.Helper()
	tried := map[string]int{}
	for _, line := range r.reported(report) {
		if line.Type == "path" && line.Attempts != nil {
			tried[string(line.Path)] = *line.Attempts
		}
	}
	return tried
}

// A destination that falls silent in the middle of a transfer, as with a loss of
// power, frees the slave and the path once ZooKeeper has lost it.
func TestDestinationThatFallsSilent(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{1}, Files: 1, Size: 300_000})
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(deleting, func(c *Config) { c.Leader.Report = report; c.Leader.Depth = 1 })
	silent := r.destination(2)
	r.waitFor("Added destination")
	slave := r.source(3, deleting, slow) // a receiver that is killed leaves its temporary file
	r.until("the file is on its way", func() bool {
		found, err := filepath.Glob(filepath.Join(r.dst, ".file000.*"))
		return err == nil && len(found) > 0
	})
	pids := r.daemons()
	if len(pids) < 2 {
		t.Fatalf("processes %v, want the daemon and those of the transfer", pids)
	}
	r.signal(pids, syscall.SIGSTOP)
	time.Sleep(500 * time.Millisecond)
	r.must(r.zk().Delete(t.Context(), r.tree().PortMap(dest127(2))))
	r.waitFor("event=destination-left")
	dest := r.destination(4)
	r.waitFor("Completed Path 0_" + r.src)
	silent.stop(errStopped) // ends stopped processes too
	r.finish(slave, dest, master)
	r.identical()
	for path, n := range r.attempts(report) {
		if n != 1 {
			t.Errorf("%d attempts at %s, the one at the silent destination must not count", n, path)
		}
	}
}

// An rsync of the destination that dies is no failure of the path either.
func TestDestinationWhoseRsyncDies(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Fanout: []int{1}, Files: 1, Size: 300_000})
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(deleting, func(c *Config) { c.Leader.Report = report; c.Leader.Depth = 1 })
	dest := r.destination(2)
	r.waitFor("Added destination")
	slave := r.source(3, deleting, slow) // a receiver that is killed leaves its temporary file
	r.until("the file is on its way", func() bool {
		found, err := filepath.Glob(filepath.Join(r.dst, ".file000.*"))
		return err == nil && len(found) > 0
	})
	r.signal(r.daemons(), syscall.SIGKILL)
	r.finish(slave, dest, master)
	r.identical()
	for path, n := range r.attempts(report) {
		if n != 1 {
			t.Errorf("%d attempts at %s, want 1", n, path)
		}
	}
}

// Where another program answers, nothing is sent to and no path fails. The
// destination is offered again after the pause.
func TestStrangerOnThePort(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	stranger, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	defer stranger.Close()
	go func() {
		for {
			conn, err := stranger.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello\n"))
			_ = conn.Close()
		}
	}()
	const pause = 2 * time.Second
	quick := func(c *Config) { c.Member.Timing.SetAside = pause }
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(func(c *Config) { c.Leader.Report = report })

	// A destination as far as ZooKeeper knows.
	zk, port := r.zk(), stranger.Addr().(*net.TCPAddr).Port
	for _, kind := range []string{wire.PartyAll, wire.PartyDests} {
		r.must(zk.Party(r.tree().Party(kind), "127.0.0.1:1").Join(t.Context()))
	}
	_, err = zk.CreatePath(t.Context(), r.tree().PortMap("127.0.0.1:1"), strconv.AppendInt(nil, int64(port), 10), zkclient.Ephemeral)
	r.must(err)
	r.must(zk.Queue(r.tree().ExtDestQueue()).Put(t.Context(), zkclient.DefaultPriority, wire.Dest{Port: port, Whoami: "127.0.0.1:1"}.Encode()))

	slave := r.source(2, quick)
	aside := "event=set-aside destination=127.0.0.1:1 seconds=2"
	r.waitFor(aside)
	begin := time.Now()
	r.until("it was tried again", func() bool { return strings.Count(r.log.String(), aside) == 2 })
	if took := time.Since(begin); took < pause-200*time.Millisecond {
		t.Errorf("tried again after %v, want a pause of %v", took, pause)
	}
	r.logged("Added destination 127.0.0.1:1 to queue", "is no rsync daemon's greeting")
	dest := r.destination(3) // takes over
	r.waitFor("Progress: 0 of")
	zk.Close()
	r.finish(slave, dest, master)
	r.identical()
	for path, n := range r.attempts(report) {
		if n != 1 {
			t.Errorf("%d attempts at %s, those at the stranger must not count", n, path)
		}
	}
}

// A destination that answers, but at which everything fails, is set aside after
// three paths, and none of them fails.
func TestDestinationThatTakesNothing(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(func(c *Config) { c.Leader.Report = report })
	broken := filepath.Join(t.TempDir(), "broken")
	r.must(os.Mkdir(broken, 0o755))
	bad := r.start(Destination, r.config(2, broken, func(c *Config) { c.Base.VerifyPath = false }))
	r.waitFor("Added destination " + dest127(2))
	r.must(os.Remove(broken))
	slave := r.source(3)
	r.waitFor("event=set-aside destination=" + dest127(2) + " seconds=60")
	dest := r.destination(4)
	r.finish(slave, dest, bad, master)
	r.identical()
	r.logged("0 failed, 0 vanished, 0 changed, 0 unfinished")
	r.reported(report)
}

// A path that fails at every destination fails in the end.
func TestPathThatNoDestinationTakes(t *testing.T) {
	r := newRig(t)
	r.makeTree(testtree.TreeOptions{Files: 1, Size: 10})
	master := r.queued()
	r.must(os.RemoveAll(r.dst))
	unverified := func(c *Config) { c.Base.VerifyPath = false }
	dests := []*running{r.destination(3, unverified), r.destination(4, unverified)}
	r.waitFor("Added destination " + dest127(3))
	r.waitFor("Added destination " + dest127(4))
	slave := r.source(2)
	if err := r.wait(master); err == nil || !strings.Contains(err.Error(), "1 failed") {
		t.Errorf("error %v, want 1 failed", err)
	}
	r.finish(append(dests, slave)...)
	for _, n := range []int{3, 4} {
		if !strings.Contains(r.log.String(), "is sending path "+r.src+" to 127.0.0."+strconv.Itoa(n)) {
			t.Errorf("not tried at destination %d:\n%s", n, r.log)
		}
	}
}

// readOnly lets nothing be written below directories of the destination.
func (r *rig) readOnly(names ...string) {
	r.t.Helper()
	for _, name := range names {
		at := filepath.Join(r.dst, name)
		r.must(syscall.Mount(at, at, "", syscall.MS_BIND, ""))
		r.t.Cleanup(func() {
			if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
				r.t.Error(err)
			}
		})
		r.must(syscall.Mount("", at, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	}
}

// brokenAt makes a source with directories a to e, and a destination that cannot write in some of them.
func (r *rig) brokenAt(names ...string) {
	r.t.Helper()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		r.put(r.src, name)
		r.must(os.MkdirAll(filepath.Join(r.dst, name), 0o755))
		r.age(name)
		old := time.Unix(1500000000, 123)
		r.must(os.Chtimes(filepath.Join(r.dst, name), old, old))
	}
	r.readOnly(names...)
}

func depth1(c *Config) { c.Leader.Depth = 1 }

// One path that fails again and again is no reason to set a destination aside.
func TestOnePathThatFailsAtADestination(t *testing.T) {
	r := newRig(t)
	r.brokenAt("c")
	master := r.queued(depth1)
	slave, dest := r.source(2), r.destination(3)
	if err := r.wait(master); err == nil || !strings.Contains(err.Error(), "1 failed, 0 unfinished, 5 completed") {
		t.Errorf("error %v, want 1 failed and 5 completed", err)
	}
	r.finish(slave, dest)
	if strings.Contains(r.log.String(), "event=set-aside") {
		t.Errorf("set aside for one path; log:\n%s", r.log)
	}
}

// Nor are three paths, if it does well at others between them.
func TestPathsThatFailAtADestination(t *testing.T) {
	r := newRig(t)
	r.brokenAt("a", "c", "e")
	r.rest()
	master := r.queued(depth1)
	zk := r.zk()
	r.must(zk.Party(r.tree().Party(wire.PartyAll), "python:1").Join(t.Context())) // who holds entries is a client
	queue, held := zk.Queue(r.tree().PathQueue()), map[string]*zkclient.Entry{}
	for range 6 {
		entry, err := queue.Take(t.Context())
		r.must(err)
		held[string(entry.Value)] = entry
	}
	slave, dest := r.source(2), r.destination(3)
	for _, end := range []string{"Failed a", "Completed b", "Failed c", "Completed d", "Failed e"} {
		outcome, name, _ := strings.Cut(end, " ")
		r.must(held["1_"+r.path(name)].Release(t.Context()))
		r.waitFor(outcome + " Path 1_" + r.path(name))
	}
	r.must(held["0_"+r.src].Release(t.Context()))
	zk.Close()
	if err := r.wait(master); err == nil || !strings.Contains(err.Error(), "3 failed, 0 unfinished, 3 completed") {
		t.Errorf("error %v, want 3 failed and 3 completed", err)
	}
	r.finish(slave, dest)
	if strings.Contains(r.log.String(), "event=set-aside") {
		t.Errorf("set aside though it did well in between; log:\n%s", r.log)
	}
}

// A destination that somebody has taken out of the queue offers itself again.
func TestDestinationOffersItselfAgain(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	dest := r.destination(2, func(c *Config) { c.Member.Timing.SetAside = 300 * time.Millisecond })
	r.waitFor("Added destination")
	entry, err := r.zk().Queue(r.tree().ExtDestQueue()).Take(t.Context())
	r.must(err)
	begin := time.Now()
	r.must(entry.Consume(t.Context()))
	r.until("it is back", func() bool { return strings.Count(r.log.String(), "Added destination") == 2 })
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("back after %v, a source that sets it aside needs 300 ms", took)
	}
	r.finish(r.source(3), dest, master)
	r.identical()
	if n := strings.Count(r.log.String(), "Added destination"); n != 2 {
		t.Errorf("offered %d times, want 2", n)
	}
}

// A node that cannot run rsync gives its path back and says why.
func TestSlaveWithoutRsync(t *testing.T) {
	r := newRigAlone(t)
	r.makeTree(smallTree)
	rsync, err := exec.LookPath("rsync")
	r.must(err)
	bin := t.TempDir()
	r.must(os.Symlink(rsync, filepath.Join(bin, "rsync")))
	path := os.Getenv("PATH")
	t.Setenv("PATH", bin)
	master := r.queued()
	dest := r.destination(2)
	r.waitFor("Added destination")
	held, err := r.zk().Queue(r.tree().ExtDestQueue()).Take(t.Context())
	r.must(err)
	slave := r.source(3)
	r.waitFor("event=no-destination")
	r.must(os.Remove(filepath.Join(bin, "rsync")), held.Release(t.Context()))
	if err := r.wait(slave); err == nil || !strings.Contains(err.Error(), "cannot start rsync (is it installed and in PATH?)") {
		t.Errorf("error %v, want one that says rsync is missing", err)
	}
	r.allWaiting(10)
	if err := r.wait(r.source(4)); err == nil || !strings.Contains(err.Error(), "cannot work without rsync") {
		t.Errorf("error %v, want a new slave to refuse", err)
	}
	t.Setenv("PATH", path)
	r.finish(r.source(5), dest, master)
	r.identical()
	r.logged("10 completed, 0 failed")
}

// allWaiting fails the test unless all paths are in the queue, and free.
func (r *rig) allWaiting(want int) {
	r.t.Helper()
	queue := r.zk().Queue(r.tree().PathQueue())
	n, err := queue.Len(r.t.Context())
	taken, err2 := r.zk().Children(r.t.Context(), queue.Path()+"/taken")
	if r.must(err, err2); n != want || len(taken) != 0 {
		r.t.Errorf("%d paths in the queue, %d of them taken; want %d and none", n, len(taken), want)
	}
}

// An rsync that refuses its options, whatever it sends, stops the slave at once.
func TestFatalOptionsStopTheSlave(t *testing.T) {
	r := newRigAlone(t)
	r.makeTree(smallTree)
	path := os.Getenv("PATH")
	r.fakeRsync(refusesOptions)
	master := r.queued()
	dest := r.destination(2)
	slave := r.source(3, oneByOne)
	if err := r.wait(slave); err == nil || !strings.Contains(err.Error(), "nonsense") || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("error %v, want one that names the option and rsync's status", err)
	}
	if n := r.sent(""); n != 1 {
		t.Errorf("%d runs of rsync, want 1", n)
	}
	r.allWaiting(10)
	t.Setenv("PATH", path)
	r.finish(r.source(4), dest, master)
	r.identical()
}

// refusesOptions is an rsync for which some option is nonsense.
const refusesOptions = `echo "rsync: nonsense: unknown option" >&2; echo "rsync error: syntax or usage error (code 1)" >&2; exit 1`
