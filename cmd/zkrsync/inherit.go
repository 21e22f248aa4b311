// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ignoreBrokenPipe lets the process go on when nobody reads its stdout or stderr any more: on
// Ctrl-C "zkrsync … | tee log" has to clean up after tee has gone, and there is a log file.
// Children do not inherit this, as they would signal.Ignore.
func ignoreBrokenPipe() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// keepFromChildren sees to it that no rsync inherits what the starting shell has open, a lock
// perhaps.
func keepFromChildren() error {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot see what files are open (is /proc mounted?): %w", err)
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// isService tells whether systemd has started this process. What is started from a terminal may have inherited what
// says so from a service of the user's.
func isService(getenv func(string) string) bool {
	if getenv("NOTIFY_SOCKET") != "" {
		return true
	}
	terminal, err := os.Open("/dev/tty")
	if err == nil {
		terminal.Close()
	}
	return getenv("INVOCATION_ID") != "" && err != nil
}
