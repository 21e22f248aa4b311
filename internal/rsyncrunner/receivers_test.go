// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// watched starts a daemon on path and returns it, its URL and its log.
func watched(t *testing.T, host, path string) (*Daemon, string, *buffer) {
	t.Helper()
	port, log := freePort(t), &buffer{}
	daemon, err := StartDaemon(t.Context(), DaemonConfig{
		Module: "m", Path: path, Port: port, TempDir: t.TempDir(), Output: t.Output(), Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(daemon) })
	eventually(t, "the questions of the start are answered", func() bool { return len(workers(daemon)) == 0 })
	return daemon, URL(host, port, "m"), log
}

// workers are the processes that serve a daemon's connections.
func workers(daemon *Daemon) []member {
	var found []member
	leader := daemon.process.cmd.Process.Pid
	for _, m := range members(leader) {
		if m.pid != leader {
			found = append(found, m)
		}
	}
	return found
}

// slow lets a daemon's workers run for 1 ms in 90 only, until quit or the test's end: a
// stand-in for a file system with slow deletions.
func slow(t *testing.T, daemon *Daemon) (quit func()) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		signal := func(found []member, sig syscall.Signal) {
			for _, m := range found {
				_ = syscall.Kill(m.pid, sig)
			}
		}
		var found []member
		for {
			signal(found, syscall.SIGSTOP) // before the look, which takes its time
			found = workers(daemon)
			signal(found, syscall.SIGSTOP)
			time.Sleep(90 * time.Millisecond)
			signal(found, syscall.SIGCONT)
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	quit = sync.OnceFunc(func() { close(stop); <-stopped })
	t.Cleanup(quit)
	return quit
}

