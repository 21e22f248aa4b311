// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// zkrsync is the program under test, built when the first test asks for it.
var zkrsync = sync.OnceValues(func() (string, error) {
	file := filepath.Join(built, "zkrsync")
	build := exec.Command("go", "build", "-o", file, "vsc-zk/cmd/zkrsync")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build zkrsync: %w\n%s", err, out)
	}
	return file, nil
})

// built is where the program is put. main makes it and removes it.
var built string

// program is a running zkrsync.
type program struct {
	t    testing.TB
	what string // for messages
	pid  int
	done chan struct{} // closed when the process is gone and all it said has been read
	code int           // its exit status; -1: a signal ended it. Valid after done

	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed and replaced with every line
}

// startProgram starts zkrsync. path, if not empty, is a directory in which to look for rsync before
// all others.
func startProgram(t testing.TB, what, path string, args ...string) *program {
	t.Helper()
	file, err := zkrsync()
	ok(t, err)
	cmd := exec.Command(file, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = os.Environ()
	if path != "" {
		cmd.Env = append(cmd.Env, "PATH="+path+":"+os.Getenv("PATH"))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	ok(t, err)
	p := &program{t: t, what: what, done: make(chan struct{}), changed: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel sends Pdeathsig when the thread that forked ends
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.read(bufio.NewReader(stderr))
			_ = cmd.Wait() // its exit status says all
			p.code = cmd.ProcessState.ExitCode()
		}
	}()
	ok(t, <-started)
	t.Cleanup(func() {
		p.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.what, strings.Join(p.log(), "\n"))
		}
	})
	return p
}

func (p *program) read(lines *bufio.Reader) {
	for {
		line, err := lines.ReadString('\n')
		p.mu.Lock()
		if line != "" {
			p.lines = append(p.lines, strings.TrimSuffix(line, "\n"))
		}
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *program) log() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines[:len(p.lines):len(p.lines)]
}

// Await waits until a log line contains the text, and returns that line.
func (p *program) Await(text string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		ended := false
		select {
		case <-p.done:
			ended = true
		default:
		}
		for _, line := range p.log() {
			if strings.Contains(line, text) {
				return line
			}
		}
		if ended {
			p.t.Fatalf("%s ended (status %d) before it said %q", p.what, p.code, text)
		}
		select {
		case <-changed:
		case <-p.done:
		case <-timeout:
			p.t.Fatalf("%s has not said %q", p.what, text)
		}
	}
}

// message is what follows the date, level, logger and thread in a log line of this level.
func message(line, level string) (string, bool) {
	m := logLine.FindStringSubmatch(line)
	if m == nil || m[1] != level {
		return "", false
	}
	return m[2], true
}

var logLine = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\S+) +\S+ +\S+ +(.*)$`)

// said is what follows the text in each log line of this level that begins with it.
func (p *program) said(level, text string) []string {
	var rests []string
	for _, line := range p.log() {
		if said, is := message(line, level); is && strings.HasPrefix(said, text) {
			rests = append(rests, strings.TrimPrefix(said, text))
		}
	}
	return rests
}

// Whoami is the name of the program in its session.
func (p *program) Whoami() string { return fmt.Sprintf("%s:%d", host, p.pid) }

// Exit waits until the program has ended of itself, and returns its exit status; -1: a signal ended
// it.
func (p *program) Exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s has not ended", p.what)
	}
	return p.code
}

// Terminate asks the program to end, as kill does.
func (p *program) Terminate() { p.signal(syscall.SIGTERM) }

// Kill ends the program. As when its node dies, ZooKeeper hears of it only by the session timeout.
func (p *program) Kill() { p.signal(syscall.SIGKILL) }

func (p *program) signal(signal syscall.Signal) {
	select {
	case <-p.done:
	default:
		if err := syscall.Kill(p.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			p.t.Error(err)
		}
	}
}
