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

// ignoreBrokenPipe lets the process live on when nobody reads its stdout or
// stderr any more: "zkrsync … | tee log" on Ctrl-C has to clean up, and there is
// a log file. Unlike signal.Ignore this is not inherited by children.
func ignoreBrokenPipe() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// keepFromChildren sees to it that what the starting shell has open, a lock
// maybe, stays with this process alone and does not go to every rsync.
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
