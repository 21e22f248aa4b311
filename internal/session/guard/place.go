// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/pathbuilder"
)

// Place is where a directory lies: on which mount, and which directory of which file system it is.
type Place struct {
	mount uint64 // id; where the kernel is older than 6.8 a later mount may get it again
	dev   uint64
	fsid  unix.Fsid // zero on some file systems
	magic int64     // type of the file system
	ino   uint64
}

// PlaceOf tells where a directory lies now, links followed.
func PlaceOf(dir string) (Place, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Place{}, fmt.Errorf("cannot open %s: %w", pathbuilder.Printable(dir), err)
	}
	defer unix.Close(fd)
	var stat unix.Statx_t
	var fs unix.Statfs_t
	mask := unix.STATX_INO | unix.STATX_MNT_ID | unix.STATX_MNT_ID_UNIQUE
	if err := errors.Join(unix.Statx(fd, "", unix.AT_EMPTY_PATH, mask, &stat), unix.Fstatfs(fd, &fs)); err != nil {
		return Place{}, fmt.Errorf("cannot learn where %s lies: %w", pathbuilder.Printable(dir), err)
	}
	return Place{
		mount: stat.Mnt_id, dev: unix.Mkdev(stat.Dev_major, stat.Dev_minor), fsid: fs.Fsid, magic: int64(fs.Type), ino: stat.Ino,
	}, nil
}

// Same tells whether the directory has not been away in between: it is the same one, on the same mount.
func (p Place) Same(q Place) bool { return p == q }

// Like tells whether it is the same directory of the same file system, which may have been mounted anew
// in between. A file system without an id of its own is known by its device.
func (p Place) Like(q Place) bool {
	if p.magic != q.magic || p.ino != q.ino || p.fsid != q.fsid {
		return false
	}
	return p.fsid != (unix.Fsid{}) || p.dev == q.dev
}

// nearlyFull is the part of a file system, and the most bytes, that count as no room: less is gone with
// the next file.
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
	free := fs.Bavail
	if os.Geteuid() == 0 { // what is reserved is reserved for root
		free = fs.Bfree
	}
	switch size := uint64(fs.Bsize); {
	case fs.Flags&unix.ST_RDONLY != 0:
		return fmt.Errorf("cannot write below %s: its file system is mounted read-only", pathbuilder.Printable(dir))
	case fs.Blocks > 0 && free*size < min(fs.Blocks*size/fullPart+1, fullBytes):
		return fmt.Errorf("cannot write below %s: its file system is full, with %d of %d bytes free", pathbuilder.Printable(dir), free*size, fs.Blocks*size)
	case fs.Files > 0 && fs.Ffree == 0:
		return fmt.Errorf("cannot write below %s: its file system has no room for another file, all %d inodes are in use", pathbuilder.Printable(dir), fs.Files)
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
	if !named {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return cannot(err)
	}
	name := filepath.Join(dir, ".zkrsync-test-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	err = os.WriteFile(name, []byte(strings.Repeat("x", 4096)), 0o600)
	if e := os.Remove(name); err == nil && !errors.Is(e, unix.ENOENT) { // a run with --delete may be quicker
		err = e
	}
	if e := os.Chtimes(dir, time.Time{}, info.ModTime()); err == nil {
		err = e
	}
	if err != nil {
		return cannot(err)
	}
	return nil
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
