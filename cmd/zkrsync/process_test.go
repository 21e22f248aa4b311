// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// job is a process that a script has started and not waited for yet.
type job struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of Wait, after done
}

func (j *job) running() bool {
	select {
	case <-j.done:
		return false
	default:
		return true
	}
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARGS…")
	}
	d := dataOf(ts)
	if d.jobs[args[0]] != nil {
		ts.Fatalf("there is a %s already", args[0])
	}
	cmd := exec.Command(lookUp(ts, args[1]), args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = d.environ
	stdout, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	ts.Check(cmd.Start())
	j := &job{cmd: cmd, done: make(chan struct{})}
	d.jobs[args[0]] = j
	go func() {
		defer close(j.done)
		j.err = cmd.Wait()
	}()
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal SIGNAL NAME|PIDFILE")
	}
	number := unix.SignalNum("SIG" + args[0])
	if number == 0 {
		ts.Fatalf("%s is no signal", args[0])
	}
	ts.Check(syscall.Kill(pidOf(ts, args[1]), number))
}

func cmdEnds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ends STATUS NAME")
	}
	await(ts, args[0], args[1], patience)
}

func cmdSoon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: soon STATUS NAME")
	}
	await(ts, args[0], args[1], promptness)
}

// await waits for the end of a job, which must come within limit.
func await(ts *testscript.TestScript, want, name string, limit time.Duration) {
	d := dataOf(ts)
	j := d.jobs[name]
	if j == nil {
		ts.Fatalf("there is no %s", name)
	}
	select {
	case <-j.done:
	case <-time.After(limit):
		ts.Fatalf("%s does not end; it said:\n%s", name, ts.ReadFile(name+".err"))
	}
	delete(d.jobs, name)
	status, err := exitStatusOf(j.err)
	ts.Check(err)
	if status != want {
		ts.Fatalf("%s: exit status %s, want %s; it said:\n%s", name, status, want, ts.ReadFile(name+".err"))
	}
}

func cmdRunning(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] running PATTERN")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	found := func() []process {
		return slices.DeleteFunc(processesWith("WORK="+ts.Getenv("WORK")), func(p process) bool { return !pattern.MatchString(p.args) })
	}
	switch {
	case !neg && len(found()) == 0:
		ts.Fatalf("no such process runs")
	case neg:
		for _, p := range eventuallyNone(found) {
			ts.Fatalf("process %d still runs: %s", p.pid, p.args)
		}
	}
}

func cmdAlive(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] alive NAME|PIDFILE")
	}
	p := process{pid: pidOf(ts, args[0])}
	runs := func() []process {
		if p.parent() == 0 {
			return nil
		}
		return []process{p}
	}
	switch {
	case !neg && len(runs()) == 0:
		ts.Fatalf("%s does not run", args[0])
	case neg && len(eventuallyNone(runs)) > 0:
		ts.Fatalf("%s still runs", args[0])
	}
}

// pidOf is the pid of a job, or what stands in a pid file; if that is gone, what stood there when a command of
// this script read it last: a daemon removes its file when it ends.
func pidOf(ts *testscript.TestScript, name string) int {
	if j := dataOf(ts).jobs[name]; j != nil {
		return j.cmd.Process.Pid
	}
	file := ts.MkAbs(name)
	pids := dataOf(ts).pids
	text, err := os.ReadFile(file)
	if pid, known := pids[file]; known && errors.Is(err, fs.ErrNotExist) {
		return pid
	}
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	ts.Check(err)
	pids[file] = pid
	return pid
}

// exitStatusOf says how a program has ended, given the error of its Wait: a number, or the name of
// the signal that killed it.
func exitStatusOf(err error) (string, error) {
	var ended *exec.ExitError
	switch {
	case err == nil:
		return "0", nil
	case !errors.As(err, &ended):
		return "", err
	case ended.ExitCode() < 0:
		return ended.Sys().(syscall.WaitStatus).Signal().String(), nil
	}
	return strconv.Itoa(ended.ExitCode()), nil
}

// process is a process that /proc knows.
type process struct {
	pid  int
	args string
}

