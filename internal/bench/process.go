// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// command runs a program in a process group of its own and gives back what it printed. When ctx ends, or
// after b.most, the group gets SIGTERM, and SIGKILL if it has not ended after b.grace; if this process is killed the program gets
// SIGTERM too.
func (b *bench) command(ctx context.Context, program string, args ...string) (string, error) {
	text, _, err := b.timed(ctx, program, args...)
	return text, err
}

// timed is command, and the CPU time of the program and of those of its descendants that were waited for.
func (b *bench) timed(ctx context.Context, program string, args ...string) (text string, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.most, fmt.Errorf("it did not end within %v", b.most))
	defer cancel()
	// A file, not a pipe: what a program has started may keep a pipe open.
	log, err := os.CreateTemp(b.work, "output-of-"+filepath.Base(program)+"-")
	if err != nil {
		return "", 0, fmt.Errorf("cannot start %s: %w", program, err)
	}
	defer os.Remove(log.Name())
	defer log.Close()

	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = b.grace
	runtime.LockOSThread() // the parent whose death is meant is the thread
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
	}
	output, readErr := os.ReadFile(log.Name())
	if err = errors.Join(err, readErr); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", 0, fmt.Errorf("cannot run %s %s: %w\n%s", program, strings.Join(args, " "), err, lastLines(output))
	}
	return string(output), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

func lastLines(text []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n"))
}
