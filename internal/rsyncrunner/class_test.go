// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/slowfs"
)

// wants fails unless a run ended with one of codes and in class.
func wants(t *testing.T, result Result, class Class, codes ...int) {
	t.Helper()
	found := false
	for _, code := range codes {
		found = found || result.Code == code
	}
	if !found || result.Class() != class {
		t.Errorf("%v is %v, want one of %v in class %v: %q", result, result.Class(), codes, class, result.Errors)
	}
}

// wholeJob is all of source.
func wholeJob(source, url string) Job {
	return Job{Base: source, Names: []string{""}, Kind: Recursive, URL: url}
}

// asNobody is an rsync that may not read everything, whoever runs the tests.
func asNobody(t *testing.T) string {
	t.Helper()
	return script(t, `[ "$(id -u)" = 0 ] && exec setpriv --reuid=65534 --regid=65534 --clear-groups rsync "$@"
exec rsync "$@"`)
}

// open makes a test's directory, and those above it, one that nobody can enter.
func open(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// onTmpfs is an rsync that sees a tmpfs of its own at dir, mounted with options. It goes with the
// last process that sees it.
func onTmpfs(t *testing.T, dir, options string) string {
	t.Helper()
	return script(t, fmt.Sprintf(`user=
[ "$(id -u)" = 0 ] || user=--map-root-user
exec unshare $user --mount sh -c 'mount -t tmpfs -o %s none %s && exec rsync "$@"' rsync "$@"`, options, dir))
}

func TestClasses(t *testing.T) {
	for code := -1; code < 256; code++ {
		want := Failed
		switch code {
		case 0:
			want = Fine
		case 24:
			want = Vanished
		case 23:
			want = Partial
		case 25:
			want = DeletesStopped
		case 5, 10, 12, 30, 35:
			want = Destination
		case 1, 2, 4:
			want = Fatal
		}
		if got := (Result{Code: code}).Class(); got != want {
			t.Errorf("%d is %v, want %v", code, got, want)
		}
	}
	for want, result := range map[Class]Result{
		Failed:         {Code: -1, Signal: syscall.SIGKILL, endedByDestination: true},
		DeletesStopped: {Code: 24, DeletesStopped: true},
		Partial:        {Code: 23, DeletesStopped: true},
		Fatal:          {Code: 1, listInvalid: true},
	} {
		if got := result.Class(); got != want {
			t.Errorf("%+v is %v, want %v", result, got, want)
		}
	}
}

// transferring starts sending a file that takes long, and returns when the daemon is receiving it.
func transferring(t *testing.T, options Options, destination, url string) <-chan Result {
	t.Helper()
	source := t.TempDir()
	write(t, source, "dir/file", strings.Repeat("x", 300<<10))
	options.Extra = append(options.Extra, "bwlimit:100")
	sender := Sender{Options: options, Output: t.Output()}
	ended := make(chan Result, 1)
	go func() {
		result, err := sender.Run(context.WithoutCancel(t.Context()), wholeJob(source, url))
		if err != nil {
			t.Error(err)
		}
		ended <- result
	}()
	eventually(t, "the transfer has begun", func() bool {
		found, _ := filepath.Glob(destination + "/dir/.file.*")
		return len(found) == 1
	})
	return ended
}

func TestDaemonKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	destination := t.TempDir()
	daemon, url := serve(t, destination)
	ended := transferring(t, Options{}, destination, url)
	end(daemon)
	wants(t, <-ended, Destination, 10, 12)
}

// A destination that leaves as it should: 20 is what rsync also says when its own end is asked for.
func TestDaemonStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	destination := t.TempDir()
	daemon, url := serve(t, destination)
	ended := transferring(t, Options{}, destination, url)
	daemon.Stop()
	wants(t, <-ended, Destination, 10, 12, 20)
}

// The same when no connection is cut off: the other side tells that it ends.
func TestDaemonSaysThatItEnds(t *testing.T) {
	t.Parallel()
	destination := t.TempDir()
	daemon, url := serve(t, destination)
	ended := transferring(t, Options{}, destination, url)
	if err := syscall.Kill(receiver(t, daemon), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wants(t, <-ended, Destination, 20)
}

// receiver is the process that writes, of the two that serve a transfer: the child of the other.
func receiver(t *testing.T, daemon *served) int {
	t.Helper()
	pids := daemon.workers()
	for _, pid := range pids {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && slices.Contains(pids, parent) {
			return pid
		}
	}
	t.Fatal("the daemon is serving no transfer")
	return 0
}

func TestDestinationStallsInTheMiddle(t *testing.T) {
	t.Parallel()
	destination := t.TempDir()
	daemon, url := serve(t, destination)
	ended := transferring(t, Options{Timeout: 1}, destination, url)
	for _, pid := range daemon.workers() {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, <-ended, Destination, 30)
}

func TestDestinationIsSilent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	url := URL("127.0.0.1", listener.Addr().(*net.TCPAddr).Port, "m")
	wants(t, run(t, Options{Timeout: 1}, wholeJob(t.TempDir(), url)), Destination, 30)
}

