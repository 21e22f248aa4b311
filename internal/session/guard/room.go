// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/pathbuilder"
)

// Less than this part of a file system, or than so many bytes if these are less, counts as no room: it is gone
// with the next file.
const (
	fullPart  = 1000
	fullBytes = 16 << 20
)

// Room says why nothing more can be written below a directory, nil if something can: its file system
// is mounted read-only, or has nearly no room left.
func Room(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("cannot learn how full %s is: %w", pathbuilder.Printable(dir), err)
	}
	switch space := spaceOf(&fs); {
	case fs.Flags&unix.ST_RDONLY != 0:
		return fmt.Errorf("cannot write below %s: its file system is mounted read-only", pathbuilder.Printable(dir))
	case space.Size > 0 && space.Free < min(space.Size/fullPart+1, fullBytes):
		return fmt.Errorf("cannot write below %s: its file system is full, with %d of %d bytes free", pathbuilder.Printable(dir), space.Free, space.Size)
	case space.Inodes > 0 && space.Unused == 0:
		return fmt.Errorf("cannot write below %s: its file system has no room for another file, all %d inodes are in use", pathbuilder.Printable(dir), space.Inodes)
	}
	return nil
}

// TryWrite writes a little into a file without a name in the directory, so that there is nothing to see
// or to remove, and returns why that cannot be done. Where the file system knows no such files
// one with a name of its own is made if named is true, and removed again, and the directory keeps its
// time; if not, the system is only asked whether it would let one be made.
func TryWrite(dir string, named bool) error {
	cannot := func(err error) error {
		return fmt.Errorf("cannot write below %s: %w", pathbuilder.Printable(dir), err)
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		file := os.NewFile(uintptr(fd), dir)
		_, err = file.Write(bytes.Repeat([]byte{'x'}, 4096))
		if e := file.Close(); err == nil {
			err = e // where files are sent to a server, it says so only now
		}
		if err != nil {
			return cannot(err)
		}
		return nil
	case !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT):
		return cannot(err)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return cannot(err)
	}
	if named {
		if err := writeNamed(dir); err != nil {
			return cannot(err)
		}
	}
	return nil
}

// writeNamed makes a file and removes it. The directory keeps its time.
func writeNamed(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, ".zkrsync-test-"+rand.Text())
	err = os.WriteFile(name, []byte(strings.Repeat("x", 4096)), 0o600)
	if e := os.Remove(name); err == nil && !errors.Is(e, unix.ENOENT) { // a run with --delete may be quicker
		err = e
	}
	return cmp.Or(err, os.Chtimes(dir, time.Time{}, info.ModTime()))
}

// Flush has all that was written to the file system of a directory reach its disk. An error may be of
// something that others have written, or long ago; nobody can tell.
func Flush(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Syncfs(int(file.Fd())); err != nil {
		return fmt.Errorf("cannot flush the file system of %s: %w", pathbuilder.Printable(dir), err)
	}
	return nil
}

// Space is how full a file system is. Sizes are in bytes.
type Space struct {
	Size, Free     uint64
	Inodes, Unused uint64 // 0: it does not count them
}

// SpaceBelow is that of a directory.
func SpaceBelow(dir string) (Space, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return Space{}, fmt.Errorf("cannot learn how full %s is: %w", pathbuilder.Printable(dir), err)
	}
	return spaceOf(&fs), nil
}

func spaceOf(fs *unix.Statfs_t) Space {
	free := fs.Bavail
	if os.Geteuid() == 0 { // what is reserved is reserved for root
		free = fs.Bfree
	}
	size := uint64(fs.Bsize)
	return Space{Size: fs.Blocks * size, Free: free * size, Inodes: fs.Files, Unused: fs.Ffree}
}
