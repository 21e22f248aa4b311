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
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/slowfs"
)

// watched starts a daemon on path and returns it, its URL and its log.
func watched(t *testing.T, host, path string, lookEvery time.Duration) (*Daemon, string, *buffer) {
	t.Helper()
	log := &buffer{}
	daemon, _ := serveAs(t, DaemonConfig{Path: path, Logger: slog.New(slog.NewTextHandler(log, nil)), lookEvery: lookEvery})
	eventually(t, "the questions of the start are answered", func() bool { return len(workers(daemon)) == 0 })
	return daemon, URL(host, daemon.receivers.port, "zkrs-test"), log
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

// slowly shows a directory behind a file system that forgets every name at once and calls sleep
// whenever it is asked for one.
func slowly(t *testing.T, dir string, sleep func(time.Duration)) (at string, mounted *slowfs.FS) {
	t.Helper()
	at = t.TempDir()
	mounted, err := slowfs.Mount(dir, at, slowfs.Options{Delay: 2 * time.Millisecond, Keep: time.Nanosecond, Sleep: sleep})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mounted.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return at, mounted
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
	const files = 5_000
	const first = "old999" // the last in order: rsync begins there
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
			// Once they have begun, the deletions take longer than anybody waits here.
			at, _ := slowly(t, destination, func(time.Duration) {
				if _, err := os.Lstat(destination + "/dir/" + first); err != nil {
					time.Sleep(50 * time.Millisecond)
				}
			})
			daemon, url, log := watched(t, one.host, at, 0)
			client := push(t, source, url, "--delete", one.when)
			eventually(t, "it deletes", func() bool { return count(t, destination+"/dir") < files })
			_ = client.Process.Signal(one.sig)
			_ = client.Wait()
			eventually(t, "the receivers are gone", func() bool { return len(workers(daemon)) == 0 })
			if count(t, destination+"/dir") < 2 {
				t.Error("they went because nothing was left to delete")
			}
			want := "receiver of " + one.host + " ended: its source is gone"
			if strings.Count(log.String(), "level=INFO") != 1 || !strings.Contains(log.String(), want) {
				t.Errorf("log %s", log)
			}
			if err := daemon.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A receiver that does not react to a signal, and may have lost its source before the first look.
func TestStubbornReceiverIsKilled(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", strings.Repeat("x", 4<<20))
	daemon, url, log := watched(t, "127.0.0.1", destination, 0)
	client := push(t, source, url, "--bwlimit=100")
	eventually(t, "there are two", func() bool { return len(workers(daemon)) == 2 })
	for _, m := range workers(daemon) {
		_ = syscall.Kill(m.pid, syscall.SIGSTOP)
	}
	_ = client.Process.Kill()
	_ = client.Wait()
	eventually(t, "they are gone", func() bool { return len(workers(daemon)) == 0 })
	if strings.Count(log.String(), "level=INFO") != 1 {
		t.Errorf("log %s", log)
	}
}

// Transfers that go well go on, whatever one side waits for, and however often one looks.
func TestReceiversWithSourceGoOn(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		prepare func(t *testing.T, source, destination string)
		options Options
	}{
		"small": {prepare: func(t *testing.T, source, _ string) { write(t, source, "dir/file", "x") }},
		"slow sender": {
			prepare: func(t *testing.T, source, _ string) { write(t, source, "dir/file", strings.Repeat("x", 2<<20)) },
			options: Options{Extra: []string{"bwlimit:1000"}},
		},
		"long end": {
			prepare: func(t *testing.T, source, destination string) {
				write(t, source, "dir/file", "x")
				fill(t, destination+"/dir", 300)
			},
			options: Options{Delete: true, Extra: []string{"delete-after"}},
		},
		"many": {prepare: func(t *testing.T, source, _ string) { fill(t, source+"/dir", 100) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, destination := t.TempDir(), t.TempDir()
			one.prepare(t, source, destination)
			at, _ := slowly(t, destination, time.Sleep)
			_, url, _ := watched(t, "127.0.0.1", at, 10*time.Millisecond)
			send(t, one.options, wholeJob(source, url))
			sameNames(t, source, destination)
		})
	}
}

// A listener that is not the leader, as below a wrapper, is no receiver.
func TestListenerBelowWrapperGoesOn(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "dir/file", "x")
	daemon, url := serveAs(t, DaemonConfig{Path: destination, program: script(t, `rsync "$@" & wait`), lookEvery: time.Hour})
	for range 3 {
		daemon.receivers.look()
	}
	send(t, Options{}, wholeJob(source, url))
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

// What is being ended must not get a second SIGTERM.
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
