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

// keepMounts gives the calling thread, which has to end with its goroutine, mounts of its own, and returns the
// directory base in them; nil where that is not allowed. It is an error if it is not the directory dir any more.
func keepMounts(base string, dir *os.File) (*os.File, error) {
	if unix.Unshare(unix.CLONE_NEWNS) != nil {
		return nil, nil // without root, or in a container
	}
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
