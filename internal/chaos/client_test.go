// SPDX-License-Identifier: LGPL-2.1-or-later

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"vsc-zk/internal/zktest"
)

// client is a place in the cast: one process after the other, each started when the last has ended.
type client struct {
	round   *round
	number  int
	dest    bool
	proxies []*zktest.Proxy // to the servers

	mu    sync.Mutex
	lives []*life
	rest  time.Duration // before it is started again, after what has been done to it
}

// life is one process of a client.
type life struct {
	client *client
	number int
	pid    int
	done   chan struct{} // closed when it has ended

	// To be read after done.
	status  int            // of its exit
	ended   syscall.Signal // that has killed it
	harmed  bool           // it was killed by the round
	signals bool           // it was asked to end
}

func (l *life) name() string {
	role := "source"
	if l.client.dest {
		role = "destination"
	}
	return fmt.Sprintf("%s-%d-%d", role, l.client.number, l.number)
}

func (l *life) file(kind string) string { return l.client.round.at(l.name() + "." + kind) }

func (l *life) running() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// signal is for the process alone, not for its rsyncs.
func (l *life) signal(s syscall.Signal) {
	l.client.mu.Lock()
	defer l.client.mu.Unlock()
	if !l.running() {
		return
	}
	switch s {
	case syscall.SIGKILL:
		l.harmed = true
	case syscall.SIGTERM:
		l.signals = true
	}
	_ = syscall.Kill(l.pid, s)
}

// now is the process that runs, nil if none does.
func (c *client) now() *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lives) == 0 || !c.lives[len(c.lives)-1].running() {
		return nil
	}
	return c.lives[len(c.lives)-1]
}

// live keeps the client alive until the run is over.
func (c *client) live(ctx context.Context) {
	for ctx.Err() == nil {
		l := c.start()
		<-l.done
		c.mu.Lock()
		rest := max(c.rest, 200*time.Millisecond)
		c.rest = 0
		c.mu.Unlock()
		c.round.log("%s has ended: status %d, %v", l.name(), l.status, l.ended)
		if l.status == 0 || l.status == 23 {
			c.round.over()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
}

// args are the client's command line.
func (c *client) args(l *life) []string {
	var servers []string
	for _, p := range c.proxies {
		servers = append(servers, p.Addr())
	}
	args := []string{
		"--servers=" + strings.Join(servers, ","), "--user=root", "--session=" + c.round.session, "--host=localhost", fmt.Sprintf("--session-timeout=%d", int(sessionTimeout.Seconds())),
		"--logfile=", "--logformat=json", "--debug",
	}
	if c.dest {
		return append(args, "-D", "-r", c.round.at("fs/dst"), fmt.Sprintf("--slots=%d", c.round.plan.slots[c.number]), fmt.Sprintf("--startport=%d", c.round.ports))
	}
	args = append(args, "-S", "-r", c.round.at("src"), fmt.Sprintf("--jobs=%d", c.round.plan.jobs[c.number]),
		"--report="+l.file("report"), "--failed="+l.file("failed"), "--done-file="+l.file("done"))
	if c.round.plan.resumes || l.number > 1 {
		args = append(args, "--resume")
	}
	return append(args, c.round.plan.options...)
}

// mark is the variable in the environment by which the processes of a round are known.
const mark = "CHAOS_ROUND"

// start starts the next process.
func (c *client) start() *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &life{client: c, number: len(c.lives) + 1, done: make(chan struct{})}
	cmd := exec.Command(program, c.args(l)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+c.round.at("tmp"), "ZKRSYNC_PASSWD=admin", mark+"="+c.round.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	output, err := os.Create(l.file("log"))
	if err != nil {
		panic(err)
	}
	cmd.Stdout, cmd.Stderr = output, output
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // whose end would end the process
		defer runtime.UnlockOSThread()
		defer output.Close()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			l.status = exit.ExitCode()
			if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
				l.ended = status.Signal()
			}
		}
		close(l.done)
	}()
	if err := <-started; err != nil {
		panic(err)
	}
	l.pid = cmd.Process.Pid
	c.lives = append(c.lives, l)
	c.round.log("%s is process %d", l.name(), l.pid)
	return l
}

// process is one that /proc knows.
type process struct {
	pid, parent int
	args        string
}

// processes are those of the round that run.
func (r *round) processes() (found []process) {
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		environ, _ := os.ReadFile(name + "/environ")
		if !slices.Contains(strings.Split(string(environ), "\x00"), mark+"="+r.dir) {
			continue
		}
		stat, _ := os.ReadFile(name + "/stat")
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		args, _ := os.ReadFile(name + "/cmdline")
		p := process{args: strings.ReplaceAll(strings.TrimRight(string(args), "\x00"), "\x00", " ")}
		p.pid, _ = strconv.Atoi(filepath.Base(name))
		p.parent, _ = strconv.Atoi(fields[1])
		found = append(found, p)
	}
	return found
}

// rsyncs are the processes that a client's process has begun, and those that these have.
func (l *life) rsyncs() (pids []int) {
	all := l.client.round.processes()
	for parents := []int{l.pid}; len(parents) > 0; {
		var children []int
		for _, p := range all {
			if slices.Contains(parents, p.parent) {
				children = append(children, p.pid)
			}
		}
		pids, parents = append(pids, children...), children
	}
	return pids
}
