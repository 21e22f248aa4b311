// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Found is an entry of a walk, with what tells whether its directory has changed since an earlier
// walk.
type Found struct {
	Entry

	// Stamp is a hash of path and ctime, and Inode the inode, as they were before the content was read.
	Stamp uint64
	Inode uint64

	// Changed is the ctime; zero if the directory could not be looked at.
	Changed time.Time

	// Young: the directory may change, or have changed, without another stamp, even if whoever
	// works on it waits for Settle.
	Young bool

	// Names is how much the directory holds besides directories; 0 for recursive entries and an
	// excluded base, which are not read.
	Names int

	// Part is how much of the tree lies before it, from 0 to 1, as if all directories that are in one directory
	// were alike.
	Part float64
}

// WalkStamped is Walk with stamps. The package comment says what they tell.
func WalkStamped(ctx context.Context, opts Options, emit func(Found) error) error {
	w := newWalker(opts, emit)
	w.stamper = newStamper()
	return w.walk(ctx)
}

const (
	// Settle is the least time between the emission of an entry and the moment at which whoever
	// works on it reads the directory. Kernels stamp with the time of their last tick, and a tick
	// takes 10 ms at most: a change later than that after the stamp was taken gives another stamp.
	Settle = 20 * time.Millisecond

	// coarseTick is that of file systems that keep whole seconds, or pairs of them (ext3, old file
	// servers, FAT).
	coarseTick = 2 * time.Second

	// clockSlack is how far the clock of a file server may be off.
	clockSlack = time.Minute
)

// stamp is what a walk notes of a directory's state.
type stamp struct {
	hash    uint64
	inode   uint64
	changed int64 // nanoseconds since 1970; 0: it could not be looked at
	young   bool
}

func (s stamp) time() time.Time {
	if s.changed == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.changed)
}

// stamper takes stamps, in several goroutines at once. A nil stamper takes none.
type stamper struct {
	now func() time.Time

	mu    sync.Mutex
	local map[uint64]bool // by device: this machine's clock gives its times
}

func newStamper() *stamper {
	return &stamper{now: time.Now, local: map[uint64]bool{}}
}

// open takes the stamp of an open directory.
func (s *stamper) open(path string, f openDir) stamp {
	if s == nil {
		return stamp{}
	}
	st, _ := s.take(path, func(stat *unix.Stat_t) error { return unix.Fstat(f.fd, stat) })
	return st
}

// at takes the stamp of a directory by its name in an open directory. A name that is no longer
// there, or no directory, is an error.
func (s *stamper) at(path string, parent openDir, name string) (stamp, error) {
	if s == nil {
		return stamp{}, nil
	}
	return s.take(path, func(stat *unix.Stat_t) error { return parent.look(name, stat) })
}

// path takes the stamp of a directory that cannot or need not be opened.
func (s *stamper) path(path string, flags int) stamp {
	if s == nil {
		return stamp{}
	}
	st, _ := s.take(path, func(stat *unix.Stat_t) error { return unix.Fstatat(unix.AT_FDCWD, path, stat, flags) })
	return st
}

// take takes a stamp. What cannot be looked at has one that says just this: it changes when it can be
// looked at.
func (s *stamper) take(path string, look func(*unix.Stat_t) error) (stamp, error) {
	now := s.now() // before the look: rather too young than too old
	var stat unix.Stat_t
	err := ignoreInterrupts(func() error { return look(&stat) })
	if err == nil && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if err != nil {
		if !isGone(err) {
			err = nil
		}
		stat = unix.Stat_t{}
		return stamp{hash: hashStamp(path, &stat)}, err
	}
	return stamp{hash: hashStamp(path, &stat), inode: stat.Ino, changed: stat.Ctim.Nano(), young: s.isYoung(path, &stat, now)}, nil
}

// isYoung reports whether a directory may have changed, or may change, without another ctime,
// although nobody reads it before Settle has passed.
//
// When the stamp was taken the clock that gave the ctime had come to that time, so it is beyond it
// when Settle has passed. That also holds where several clocks give the times, as those of a
// cluster's nodes do: two clocks do not show the same nanosecond or microsecond. If times are whole
// milliseconds or seconds they may show the same, and a tick may be longer than Settle.
func (s *stamper) isYoung(path string, stat *unix.Stat_t, now time.Time) bool {
	if stat.Ctim.Nsec%int64(time.Millisecond) != 0 {
		return false
	}
	slack := coarseTick
	if !s.isLocal(stat.Dev, path) {
		slack += clockSlack
	}
	return mayBeNow(time.Unix(stat.Ctim.Unix()), now, slack)
}

// mayBeNow reports whether the clock that gave ctime may still show that time. A ctime far ahead is
// that of a clock which has been put right since.
func mayBeNow(ctime, now time.Time, slack time.Duration) bool {
	age := now.Sub(ctime)
	return -slack <= age && age <= slack
}

// hashStamp hashes without a seed, so that stamps of several walks and processes can be compared.
func hashStamp(path string, stat *unix.Stat_t) uint64 {
	data := make([]byte, 0, 256)
	data = binary.BigEndian.AppendUint64(data, uint64(stat.Ctim.Sec))
	data = binary.BigEndian.AppendUint64(data, uint64(stat.Ctim.Nsec))
	sum := sha256.Sum256(append(data, path...))
	return binary.BigEndian.Uint64(sum[:])
}

// isLocal reports whether this machine's clock gives the times of a file system; path is on it.
func (s *stamper) isLocal(dev uint64, path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	local, known := s.local[dev]
	if !known {
		var stat unix.Statfs_t
		err := ignoreInterrupts(func() error { return unix.Statfs(path, &stat) })
		local = err == nil && localClock(int64(stat.Type))
		s.local[dev] = local
	}
	return local
}

// localClock reports whether a type of file system takes its times from this machine's clock. NFS,
// Lustre, GPFS, Ceph, FUSE and others may have clocks of their own.
func localClock(fstype int64) bool {
	switch fstype {
	case unix.EXT4_SUPER_MAGIC, // and ext2, ext3
		unix.XFS_SUPER_MAGIC,
		unix.BTRFS_SUPER_MAGIC,
		unix.F2FS_SUPER_MAGIC,
		unix.TMPFS_MAGIC,
		unix.RAMFS_MAGIC,
		unix.OVERLAYFS_SUPER_MAGIC, // what is written lies on a local one
		zfsSuperMagic:
		return true
	}
	return false
}

// zfsSuperMagic comes from OpenZFS, include/sys/fs/zfs.h; the kernel's headers lack it.
const zfsSuperMagic = 0x2fc12fc1
