// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// defaultStopGrace is how long a group may take to end after its first signal.
const defaultStopGrace = 2 * time.Second

// ending is how a group is ended.
type ending struct {
	signal   syscall.Signal // the first one
	grace    time.Duration  // until SIGKILL; 0: 2 s
	together bool           // what the leader leaves behind gets signal and grace, too
}

// process is a running child and the group it leads.
type process struct {
	cmd   *exec.Cmd
	setUp func() error // changes the thread that starts the child, which then ends with it; nil: nothing does
	end   ending
	done  chan struct{} // closed when the group is gone and its output was read

	mu       sync.Mutex
	starting bool // nothing holds the start back any more
	left     bool // nobody waits for the start any more
	stopping bool // the first signal has been sent
	gone     bool // the leader has exited and its group was killed: signal no more
}

// startProcess starts cmd as the leader of a session. The grace of its end bounds the wait for output, too,
// that a stray descendant keeps open.
func startProcess(cmd *exec.Cmd, end ending) (*process, error) {
	return startSetUp(context.Background(), cmd, nil, end)
}

// startSetUp is startProcess in a thread that setUp has changed. When ctx ends before that is done, as below a
// file server that does not answer, it is left to itself, and nothing is started. No file of cmd is used after it has
// returned.
func startSetUp(ctx context.Context, cmd *exec.Cmd, setUp func() error, end ending) (*process, error) {
	if end.grace <= 0 {
		end.grace = defaultStopGrace
	}
	cmd.SysProcAttr = mergeSysProcAttr(cmd.SysProcAttr)
	cmd.WaitDelay = end.grace
	p := &process{cmd: cmd, setUp: setUp, end: end, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.own(started)
	var err error
	select {
	case err = <-started:
	case <-ctx.Done():
		if p.leave() {
			return nil, context.Cause(ctx)
		}
		err = <-started // which takes no time
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// leave gives the start up, unless it goes on at once.
func (p *process) leave() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = !p.starting
	return p.left
}

// start starts the child if somebody waits for it.
func (p *process) start() error {
	p.mu.Lock()
	p.starting = !p.left
	p.mu.Unlock()
	if !p.starting {
		return context.Canceled
	}
	return p.cmd.Start()
}

func mergeSysProcAttr(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setsid = true
	// It is SIGKILL because nothing can hold that back.
	attr.Pdeathsig = syscall.SIGKILL
	return attr
}

// own starts the child and stays with it. It locks its thread because the kernel sends Pdeathsig
// when the thread that made the child ends.
func (p *process) own(started chan<- error) {
	runtime.LockOSThread()
	switch {
	case p.setUp == nil:
		defer runtime.UnlockOSThread()
	case unix.Gettid() == unix.Getpid():
		// The main thread does not end with a goroutine, and what it has becomes the whole process's for those who
		// look from outside, and in /proc/self. While this goroutine keeps it, another one gets another.
		other := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(other)
			p.own(started)
		}()
		<-other
		runtime.UnlockOSThread()
		return
	default:
		if err := p.setUp(); err != nil {
			started <- err
			return
		}
	}
	err := p.start()
	started <- err
	if err != nil {
		return
	}
	defer close(p.done)

	awaitExit(p.cmd.Process.Pid)
	if p.end.together && len(members(p.cmd.Process.Pid)) > 0 {
		// Who receives files has to remove the temporary ones.
		p.terminate()
		p.awaitGroup()
	}
	p.mu.Lock()
	p.kill(syscall.SIGKILL)
	p.gone = true
	p.mu.Unlock()
	// The exit status is in ProcessState. What else Wait may say, as that a stray descendant held
	// the output open, does not change it.
	_ = p.cmd.Wait()
	p.awaitGroup()
}

// awaitExit waits for the end of pid without reaping it, so that its number, which is also the
// group's, stays taken.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// awaitGroup waits until nothing of the group runs any more. The wait is bounded: some processes
// ignore SIGTERM, and one that hangs in the kernel (a dead file server) cannot even be killed.
func (p *process) awaitGroup() {
	end := time.Now().Add(p.end.grace)
	for groupRuns(p.cmd.Process.Pid) && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
}

// groupRuns reports whether a process of a group still runs.
func groupRuns(group int) bool {
	return syscall.Kill(-group, 0) == nil && len(members(group)) > 0
}

// kill signals the whole group.
func (p *process) kill(sig syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, sig) // ESRCH: nobody is left
}

// terminate asks the group to end, once: a second signal can make rsync skip a step of its
// tidying.
func (p *process) terminate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone && !p.stopping {
		p.stopping = true
		p.kill(p.end.signal)
		p.kill(syscall.SIGCONT) // one that was stopped tidies up, too
	}
}

// stop ends the group and returns when it is gone.
func (p *process) stop() {
	p.terminate()
	timer := time.NewTimer(p.end.grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return
	case <-timer.C:
	}
	p.mu.Lock()
	if !p.gone {
		p.kill(syscall.SIGKILL)
	}
	p.mu.Unlock()
	// One that hangs in the kernel, below a dead file server, dies when it comes out of there, and does
	// nothing before. Nobody can wait for that.
	timer.Reset(p.end.grace + killed)
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// killed is the least that a process has to end after SIGKILL.
const killed = 5 * time.Second

// wait returns when the child has ended. When ctx ends first it stops the group and returns the
// cause.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.stop()
		return context.Cause(ctx)
	}
}

// status returns how the child ended: its exit status, or -1 and the signal. It may be called after
// done.
func (p *process) status() (int, syscall.Signal) {
	ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return -1, ws.Signal()
	}
	return p.cmd.ProcessState.ExitCode(), 0
}
