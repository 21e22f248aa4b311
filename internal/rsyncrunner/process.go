// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// defaultStopGrace is how long a group may take to end after SIGTERM.
const defaultStopGrace = 2 * time.Second

// process is a running child and the group it leads.
type process struct {
	cmd     *exec.Cmd
	setUp   func() (undo func(), err error) // changes the thread that starts the child, which then ends with it; nil: nothing does
	workers bool                            // the leader makes others, whose work deserves a proper end
	grace   time.Duration
	done    chan struct{} // closed when the group is gone and its output was read

	mu       sync.Mutex
	stopping bool // SIGTERM has been sent
	gone     bool // the leader has exited and its group was killed: signal no more
}

// startProcess starts cmd as the leader of a session. grace bounds the wait after SIGTERM, and the
// wait for output that a stray descendant keeps open.
func startProcess(cmd *exec.Cmd, workers bool, grace time.Duration) (*process, error) {
	return startSetUp(cmd, nil, workers, grace)
}

// startSetUp is startProcess in a thread that setUp has changed.
func startSetUp(cmd *exec.Cmd, setUp func() (undo func(), err error), workers bool, grace time.Duration) (*process, error) {
	if grace <= 0 {
		grace = defaultStopGrace
	}
	cmd.SysProcAttr = mergeSysProcAttr(cmd.SysProcAttr)
	cmd.WaitDelay = grace
	p := &process{cmd: cmd, setUp: setUp, workers: workers, grace: grace, done: make(chan struct{})}
	started := make(chan error)
	go p.own(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func mergeSysProcAttr(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setsid = true
	// It is SIGKILL because neither a sending client nor a listening daemon has anything to tidy
	// up, and nothing can hold SIGKILL back.
	attr.Pdeathsig = syscall.SIGKILL
	return attr
}

// own starts the child and stays with it. It locks its thread because the kernel sends Pdeathsig
// when the thread that made the child ends.
func (p *process) own(started chan<- error) {
	runtime.LockOSThread()
	if p.setUp == nil {
		defer runtime.UnlockOSThread()
	} else {
		undo, err := p.setUp()
		if err != nil {
			started <- err
			return
		}
		defer undo()
	}
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	defer close(p.done)
	started <- nil

	awaitExit(p.cmd.Process.Pid)
	if p.workers {
		// rsync's listener ends before the processes that receive files, and these have to remove
		// their temporary files.
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
	end := time.Now().Add(p.grace)
	for groupRuns(p.cmd.Process.Pid) && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
}

// groupRuns reports whether a process of a group still runs.
func groupRuns(group int) bool {
	return syscall.Kill(-group, 0) == nil && len(members(group)) > 0
}

// othersRun reports whether a process of a group beside its leader still runs.
func othersRun(group int) bool {
	return slices.ContainsFunc(members(group), func(m member) bool { return m.pid != group })
}

// kill signals the whole group.
func (p *process) kill(sig syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, sig) // ESRCH: nobody is left
}

// signal signals one member of the group and reports whether it did. It does nothing to a group
// that is being ended as a whole.
func (p *process) signal(m member, sig syscall.Signal) bool {
	// The handle comes before the look, so that the signal cannot reach a later process with this
	// number.
	handle, err := os.FindProcess(m.pid)
	if err != nil {
		return false
	}
	defer func() { _ = handle.Release() }()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping || p.gone {
		return false
	}
	if now, ok := running(m.pid, p.cmd.Process.Pid); !ok || now != m {
		return false
	}
	return handle.Signal(sig) == nil
}

// terminate asks the group to end, once: a second SIGTERM can make rsync skip a step of its
// tidying.
func (p *process) terminate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone && !p.stopping {
		p.stopping = true
		p.kill(syscall.SIGTERM)
	}
}

// stop ends the group and returns when it is gone. A daemon that serves nobody has nothing to tidy
// up and is killed at once, which saves the 0.4 s that rsync takes for SIGTERM.
func (p *process) stop() {
	if p.workers && !othersRun(p.cmd.Process.Pid) {
		p.mu.Lock()
		if !p.gone {
			p.stopping = true
			p.kill(syscall.SIGKILL)
		}
		p.mu.Unlock()
		<-p.done
		return
	}
	p.terminate()
	timer := time.NewTimer(p.grace)
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
	timer.Reset(p.grace + killed)
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
