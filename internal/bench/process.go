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
)

// command runs a program in a process group of its own and gives back what it printed. When ctx ends, or
// after b.most, the group gets SIGTERM, and SIGKILL if it has not ended after b.grace; if this process is killed the program gets
// SIGTERM too.
func (b *bench) command(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.most, fmt.Errorf("it did not end within %v", b.most))
	defer cancel()
	// A file, not a pipe: what a program has started may keep a pipe open.
	log, err := os.CreateTemp(b.work, "output-of-"+filepath.Base(program)+"-")
	if err != nil {
		return "", fmt.Errorf("cannot start %s: %w", program, err)
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
	text, readErr := os.ReadFile(log.Name())
	if err = errors.Join(err, readErr); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("cannot run %s %s: %w\n%s", program, strings.Join(args, " "), err, lastLines(text))
	}
	return string(text), nil
}

func lastLines(text []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n"))
}