// A host that lets no connection in does not answer at all.
func TestDestinationDropsPackets(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	// The queue has room for one; after that nobody is answered.
	for {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	result := run(t, Options{Extra: []string{"contimeout:1"}}, wholeJob(t.TempDir(), URL("127.0.0.1", port, "m")))
	wants(t, result, Destination, 35)
}

func TestStrangerOnThePort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	url := URL("127.0.0.1", listener.Addr().(*net.TCPAddr).Port, "m")
	wants(t, run(t, Options{}, wholeJob(t.TempDir(), url)), Destination, 5, 10, 12)
}

func TestUnknownModuleOrNoDaemon(t *testing.T) {
	t.Parallel()
	destination := t.TempDir()
	_, url := serve(t, destination)
	wants(t, run(t, Options{}, wholeJob(t.TempDir(), url+"x")), Destination, 5)
	wants(t, run(t, Options{}, wholeJob(t.TempDir(), URL("127.0.0.1", freePort(t), "m"))), Destination, 10)
	if err := os.Remove(destination); err != nil {
		t.Fatal(err)
	}
	wants(t, run(t, Options{}, wholeJob(t.TempDir(), url)), Destination, 5)
}

// A full disk: rsync gives up (11) when it cannot write a file, but goes on (23) when it cannot
// make one.
func TestDestinationIsFull(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	destination := t.TempDir()
	write(t, source, "file", strings.Repeat("x", 1<<20))
	_, url := serveAs(t, DaemonConfig{Path: destination, program: onTmpfs(t, destination, "size=64k")})
	wants(t, run(t, Options{}, wholeJob(source, url)), NoRoom, 11)

	write(t, source, "file", "")
	write(t, source, "file2", "")
	destination = t.TempDir()
	_, url = serveAs(t, DaemonConfig{Path: destination, program: onTmpfs(t, destination, "nr_inodes=2")})
	wants(t, run(t, Options{}, wholeJob(source, url)), NoRoom, 23)
}

func TestDestinationIsReadOnly(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "file", "x")
	_, url := serveAs(t, DaemonConfig{Path: destination, program: onTmpfs(t, destination, "ro")})
	wants(t, run(t, Options{}, wholeJob(source, url)), NoRoom, 23)
}

// A file that is too large for the destination's file system ends the rsync there, but is the path's own
// fault; and so are a name that is too long and a program that runs.
func TestDestinationTakesNotThisFile(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "file", strings.Repeat("x", 1<<20))
	_, url := serveAs(t, DaemonConfig{Path: destination, program: script(t, `trap '' XFSZ; ulimit -f 100; exec rsync "$@"`)})
	wants(t, run(t, Options{}, wholeJob(source, url)), Failed, 11, 12)

	source, destination = t.TempDir(), t.TempDir()
	write(t, source, "sleep", "x")
	program, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	write(t, destination, "sleep", string(program))
	if err := os.Chmod(destination+"/sleep", 0o755); err != nil {
		t.Fatal(err)
	}
	_, url = serve(t, destination)
	running := exec.Command(destination+"/sleep", "1000")
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = running.Process.Kill(); _ = running.Wait() }()
	wants(t, run(t, Options{Inplace: true}, wholeJob(source, url)), Partial, 23)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]Class{
		syscall.ENOSPC: NoRoom, syscall.EDQUOT: NoRoom, syscall.EROFS: NoRoom,
		syscall.EIO: Destination, syscall.ESTALE: Destination, syscall.ENOTCONN: Destination,
		syscall.EPERM: Partial, syscall.EACCES: Partial, syscall.ENAMETOOLONG: Partial, syscall.EMLINK: Partial, syscall.EFBIG: Partial, syscall.ETXTBSY: Partial,
	} {
		line := fmt.Sprintf(`rsync: [receiver] mkstemp "/.file.5Gp9Ip" (in m) failed: %v (%d)`, errno, int(errno))
		if got := (Result{Code: 23, fault: faultIn([]byte(line))}).Class(); got != want {
			t.Errorf("%v: %v, want %v", errno, got, want)
		}
	}
	if got := faultIn([]byte(`rsync: [sender] send_files failed to open "/x": Input/output error (5)`)); got != noFault {
		t.Errorf("an error of the source is %v", got)
	}
}

// An error with one file is no reason to leave out the others.
func TestDestinationRefusesAFile(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "locked/file", "x")
	write(t, source, "other/file", "x")
	write(t, destination, "locked/file/in the way", "x")
	_, url := serve(t, destination)
	wants(t, run(t, Options{}, wholeJob(source, url)), Partial, 23)
	if tree(t, destination)["./other/file"] == "" {
		t.Error("the other file is missing")
	}
}

