// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/slowfs"
)

func TestDaemonLife(t *testing.T) {
	dir, out := t.TempDir(), &buffer{}
	daemon, url := serveAs(t, DaemonConfig{Path: t.TempDir(), TempDir: dir, Output: out})
	for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
		if err := Probe(t.Context(), net.JoinHostPort(host, strconv.Itoa(daemon.port)), "zkrs-test"); err != nil {
			t.Error(err)
		}
	}
	err := Probe(t.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(daemon.port)), "zkrs-other")
	if err == nil || !strings.Contains(err.Error(), "zkrs-other") {
		t.Errorf("unknown module: %v", err)
	}
	if info, err := os.Stat(daemon.config.name); err != nil || info.Mode() != 0o600 || filepath.Dir(filepath.Dir(daemon.config.name)) != dir {
		t.Errorf("config file %s %v: %v", daemon.config.name, info, err)
	}
	send(t, Options{}, wholeJob(t.TempDir(), url))
	daemon.Stop()
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%v left", files)
	}
	if text := out.String(); !strings.Contains(text, "rsync allowed access on module zkrs-test") || !strings.Contains(text, "module-list request") {
		t.Errorf("log %q", text)
	}
}

// A cleaner of temporary files takes the config file away, with the directory, or something writes another.
func TestDaemonKeepsItsConfig(t *testing.T) {
	source, dir := t.TempDir(), t.TempDir()+"/made"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, source, "file", "x")
	daemon, url := serveAs(t, DaemonConfig{Path: t.TempDir(), TempDir: dir})
	for what, harm := range map[string]func() error{
		"removed":                    func() error { return os.Remove(daemon.config.name) },
		"removed with its directory": func() error { return os.RemoveAll(dir) },
		"emptied":                    func() error { return os.Truncate(daemon.config.name, 0) },
	} {
		if err := harm(); err != nil {
			t.Fatal(what, err)
		}
		send(t, Options{}, wholeJob(source, url))
	}
	if info, err := os.Stat(daemon.config.name); err != nil || info.Mode() != 0o600 {
		t.Errorf("config file %v: %v", info, err)
	}
	daemon.Stop()
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("%v left, %v", files, err)
	}
}

func TestEnter(t *testing.T) {
	destination := t.TempDir() + "/base"
	if err := os.Mkdir(destination, 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1500000000, 123)
	if err := os.Chtimes(destination, old, old); err != nil {
		t.Fatal(err)
	}
	daemon, _ := serve(t, destination)
	enter := func(module string) error {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(daemon.port)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return Enter(t.Context(), conn, module)
	}
	if err := enter("zkrs-test"); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(destination)
	info, err2 := os.Stat(destination)
	if err := errors.Join(err, err2); err != nil || len(files) != 0 || !info.ModTime().Equal(old) {
		t.Errorf("%v left, time %v, %v", files, info.ModTime(), err)
	}
	if err := enter("other"); err == nil || !strings.Contains(err.Error(), "Unknown module") {
		t.Error(err)
	}
	if err := os.Remove(destination); err != nil {
		t.Fatal(err)
	}
	if err := enter("zkrs-test"); err == nil || !strings.Contains(err.Error(), "chdir") && !strings.Contains(err.Error(), "chroot") {
		t.Errorf("error %v, want one that says that the path is gone", err)
	}
}

