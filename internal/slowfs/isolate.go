// SPDX-License-Identifier: LGPL-2.1-or-later

package slowfs

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Isolate gives the process a mount namespace of its own. Nobody else sees its mounts, and the
// kernel unmounts them when the process and its children have ended, even if they were killed.
// Isolate runs the program again, in the same process, so call it before anything else; the second
// call returns at once. Only root can do it, for others it does nothing.
func Isolate() error {
	// The variable holds the process that has been here. Children inherit it, but have other
	// numbers.
	const marker = "SLOWFS_ISOLATED"
	pid := strconv.Itoa(os.Getpid())
	if os.Geteuid() != 0 || os.Getenv(marker) == pid {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find the program: %w", err)
	}
	runtime.LockOSThread() // for good: only this thread has the namespace
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts to this process: %w", err)
	}
	if err := os.Setenv(marker, pid); err != nil {
		return fmt.Errorf("cannot run the program again: %w", err)
	}
	return fmt.Errorf("cannot run the program again: %w", syscall.Exec(program, os.Args, os.Environ()))
}