// Errors of permission at the daemon do not mean that its file system is broken.
func TestDestinationMayNotWrite(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	open(t, destination)
	write(t, source, "file", "x")
	port := freePort(t)
	config := t.TempDir()
	open(t, config)
	write(t, config, "conf", "[m]\npath = "+destination+"\nread only = no\nuse chroot = no\n")
	if err := os.Chmod(config+"/conf", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(destination, 0o555); err != nil {
		t.Fatal(err)
	}
	daemon := startPlainDaemon(t, asNobody(t), config+"/conf", port)
	defer daemon()
	result := run(t, Options{}, wholeJob(source, URL("127.0.0.1", port, "m")))
	wants(t, result, Partial, 23)
	if !strings.Contains(strings.Join(result.Errors, "\n"), "Permission denied (13)") {
		t.Errorf("%q", result.Errors)
	}
}

func TestSourceFileCannotBeRead(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	open(t, source)
	write(t, source, "secret", "x")
	write(t, source, "plain", "x")
	for name, mode := range map[string]os.FileMode{"secret": 0, "plain": 0o644} {
		if err := os.Chmod(source+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	_, url := serve(t, destination)
	sender := Sender{program: asNobody(t), Output: t.Output()}
	result, err := sender.Run(t.Context(), wholeJob(source, url))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, result, Partial, 23)
	if !strings.Contains(strings.Join(result.Errors, "\n"), `secret": Permission denied (13)`) {
		t.Errorf("%q", result.Errors)
	}
	if tree(t, destination)["./plain"] == "" {
		t.Error("the other file is missing")
	}
}

// A file goes between the moment when rsync lists it and the moment when it opens it.
func TestFileVanishesDuringRun(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "a", "x")
	write(t, source, "b", "x")
	_, url := serve(t, destination)
	var files atomic.Pointer[slowfs.FS]
	at, mounted := slowly(t, source, func(time.Duration) {
		if f := files.Load(); f != nil && f.Counts().Open == 1 { // of a
			_ = os.Remove(source + "/b")
		}
	})
	files.Store(mounted)
	wants(t, run(t, Options{}, wholeJob(at, url)), Vanished, 24)
}

func TestOptionsNobodyKnows(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	_, url := serve(t, destination)
	wants(t, run(t, Options{Extra: []string{"no-such-option"}}, wholeJob(source, url)), Fatal, 1)
	// Only the rsync here can tell before it starts; a refusal by the daemon comes as 4.
	wants(t, run(t, Options{Extra: []string{"checksum-choice:no-such"}}, wholeJob(source, url)), Fatal, 1, 4)
}

// The rsync here was ended by somebody else: that is not the destination's fault.
func TestOwnProcessEnded(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "file", strings.Repeat("x", 1<<20))
	_, url := serve(t, destination)
	for signal, code := range map[syscall.Signal]int{syscall.SIGTERM: 20, syscall.SIGKILL: -1} {
		out := &buffer{}
		sender := Sender{program: script(t, `echo pid $$; exec rsync "$@"`), Options: Options{Extra: []string{"bwlimit:50"}}, Output: out}
		ended := make(chan Result, 1)
		go func() {
			result, err := sender.Run(context.WithoutCancel(t.Context()), wholeJob(source, url))
			if err != nil {
				t.Error(err)
			}
			ended <- result
		}()
		arriving := func() bool { found, _ := filepath.Glob(destination + "/.file.*"); return len(found) > 0 }
		eventually(t, "the transfer has begun", arriving)
		if err := syscall.Kill(pids(t, out, 1)[0], signal); err != nil {
			t.Fatal(err)
		}
		wants(t, <-ended, Failed, code)
		eventually(t, "the daemon has noticed", func() bool { return !arriving() })
	}
}

// When a directory above a path goes while rsync makes its list, the rsync at the other end finds
// the list invalid and ends with the status of two that do not fit together.
func TestDirectoryAboveVanishes(t *testing.T) {
	t.Parallel()
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "above/dir/below/file", "x")
	_, url := serve(t, destination)
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			default:
				if err := errors.Join(os.Rename(source+"/above", source+"/away"), os.Rename(source+"/away", source+"/above")); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	defer func() { <-done }()
	defer close(over)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); { // one in ten or so
		result := run(t, Options{}, Job{Base: source, Names: []string{"above/dir/below"}, URL: url})
		if result.Code == 2 {
			wants(t, result, Partial, 2)
			return
		}
		if class := result.Class(); class != Fine && class != Vanished && class != Partial {
			t.Errorf("%v is %v: %q", result, class, result.Errors)
		}
	}
	t.Error("rsync has never ended with 2: this tested nothing")
}