func (p process) file(name string) string { return fmt.Sprintf("/proc/%d/%s", p.pid, name) }

func (p process) kill() { _ = syscall.Kill(p.pid, syscall.SIGKILL) }

// environ is what the process was started with.
func (p process) environ() []string {
	text, _ := os.ReadFile(p.file("environ"))
	return strings.Split(string(text), "\x00")
}

// parent is the pid of the parent, 0 when the process is gone or a zombie.
func (p process) parent() int {
	stat, _ := os.ReadFile(p.file("stat"))
	// pid (command) state ppid …; the command may have any byte in it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// processes lists the processes that run and fulfil a condition.
func processes(want func(process) bool) (found []process) {
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == os.Getpid() {
			continue
		}
		p := process{pid: pid}
		if p.parent() == 0 || !want(p) {
			continue
		}
		args, _ := os.ReadFile(p.file("cmdline"))
		p.args = strings.ReplaceAll(strings.TrimRight(string(args), "\x00"), "\x00", " ")
		found = append(found, p)
	}
	return found
}

// processesWith lists the processes that were started with an environment variable.
func processesWith(variable string) []process {
	return processes(func(p process) bool { return slices.Contains(p.environ(), variable) })
}

// files are the files that a process has open, by descriptor.
func (p process) files() map[int]string {
	found := map[int]string{}
	names, _ := filepath.Glob(p.file("fd/*"))
	for _, name := range names {
		if target, err := os.Readlink(name); err == nil {
			fd, _ := strconv.Atoi(filepath.Base(name))
			found[fd] = target
		}
	}
	return found
}

// cmdClean checks that neither a daemon nor any of its children has anything open that is not its
// own.
func cmdClean(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: clean PIDFILE FILE…")
	}
	daemon := process{pid: pidOf(ts, args[0])}
	held := daemon.files()
	for fd, file := range held {
		kind, _, special := strings.Cut(file, ":") // pipe:[1] and the like; others are paths
		switch {
		case fd <= 2 && file == os.DevNull:
		case fd > 2 && special && slices.Contains([]string{"socket", "pipe", "anon_inode"}, kind):
		case slices.ContainsFunc(args[1:], func(name string) bool { return file == ts.MkAbs(name) }):
		case strings.HasPrefix(file, "/sys/fs/cgroup/"): // Go's runtime
		default:
			ts.Fatalf("the daemon has %s open as %d", file, fd)
		}
	}
	checkPlace(ts, daemon)
	if session, _ := unix.Getsid(daemon.pid); session != daemon.pid {
		ts.Fatalf("the daemon is in the session of process %d", session)
	}
	for _, child := range processes(func(p process) bool { return p.parent() == daemon.pid }) {
		serves := strings.HasPrefix(child.args, "rsync --daemon ") // and opens what it needs
		for fd, file := range child.files() {
			if serves && fd == 3 && strings.HasPrefix(file, "pipe:") {
				continue // its log
			}
			for _, parents := range held {
				if fd > 2 && file == parents {
					ts.Fatalf("%s has the daemon's %s open as %d", child.args, file, fd)
				}
			}
			if fd > 2 && !serves && !strings.HasPrefix(file, "socket:") {
				ts.Fatalf("%s has %s open as %d", child.args, file, fd)
			}
		}
		for _, variable := range child.environ() {
			if strings.HasPrefix(variable, "_") {
				ts.Fatalf("%s has inherited %s", child.args, variable)
			}
		}
		if !serves { // that one is in its module
			checkPlace(ts, child)
		}
	}
}

// checkPlace looks at the working directory and the umask.
func checkPlace(ts *testscript.TestScript, p process) {
	if dir, err := os.Readlink(p.file("cwd")); dir != "/" {
		ts.Fatalf("process %d works in %s (%v)", p.pid, dir, err)
	}
	status, err := os.ReadFile(p.file("status"))
	ts.Check(err)
	if !strings.Contains(string(status), "\nUmask:\t0022\n") {
		ts.Fatalf("process %d has another umask than 022:\n%s", p.pid, status)
	}
}
