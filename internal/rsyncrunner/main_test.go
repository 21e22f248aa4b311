// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vsc-zk/internal/link"
)

// helperVariable makes the test binary do something else than test: what it says is done by helper.
const helperVariable = "RUNNER_TEST_HELPER"

func TestMain(m *testing.M) {
	if what := os.Getenv(helperVariable); what != "" {
		helper(what)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// helper is the life of a process that is killed while its children run, or of a child.
func helper(what string) {
	ctx := context.Background()
	switch what {
	case "hold sender":
		sender := Sender{program: os.Args[1], Output: os.Stdout}
		_, err := sender.Run(ctx, Job{Base: "/", Names: []string{""}, URL: "rsync://localhost:1/m"})
		fmt.Println(err)
	case "hold daemon":
		daemon, err := NewDaemon(ctx, DaemonConfig{Module: "m", Path: os.Args[1], TempDir: os.Args[1], program: os.Args[2], Output: os.Stdout})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(daemon.Serve(ctx, os.Stdin))
	case "refused":
		// As in containers: by Docker's own filter, and by AppArmor.
		call, _ := strconv.Atoi(os.Args[1])
		refuse(uint32(call))
		runtime.LockOSThread() // which is changed
		if err := followNoLinks(os.Args[2]); err != nil {
			fmt.Println("to serve:", err)
		}
		dir, err := os.Open(os.Args[2])
		if err != nil {
			fmt.Println(err)
			return
		}
		sender := Sender{Options: Options{Delete: true}, Output: os.Stdout}
		result, err := sender.Run(ctx, Job{Kind: Recursive, Base: os.Args[2], Dir: dir, Fixed: true, Names: []string{""}, URL: os.Args[3]})
		fmt.Println("sent:", result.Class() == Fine, err)
	case "tell":
		for fd := 3; fd < 256; fd++ {
			if inherited(fd) {
				fmt.Println("descriptor", fd)
			}
		}
		fmt.Println(strings.Join(os.Environ(), "\n"))
		session, _ := unix.Getsid(0)
		fmt.Println("leads a session:", session == os.Getpid())
	}
}

// refuse has a system call fail in the whole process, and its children, as one that is not allowed.
func refuse(call uint32) {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); e != 0 {
		panic(e)
	}
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// script writes an executable shell script and returns its name.
func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rsync")
	// A child made meanwhile would have it open for writing for a moment, and nobody could run it:
	// "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// freePort returns a port that only this test has until it ends. A socket is bound to the port and
// never listens. Daemons and listeners of the test can listen there all the same, one after the
// other, because they share the address with the socket (SO_REUSEADDR); while none does,
// connections are refused. Whoever else looks for a port in this way finds it taken. It is below
// the ports that the kernel gives to outgoing connections, and below those of other packages'
// tests, which look only for listeners.
func freePort(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // and AF_INET
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	for range 100 {
		port := 10_000 + rand.IntN(4_000)
		err = unix.Bind(fd, &unix.SockaddrInet6{Port: port})
		if err == unix.EADDRINUSE {
			continue
		}
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port")
	return 0
}

// served is a daemon with a port.
type served struct {
	*Daemon
	listener *link.Listener
	port     int
}

// Stop ends the daemon and all its transfers.
func (s *served) Stop() {
	s.listener.Stop()
	s.Close()
}

// workers are the processes that serve the daemon's connections.
func (s *served) workers() (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, _ := os.ReadFile(name)
		if pid, _ := strconv.Atoi(strings.Split(name, "/")[2]); strings.Contains(string(line), s.config.name) && running(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// serve serves a path with a real daemon and returns it and the URL of its module.
func serve(t *testing.T, path string) (*served, string) {
	t.Helper()
	return serveAs(t, DaemonConfig{Path: path})
}

// serveAs is serve for a daemon that is special in some way.
func serveAs(t *testing.T, cfg DaemonConfig) (*served, string) {
	t.Helper()
	cfg.Module, cfg.TempDir, cfg.Output = cmp.Or(cfg.Module, "zkrs-test"), cmp.Or(cfg.TempDir, t.TempDir()), cmp.Or[io.Writer](cfg.Output, t.Output())
	daemon, err := NewDaemon(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := link.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := link.Listen(link.ListenerConfig{
		Identity: identity, Mode: link.TLS, Slots: 100, Known: func(string) bool { return false }, Open: true,
		Serve: daemon.Serve, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &served{daemon, listener, listener.Port()}
	t.Cleanup(s.Stop)
	return s, URL("127.0.0.1", s.port, cfg.Module)
}

// startPlainDaemon starts an rsync daemon with module m that is not ours, and returns what ends it.
func startPlainDaemon(t *testing.T, program, config string, port int) func() {
	t.Helper()
	cmd := exec.Command(program, "--daemon", "--no-detach", "--config="+config, "--port="+strconv.Itoa(port), "--log-file=/dev/null")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	eventually(t, "the daemon answers", func() bool { return Probe(t.Context(), addr, "m") == nil })
	return func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
}

// end kills what a daemon has made.
func end(daemon *served) {
	for _, pid := range daemon.workers() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// send runs a job with the real rsync, which has to succeed.
func send(t *testing.T, options Options, job Job) Result {
	t.Helper()
	result := run(t, options, job)
	if result.Class() != Fine {
		t.Fatalf("%v: %q", result, result.Errors)
	}
	return result
}

func run(t *testing.T, options Options, job Job) Result {
	t.Helper()
	sender := Sender{Options: options, Output: t.Output()}
	result, err := sender.Run(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// write makes a file, and the directories above it, below dir.
func write(t *testing.T, dir, name, content string) {
	t.Helper()
	name = dir + "/" + name
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

// tree describes all below dir: type, mode, content or target, and for directories and files the
// time.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		about := fmt.Sprintf("%v %d", info.Mode(), info.ModTime().Unix())
		switch {
		case info.Mode().Type() == os.ModeSymlink:
			target, _ := os.Readlink(path)
			about = "-> " + target
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			about += " " + string(content)
		}
		found["."+strings.TrimPrefix(path, dir)] = about
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sameTree fails unless both trees are equal.
func sameTree(t *testing.T, source, destination string) {
	t.Helper()
	want, got := tree(t, source), tree(t, destination)
	for path, about := range want {
		if got[path] != about {
			t.Errorf("%q is %q, want %q", path, got[path], about)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%q is there, but not in the source", path)
		}
	}
}

// age sets an old time on all below dir, so that a lost time is seen.
func age(t *testing.T, dir string) {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type() != os.ModeSymlink {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for number, path := range paths {
		when := time.Unix(1_000_000_000+int64(number), 0)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
}

// alive reports whether pid is a process that still runs.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// eventually waits for something that needs a moment, and longer on a busy machine.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}
