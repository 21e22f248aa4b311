// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/leader"
)

// onEndLimit is how long the command of --on-end may take.
const onEndLimit = time.Minute

// onEnd runs the command of --on-end. A signal that comes meanwhile ends it; one that has ended the run before
// does not. It is a shell's, in a process group of its own, and dies with this process.
func onEnd(ctx context.Context, command string, environ []string, summary leader.Summary, status int, limit time.Duration, log *slog.Logger) {
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	data, err := json.Marshal(struct {
		leader.Summary
		Status int `json:"status"` // with which this program ends
	}{summary, status})
	if err != nil {
		log.Error(fmt.Sprintf("cannot run the command of --on-end: %v", err), "option", "on-end", "error", err)
		return
	}
	var said tail
	cmd := exec.CommandContext(limited, "/bin/sh", "-c", command)
	cmd.Env = rsyncrunner.ChildEnviron(environ)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(data, '\n')), &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = onEndGrace
	runtime.LockOSThread() // the kernel sends Pdeathsig when the thread ends that has made the child
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
	}
	if errors.Is(err, exec.ErrWaitDelay) { // it has ended well, and left something behind
		err = nil
	}
	said.log(log)
	switch ended := cli.EndedBy(ctx); {
	case err == nil:
		log.Info("The command of --on-end has ended well", "option", "on-end")
	case ended != nil && limited.Err() != nil:
		log.Error(fmt.Sprintf("The command of --on-end was ended: %v", ended), "option", "on-end", "error", err)
	case limited.Err() != nil:
		log.Error(fmt.Sprintf("The command of --on-end was ended: it has not come to its end within %v", limit), "option", "on-end", "error", err)
	default:
		log.Error(fmt.Sprintf("The command of --on-end has failed: %v", err), "option", "on-end", "error", err)
	}
}

// onEndGrace is how long the command may take to end when it is asked to, and its output to come to an end.
const onEndGrace = 2 * time.Second

// tail keeps the last of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// maxTail bounds what it keeps, in bytes.
const maxTail = 4000

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(len(t.text)-maxTail, 0):]
	return len(p), nil
}

func (t *tail) log(log *slog.Logger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range strings.Lines(string(t.text)) {
		log.Warn("--on-end: "+pathbuilder.Printable(strings.TrimRight(line, "\r\n")), "option", "on-end")
	}
}