// count is the number of files in dir.
func count(t *testing.T, dir string) int {
	t.Helper()
	names, err := readNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// fill makes empty files in dir.
func fill(t *testing.T, dir string, number int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range number {
		if err := syscall.Mknod(fmt.Sprintf("%s/old%d", dir, i), syscall.S_IFREG|0o644, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// push starts a client, which may be killed; wait reaps it.
func push(t *testing.T, source, url string, options ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("rsync", append(options, "-r", source+"/", url)...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestDeletionsEndWithTheirSource(t *testing.T) {
	t.Parallel()
	const files = 12_000
	for name, one := range map[string]struct {
		host string
		sig  syscall.Signal
		when string
	}{
		"killed":       {"127.0.0.1", syscall.SIGKILL, "--delete-during"},
		"ended":        {"127.0.0.1", syscall.SIGTERM, "--delete-delay"},
		"killed, IPv6": {"::1", syscall.SIGKILL, "--delete-before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, destination := t.TempDir(), t.TempDir()
			write(t, source, "dir/keep", "x")
			fill(t, destination+"/dir", files)
			daemon, url, log := watched(t, one.host, destination)
			slow(t, daemon)
			client := push(t, source, url, "--delete", one.when)
			eventually(t, "it deletes", func() bool { return count(t, destination+"/dir") < files })
			_ = client.Process.Signal(one.sig)
			_ = client.Wait()

			// SIGTERM would not do: rsync goes on 0.4 s after it.
			time.Sleep(time.Second)
			first := count(t, destination+"/dir")
			time.Sleep(500 * time.Millisecond)
			second := count(t, destination+"/dir")
			if first < 2 {
				t.Fatal("nothing was left to delete: the test says nothing")
			}
			if first != second {
				t.Errorf("%d files after 1 s, %d after 1.5 s", first, second)
			}
			if left := workers(daemon); len(left) != 0 {
				t.Errorf("%v run", left)
			}
			want := "receiver of " + one.host + " ended: its source is gone"
			if strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), want) {
				t.Errorf("log %s", log)
			}
			if err := daemon.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A receiver that does not react to a signal, and may have lost its source
// before the first look.
func TestStubbornReceiverIsKilled(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", strings.Repeat("x", 4<<20))
	daemon, url, log := watched(t, "127.0.0.1", destination)
	client := push(t, source, url, "--bwlimit=500")
	eventually(t, "there are two", func() bool { return len(workers(daemon)) == 2 })
	for _, m := range workers(daemon) {
		_ = syscall.Kill(m.pid, syscall.SIGSTOP)
	}
	_ = client.Process.Kill()
	_ = client.Wait()
	start := time.Now()
	eventually(t, "they are gone", func() bool { return len(workers(daemon)) == 0 })
	if took := time.Since(start); took < time.Second || took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("log %s", log)
	}
}

// Transfers that go well go on, whatever one side waits for.
func TestReceiversWithSourceGoOn(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		slow    bool
		prepare func(t *testing.T, source, destination string)
		options Options
		lasts   time.Duration // at least
	}{
		"small": {prepare: func(t *testing.T, source, _ string) { write(t, source, "dir/file", "x") }},
		"slow sender": {
			prepare: func(t *testing.T, source, _ string) { write(t, source, "dir/file", strings.Repeat("x", 2<<20)) },
			options: Options{Extra: []string{"bwlimit:1000"}},
			lasts:   time.Second,
		},
		"long end": {
			slow: true,
			prepare: func(t *testing.T, source, destination string) {
				write(t, source, "dir/file", "x")
				fill(t, destination+"/dir", 12_000)
			},
			options: Options{Delete: true, Extra: []string{"delete-after"}},
			lasts:   2 * defaultLookEvery,
		},
		"many": {
			slow:    true,
			prepare: func(t *testing.T, source, _ string) { fill(t, source+"/dir", 300) },
			lasts:   2 * defaultLookEvery,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, destination := t.TempDir(), t.TempDir()
			one.prepare(t, source, destination)
			daemon, url, log := watched(t, "127.0.0.1", destination)
			quit := func() {}
			if one.slow {
				quit = slow(t, daemon)
			}
			start := time.Now()
			send(t, one.options, wholeJob(source, url))
			quit()
			if took := time.Since(start); took < one.lasts {
				t.Errorf("it took only %v: there was no look", took)
			}
			sameNames(t, source, destination)
			time.Sleep(2 * defaultLookEvery)
			if strings.Contains(log.String(), "level=WARN msg=\"receiver") {
				t.Errorf("log %s", log)
			}
		})
	}
}

// A listener that is not the leader, as below a wrapper, is no receiver.
func TestListenerBelowWrapperGoesOn(t *testing.T) {
	t.Parallel()
	source, destination, port := t.TempDir(), t.TempDir(), freePort(t)
	write(t, source, "dir/file", "x")
	daemon, err := StartDaemon(t.Context(), DaemonConfig{
		Program: script(t, `rsync "$@" & wait`), Module: "m", Path: destination, Port: port, TempDir: t.TempDir(), LookEvery: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer end(daemon)
	time.Sleep(200 * time.Millisecond)
	send(t, Options{}, wholeJob(source, URL("127.0.0.1", port, "m")))
	if _, err := os.Stat(destination + "/dir/file"); err != nil {
		t.Error(err)
	}
}

// Every state a connection's end can be in, as the daemon's side sees it.
func TestConnectionStates(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		loopback := map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1"}[network]
		for how, want := range map[string]string{"open": tcpEstablished, "closed": "08", "reset": ""} {
			port := freePort(t)
			plain := net.ListenConfig{}
			plain.SetMultipathTCP(false) // rsync's is TCP
			listener, err := plain.Listen(t.Context(), network, net.JoinHostPort(loopback, strconv.Itoa(port)))
			if err != nil {
				t.Fatal(err)
			}
			client, err := net.Dial(network, listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			server, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			switch how {
			case "reset":
				_ = client.(*net.TCPConn).SetLinger(0)
				_ = client.Close()
			case "closed":
				_ = client.Close()
			}
			inode := inodeOf(t, server.(*net.TCPConn))
			eventually(t, network+" "+how, func() bool {
				table, err := connections(os.Getpid(), port, map[string]bool{strings.Replace(network, "tcp4", "tcp", 1): true})
				if err != nil {
					t.Fatal(err)
				}
				listed := table[inode]
				return listed.state == want && (want == "" || listed.peer == netip.MustParseAddr(loopback)) &&
					table[inodeOf(t, listener.(*net.TCPListener))].state == tcpListen
			})
			want := socket{inode: inode, table: strings.Replace(network, "tcp4", "tcp", 1)}
			if sockets, err := tcpSockets(os.Getpid()); err != nil || !slices.Contains(sockets, want) {
				t.Errorf("%s is not in %v, %v", inode, sockets, err)
			}
			_, _, _ = client.Close(), server.Close(), listener.Close()
		}
	}
}

func inodeOf(t *testing.T, socket syscall.Conn) string {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	target := ""
	_ = raw.Control(func(fd uintptr) { target, err = os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(int(fd)))) })
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")
}

// What is on the way of ending must not get a second SIGTERM.
func TestSignalSparesWhatIsBeingEnded(t *testing.T) {
	process, err := startProcess(exec.Command("sleep", "60"), false, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer process.stop()
	m, ok := running(process.cmd.Process.Pid, process.cmd.Process.Pid)
	if !ok || process.signal(member{pid: m.pid, start: m.start + "0"}, syscall.SIGTERM) {
		t.Errorf("%v, %v", m, ok)
	}
	process.stopping = true
	if process.signal(m, syscall.SIGTERM) {
		t.Error("it was signalled while it was being ended")
	}
	process.stopping = false
	if !process.signal(m, syscall.SIGTERM) {
		t.Error("it was not signalled")
	}
	<-process.done
}
