// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// An rsync goes to its directory by the path, when it has spoken with the daemon, and to others later. A file
// system that is unmounted or mounted in the meantime would make it take another tree for the source, and with
// --delete delete what lies at the destination. So where it is allowed to, one that deletes has mounts
// of its own, which change no more.

// enter has the calling thread, which has to end with its goroutine, and the children that it makes, work in
// the directory dir. With keep they get mounts of their own, if that is allowed, which kept says; it is an error if base is not
// that directory any more. A child does not go there by itself: where a file server does not answer it would hold up
// the whole program, which waits until a child that it has made has become another one.
func enter(base string, dir *os.File, keep bool) (kept bool, err error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return false, fmt.Errorf("cannot send from %s: a thread cannot have a directory of its own: %w", base, err)
	}
	if keep && unix.Unshare(unix.CLONE_NEWNS) == nil { // not without root, or in a container
		own, err := keepMounts(base, dir)
		if err != nil {
			return false, err
		}
		defer own.Close()
		dir, kept = own, true
	}
	if err := unix.Fchdir(int(dir.Fd())); err != nil {
		return false, fmt.Errorf("cannot send from %s any more: %v", base, err) // no fault of this machine's
	}
	return kept, nil
}

// keepMounts gives base as it is in the thread's own mounts, which are not changed from outside any more.
func keepMounts(base string, dir *os.File) (*os.File, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("cannot keep the mounts of %s: %w", base, err)
	}
	kept, err := os.Open(base)
	if err != nil {
		return nil, fmt.Errorf("cannot send from %s any more: %v", base, err) // no fault of this machine's
	}
	before, err := dir.Stat()
	if err == nil {
		var now os.FileInfo
		if now, err = kept.Stat(); err == nil && !os.SameFile(before, now) {
			err = fmt.Errorf("cannot send from %s: another directory has taken its place", base)
		}
	}
	if err != nil {
		kept.Close()
		return nil, err
	}
	return kept, nil
}

// followNoLinks has the children of the calling thread, which has to end with its goroutine, follow no symbolic
// link below base: a user who owns a directory there could lead an rsync that runs as root to another place
// of the module, by swapping the directory for a link. What is mounted or unmounted outside is seen here, too, except
// for base itself. Where a kernel does not know this (before 5.12), or base is not there, nothing changes.
func followNoLinks(base string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil // in a container
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot have mounts for an rsync that serves %s: %w", base, err)
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