func TestCheckVersion(t *testing.T) {
	for text, want := range map[string]string{
		"rsync  version 3.0.9  protocol version 30":  "cannot work with rsync 3.0",
		"rsync  version v2.6.9  protocol version 29": "cannot work with rsync 2.6",
		"rsync  version 3.1.0  protocol version 31":  "",
		"rsync  version v3.2.7  protocol version 31": "",
		"something of the user's":                    "",
	} {
		err := checkVersion(t.Context(), script(t, "echo '"+text+"'"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := CheckVersion(t.Context()); err != nil {
		t.Error(err)
	}
}

// Every byte of a path has to reach the daemon as it is.
func TestDaemonServesOddPaths(t *testing.T) {
	t.Setenv("HOME", "/")
	source := t.TempDir()
	write(t, source, "dir/file", "x")
	for _, name := range []string{
		"two words", " lead", "trail ", "#hash", "; semi", "100%", "%HOME%", "%%HOME%%", "%RSYNC_PID%", `back\slash`, `end\`,
		"new\nline", "end\n", "car\r", "tab\t", `"quoted"`, "[x]", "a = b", "in\xffvalid", "-dash", "a/./b", strings.Repeat("long/", 100) + "end",
	} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			destination := t.TempDir() + "/" + name
			if err := os.MkdirAll(destination, 0o755); err != nil {
				t.Fatal(err)
			}
			_, url := serve(t, destination+"//")
			send(t, Options{}, Job{Base: source, Names: []string{""}, Kind: Recursive, URL: url})
			if _, err := os.Stat(destination + "/dir/file"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDaemonServesThroughLink(t *testing.T) {
	source, destination := t.TempDir(), t.TempDir()
	write(t, source, "file", "x")
	link := t.TempDir() + "/link"
	if err := os.Symlink(destination, link); err != nil {
		t.Fatal(err)
	}
	_, url := serve(t, link)
	send(t, Options{}, Job{Base: source, Names: []string{""}, URL: url})
	if tree(t, destination)["./file"] == "" {
		t.Error("the file is missing")
	}
}

func TestDaemonServesRoot(t *testing.T) {
	source := t.TempDir()
	write(t, source, "dir/file", "x")
	_, url := serve(t, "/")
	destination := t.TempDir()
	send(t, Options{}, Job{Base: source, Names: []string{"dir"}, Kind: Recursive, URL: url + destination})
	if tree(t, destination)["./dir/file"] == "" {
		t.Error("the file is missing")
	}
}

func TestModulePath(t *testing.T) {
	for path, want := range map[string]string{"/": "/", "///": "/", "/a//b/": "/a/b", "/a/./b/.": "/a/b", "/a/../b": "/a/../b", "/a ": "/a "} {
		if got, err := cleanModulePath(path); got != want || err != nil {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"", "rel", "/a\x00b", "/" + strings.Repeat("x", maxModulePath)} {
		if _, err := cleanModulePath(path); err == nil || !strings.HasPrefix(err.Error(), "cannot serve") {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestModuleConfig(t *testing.T) {
	head := "reverse lookup = no\npath = %ZKRS_MODULE_PATH%\nread only = no\n"
	for may, want := range map[privilege]string{
		{root: true, chroot: true}: head + "uid = 0\ngid = 0\nuse chroot = yes\n[zkrs-s]\n",
		{root: true}:               head + "uid = 0\ngid = 0\nuse chroot = no\nmunge symlinks = no\n[zkrs-s]\n",
		{}:                         head + "use chroot = no\nmunge symlinks = no\n[zkrs-s]\n",
	} {
		if got := moduleConfig("zkrs-s", may); got != want {
			t.Errorf("%+v:\n%s\nwant\n%s", may, got, want)
		}
	}
}

// The longest path that is let through must work.
func TestDaemonServesLongestPath(t *testing.T) {
	source := t.TempDir()
	write(t, source, "file", "x")
	destination := t.TempDir() + "/"
	for len(destination) < maxModulePath-200 {
		destination += strings.Repeat("p", 190) + "/"
	}
	destination += strings.Repeat("q", maxModulePath-len(destination))
	if err := os.MkdirAll(destination, 0o755); err != nil {
		t.Fatal(err)
	}
	_, url := serve(t, destination)
	send(t, Options{}, Job{Base: source, Names: []string{""}, URL: url})
	if _, err := os.Stat(destination + "/file"); err != nil {
		t.Error(err)
	}
}

func TestModuleNames(t *testing.T) {
	source := t.TempDir()
	write(t, source, "dir/file", "x")
	for _, module := range []string{"zkrs-default", "zkrs-a b", "zkrs-a@b:c", "zkrs-*?", "zkrs-ümläut", "zkrs-=x;#", "zkrs-" + strings.Repeat("n", 100)} {
		t.Run(module, func(t *testing.T) {
			destination := t.TempDir()
			_, url := serveAs(t, DaemonConfig{Module: module, Path: destination})
			send(t, Options{}, Job{Base: source, Names: []string{"dir"}, Kind: Recursive, URL: url})
			if tree(t, destination)["./dir/file"] == "" {
				t.Error("the file is missing")
			}
		})
	}
	for _, module := range []string{"", "global", "a/b", "a]", "[a", "#list", " a", "a ", "a  b", "a\nb", "a\tb", `a\`, "a\x00", "%HOME%"} {
		_, err := NewDaemon(t.Context(), DaemonConfig{Module: module, Path: "/"})
		if err == nil || !strings.HasPrefix(err.Error(), "cannot name an rsync module") {
			t.Errorf("%q: %v", module, err)
		}
	}
}

func TestURL(t *testing.T) {
	for host, want := range map[string]string{"host": "rsync://host:1/m", "::1": "rsync://[::1]:1/m", "[::1]": "rsync://[::1]:1/m"} {
		if got := URL(host, 1, "m"); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
}

// Links must arrive as they are where a chroot can be had; elsewhere a warning has to say that they
// do not.
func TestDaemonAndLinks(t *testing.T) {
	if os.Getenv(innerVariable) == "" && os.Geteuid() == 0 {
		inner(t, "nobody", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
		inner(t, "no CAP_SYS_CHROOT", nil, "setpriv", "--bounding-set=-sys_chroot")
	}
	source, destination, log := t.TempDir(), t.TempDir(), &buffer{}
	for name, target := range map[string]string{"absolute": "/etc/passwd", "outside": "../../outside", "inside": "dir/file", "dangling": "nowhere"} {
		if err := os.Symlink(target, source+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	write(t, source, "dir/file", "x")
	age(t, source)
	_, url := serveAs(t, DaemonConfig{Path: destination, Logger: slog.New(slog.NewTextHandler(log, nil))})
	send(t, Options{}, wholeJob(source, url))
	want, got := tree(t, source), tree(t, destination)
	warnings := strings.Count(log.String(), "level=WARN")
	if privileges().chroot {
		sameTree(t, source, destination)
		if warnings != 0 {
			t.Errorf("log %s", log)
		}
		return
	}
	reason := "does not run as root: owners"
	if os.Geteuid() == 0 {
		reason = "no CAP_SYS_CHROOT"
	}
	if warnings != 1 || !strings.Contains(log.String(), "symbolic links") || !strings.Contains(log.String(), reason) {
		t.Errorf("log %s", log)
	}
	for _, path := range []string{"./inside", "./dangling", "./dir", "./dir/file"} {
		if got[path] != want[path] {
			t.Errorf("%s is %q, want %q", path, got[path], want[path])
		}
	}
	for _, path := range []string{"./absolute", "./outside"} {
		if !strings.HasPrefix(got[path], "-> ") || strings.Contains(got[path], "munged") {
			t.Errorf("%s is %q", path, got[path])
		}
	}
}

// innerVariable marks a test run by inner.
const innerVariable = "RUNNER_TEST_INNER"

// inner runs the calling test once more with other privileges.
func inner(t *testing.T, name string, attr *syscall.SysProcAttr, wrapper ...string) {
	t.Run(name, func(t *testing.T) {
		dir, err := os.MkdirTemp("", "rsyncrunner")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		binary := dir + "/test" // the original may lie where others cannot read
		content, err := os.ReadFile(os.Args[0])
		if err == nil {
			err = os.WriteFile(binary, content, 0o755)
		}
		if err == nil {
			err = os.Mkdir(dir+"/tmp", 0)
		}
		if err == nil {
			err = os.Chmod(dir+"/tmp", fs.ModeSticky|0o777)
		}
		if err != nil {
			t.Fatal(err)
		}
		outer, _, _ := strings.Cut(t.Name(), "/")
		args := append(wrapper, binary, "-test.run=^"+outer+"$", "-test.v")
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.SysProcAttr = dir, attr
		cmd.Env = append(os.Environ(), innerVariable+"=1", "TMPDIR="+dir+"/tmp")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil || !strings.Contains(string(out), "--- PASS: "+outer) {
			t.Error(err)
		}
	})
}

// occupy listens on one address and serves every connection.
func occupy(t *testing.T, network, addr string, serve func(net.Conn)) {
	t.Helper()
	listener, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-ended })
}

// stranger is an rsync daemon with another module.
func stranger(conn net.Conn) {
	_, _ = io.WriteString(conn, "@RSYNCD: 31.0\n")
	_, _ = conn.Read(make([]byte, 100))
	_, _ = io.WriteString(conn, "other          \tcomment\n@RSYNCD: EXIT\n")
}

func TestDaemonEndsEarly(t *testing.T) {
	daemon, err := NewDaemon(t.Context(), DaemonConfig{program: script(t, "printf 'no such thing' >&2; exit 3"), Module: "m", Path: "/", TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := daemon.Serve(t.Context(), null); err == nil || !strings.Contains(err.Error(), "exit status 3 (") || !strings.Contains(err.Error(), "no such thing") {
		t.Error(err)
	}
	daemon.cfg.program = "/no/such/rsync"
	if err := daemon.Serve(t.Context(), null); err == nil || !strings.HasPrefix(err.Error(), "cannot start /no/such/rsync") {
		t.Error(err)
	}
}

func TestDaemonCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	for want, cfg := range map[string]DaemonConfig{
		"cannot write the rsync daemon's config file":      {Module: "m", Path: "/", TempDir: dir + "/none"},
		"cannot serve \"rel\"":                             {Module: "m", Path: "rel", TempDir: dir},
		"cannot drop the page cache: rsync has no --drop-": {Module: "m", Path: "/", TempDir: dir, DropCache: true},
	} {
		if _, err := NewDaemon(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("%v left", files)
	}
}

// transfer starts a slow transfer and waits until it is under way.
func transfer(t *testing.T, url, destination string) (ended chan Result) {
	t.Helper()
	source := t.TempDir()
	write(t, source, "dir/file", strings.Repeat("x", 16<<20))
	ended = make(chan Result, 1)
	go func() {
		sender := Sender{Options: Options{Extra: []string{"bwlimit:2000"}}}
		result, _ := sender.Run(t.Context(), Job{Base: source, Names: []string{"dir"}, Kind: Recursive, URL: url})
		ended <- result
	}()
	// A receiver that is stopped before its first byte leaves the file.
	eventually(t, "the transfer has begun", func() bool {
		found, _ := filepath.Glob(destination + "/dir/.file.*")
		if len(found) != 1 {
			return false
		}
		info, err := os.Stat(found[0])
		return err == nil && info.Size() > 0
	})
	return ended
}

// temporary counts rsync's temporary files of a transfer.
func temporary(destination string) int {
	found, _ := filepath.Glob(destination + "/dir/.file.*")
	return len(found)
}

// A stop ends the transfers too, and in such a way that they tidy up.
func TestStopEndsTransfers(t *testing.T) {
	destination := t.TempDir()
	daemon, url := serve(t, destination)
	ended := transfer(t, url, destination)
	daemon.Stop()
	if pids := daemon.workers(); len(pids) > 0 {
		t.Errorf("%v are alive", pids)
	}
	if temporary(destination) != 0 {
		t.Error("a temporary file stays")
	}
	if result := <-ended; result.Class() == Fine {
		t.Error("the client reports success")
	}
}

// So does the death of one of the two processes of a transfer.
func TestWorkerDies(t *testing.T) {
	destination := t.TempDir()
	daemon, url := serve(t, destination)
	ended := transfer(t, url, destination)
	other := receiver(t, daemon)
	for _, pid := range daemon.workers() {
		if pid != other {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the other is gone", func() bool { return len(daemon.workers()) == 0 })
	if temporary(destination) != 0 {
		t.Error("a temporary file stays")
	}
	if result := <-ended; result.Class() == Fine {
		t.Error("the client reports success")
	}
}

// A group that ignores its signal and whose leader does not.
func TestStopKillsStubbornWorkers(t *testing.T) {
	out := &buffer{}
	daemon, url := serveAs(t, DaemonConfig{Path: "/", Output: out, program: script(t, `
sh -c 'trap "" USR1; echo pid $$; while :; do sleep 60; done' &
trap 'exit 0' USR1
echo pid $$
while :; do sleep 0.01; done
`)})
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "rsync://"), "/zkrs-test"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "@RSYNCD: 31.0\n"); err != nil {
		t.Fatal(err)
	}
	found := pids(t, out, 2)
	daemon.Stop()
	for _, pid := range found {
		if alive(pid) {
			t.Errorf("%d is alive", pid)
		}
	}
}

func TestDaemonDiesWithProgram(t *testing.T) {
	holder := exec.Command(os.Args[0], t.TempDir(), script(t, "echo pid $$; exec sleep 600"))
	holder.Env = append(os.Environ(), helperVariable+"=hold daemon")
	out := &buffer{}
	holder.Stdout = out
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	found := pids(t, out, 1)
	_ = holder.Process.Kill()
	_ = holder.Wait()
	eventually(t, "the daemon is gone", func() bool { return !alive(found[0]) })
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

// Whoever deletes looks at its connection only when it is done.
func TestDeletionsEndWithTheirSource(t *testing.T) {
	t.Parallel()
	const files = 5_000
	const first = "old999" // the last in order: rsync begins there
	for name, one := range map[string]struct {
		sig  syscall.Signal
		when string
	}{
		"killed":            {syscall.SIGKILL, "--delete-during"},
		"ended":             {syscall.SIGTERM, "--delete-delay"},
		"killed before all": {syscall.SIGKILL, "--delete-before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, destination := t.TempDir(), t.TempDir()
			write(t, source, "dir/keep", "x")
			if err := os.Mkdir(destination+"/dir", 0o755); err != nil {
				t.Fatal(err)
			}
			for i := range files {
				if err := syscall.Mknod(fmt.Sprintf("%s/dir/old%d", destination, i), syscall.S_IFREG|0o644, 0); err != nil {
					t.Fatal(err)
				}
			}
			count := func() int {
				names, err := readNames(destination + "/dir")
				if err != nil {
					t.Fatal(err)
				}
				return len(names)
			}
			// Once they have begun, the deletions take longer than anybody waits here.
			at, _ := slowly(t, destination, func(time.Duration) {
				if _, err := os.Lstat(destination + "/dir/" + first); err != nil {
					time.Sleep(50 * time.Millisecond)
				}
			})
			daemon, url := serve(t, at)
			client := exec.Command("rsync", "--delete", one.when, "-r", source+"/", url)
			client.Stdout, client.Stderr = t.Output(), t.Output()
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it deletes", func() bool { return count() < files })
			_ = client.Process.Signal(one.sig)
			_ = client.Wait()
			eventually(t, "the receivers are gone", func() bool { return len(daemon.workers()) == 0 })
			if count() < 2 {
				t.Error("they went because nothing was left to delete")
			}
		})
	}
}

// A receiver in which nothing moves is ended.
func TestReceiverStalls(t *testing.T) {
	t.Parallel()
	destination, log := t.TempDir(), &buffer{}
	daemon, url := serveAs(t, DaemonConfig{Path: destination, Stall: time.Second, Output: log})
	ended := transfer(t, url, destination)
	for _, pid := range daemon.workers() {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, <-ended, Destination, 10, 12, 30)
	eventually(t, "nothing is left", func() bool { return len(daemon.workers()) == 0 })
}

func TestProbe(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"other module":  stranger,
		"other program": func(conn net.Conn) { _, _ = io.WriteString(conn, "SSH-2.0-x\r\n") },
		"closes":        func(net.Conn) {},
		"binary":        func(conn net.Conn) { _, _ = conn.Write(make([]byte, 1<<20)) },
		"error":         func(conn net.Conn) { _, _ = io.WriteString(conn, "@RSYNCD: 31.0\n@ERROR: max connections\n") },
		"module in motd only": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "@RSYNCD: 31.0\n")
			_, _ = conn.Read(make([]byte, 100))
			_, _ = io.WriteString(conn, "welcome to m\nm is here\n@RSYNCD: EXIT\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
			occupy(t, "tcp4", addr, serve)
			if err := Probe(t.Context(), addr, "m"); err == nil || !strings.HasPrefix(err.Error(), "cannot ") || !strings.Contains(err.Error(), addr) {
				t.Error(err)
			}
		})
	}
	if err := Probe(t.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t))), "m"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	t.Run("mute", func(t *testing.T) {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
		release := make(chan struct{})
		occupy(t, "tcp4", addr, func(net.Conn) { <-release })
		defer close(release)
		lost := errors.New("lost")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, lost)
		defer cancel()
		if err := Probe(ctx, addr, "m"); !errors.Is(err, lost) { // not Probe's own patience
			t.Error(err)
		}
	})
}
