// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// An rsync goes to its directory by the path, when it has spoken with the daemon, and to others later. A file
// system that is unmounted or mounted in the meantime would make it take another tree for the source, and with
// --delete delete what lies at the destination. So where it is allowed to, one that deletes has mounts
// of its own, which change no more.

// enter has cmd, which the calling thread starts that has to end with its goroutine, work in the directory dir. With
// keep it gets mounts of its own, if that is allowed, which kept says; it is an error if base is not that directory any
// more. The child does not go there by itself: where a file server does not answer it would hold up the whole
// program, which waits until a child that it has made has become another one. But it has to where a thread cannot have a
// directory of its own, as in a container that forbids unshare.
func enter(cmd *exec.Cmd, base string, dir *os.File, keep bool) (kept bool, err error) {
	if unix.Unshare(unix.CLONE_FS) != nil {
		cmd.Dir = fmt.Sprintf("/proc/self/fd/%d", dir.Fd()) // as the child has it until it becomes rsync
		_, err = dir.Stat()
	} else {
		if keep && unix.Unshare(unix.CLONE_NEWNS) == nil { // not without root, or in a container
			kept = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") == nil // not in every container
			own, err := again(base, dir)
			if err != nil {
				return false, err
			}
			defer own.Close()
			dir = own
		}
		err = unix.Fchdir(int(dir.Fd()))
	}
	if err != nil {
		return false, fmt.Errorf("cannot send from %s any more: %v", base, err) // no fault of this machine's
	}
	return kept, nil
}

// again opens base, which has to be dir still, in the mounts that the thread has now.
func again(base string, dir *os.File) (*os.File, error) {
	own, err := os.Open(base)
	if err != nil {
		return nil, fmt.Errorf("cannot send from %s any more: %v", base, err) // no fault of this machine's
	}
	before, err := dir.Stat()
	if err == nil {
		var now os.FileInfo
		if now, err = own.Stat(); err == nil && !os.SameFile(before, now) {
			err = fmt.Errorf("cannot send from %s: another directory has taken its place", base)
		}
	}
	if err != nil {
		own.Close()
		return nil, err
	}
	return own, nil
}

// followNoLinks has the children of the calling thread, which has to end with its goroutine, follow no symbolic
// link below base: a user who owns a directory there could lead an rsync that runs as root to another place
// of the module, by swapping the directory for a link. What is mounted or unmounted outside is seen here, too, except
// for base itself. Where that is not allowed, a kernel does not know this (before 5.12), or base is not there, nothing
// changes.
func followNoLinks(base string) error {
	if unix.Unshare(unix.CLONE_NEWNS) != nil || unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") != nil {
		return nil // in a container
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, base, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil
	}
	defer unix.Close(tree)
	if unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSYMFOLLOW}) != nil {
		return nil
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, base, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS); err != nil {
		return fmt.Errorf("cannot mount %s for an rsync that serves it: %w", base, err)
	}
	return nil
}
