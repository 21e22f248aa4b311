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

// Found is an entry of a walk with what tells whether its directory has
// changed since an earlier walk.
type Found struct {
	Entry
	Stamp uint64 // hash of path, device, inode and ctime as they were before the content was read
	Young bool   // the directory may change again, or have changed, without another stamp, even if it is read Settle later
	Names int    // what is in the directory besides directories; 0 for recursive entries and an excluded base, which are not read
}

// WalkStamped is Walk with stamps. The package comment says what they tell.
func WalkStamped(ctx context.Context, opts Options, emit func(Found) error) error {
	w := newWalker(opts, emit)
	w.stamper = newStamper()
	return w.walk(ctx)
}

const (
	// Settle is the least time between the emission of an entry and the moment at
	// which its directory is read by whoever works on it. Kernels stamp with the
	// time of their last tick, which is 10 ms at most: what changes later than
	// that after the stamp was taken has another one.
	Settle = 20 * time.Millisecond

	// coarseTick is for file systems that keep whole seconds, or pairs of them
	// (ext3, old file servers, FAT).
	coarseTick = 2 * time.Second

	// clockSlack is how far the clock of a file server may be off.
	clockSlack = time.Minute
)

// stamp is what a walk keeps of a directory's state.
type stamp struct {
	hash  uint64
	young bool
}

// stamper takes stamps, in several goroutines. A nil stamper takes none.
type stamper struct {
	now func() time.Time

	mu    sync.Mutex
	local map[uint64]bool // by device: stamped by this machine's clock
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

// at takes the stamp of a directory by its name in an open directory. It is an
// error if it is no longer there, or no directory.
func (s *stamper) at(path string, parent openDir, name string) (stamp, error) {
	if s == nil {
		return stamp{}, nil
	}
	return s.take(path, func(stat *unix.Stat_t) error { return parent.look(name, stat) })
}

// path takes the stamp of a directory that could not be opened, or need not be.
func (s *stamper) path(path string, flags int) stamp {
	if s == nil {
		return stamp{}
	}
	st, _ := s.take(path, func(stat *unix.Stat_t) error { return unix.Fstatat(unix.AT_FDCWD, path, stat, flags) })
	return st
}

// take counts what cannot be looked at as changing.
func (s *stamper) take(path string, look func(*unix.Stat_t) error) (stamp, error) {
	now := s.now() // not after the look: rather too young than too old
	var stat unix.Stat_t
	err := ignoreInterrupts(func() error { return look(&stat) })
	if err == nil && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if err != nil {
		if !isGone(err) {
			err = nil
		}
		return stamp{hash: hashStamp(path, &unix.Stat_t{}), young: true}, err
	}
	return stamp{hash: hashStamp(path, &stat), young: s.isYoung(path, &stat, now)}, nil
}

// isYoung reports whether a directory may have changed, or change, without
// another ctime, although it is not read before Settle has passed.
//
// The clock that gave the ctime had come to it when the stamp was taken, so
// it is beyond by then. That also holds where the times come from several clocks,
// as from those of a cluster's nodes: two of them do not show the same
// nanosecond or microsecond. With times of milliseconds and more they may, and a
// tick may be longer than Settle.
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

// mayBeNow reports whether the clock that gave ctime may still show the same
// time. One that is far ahead was given by a clock that has been put right.
func mayBeNow(ctime, now time.Time, slack time.Duration) bool {
	age := now.Sub(ctime)
	return -slack <= age && age <= slack
}

// hashStamp needs no seed, so that stamps of several walks and processes can
// be compared.
func hashStamp(path string, stat *unix.Stat_t) uint64 {
	data := make([]byte, 0, 256)
	for _, n := range []uint64{stat.Dev, stat.Ino, uint64(stat.Ctim.Sec), uint64(stat.Ctim.Nsec)} {
		data = binary.BigEndian.AppendUint64(data, n)
	}
	sum := sha256.Sum256(append(data, path...))
	return binary.BigEndian.Uint64(sum[:])
}

// isLocal reports whether the times of a file system are those of this
// machine's clock; path is on it.
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

// localClock reports whether a type of file system takes its times from this
// machine's clock. Others may have their own: NFS, Lustre, GPFS, Ceph, FUSE.
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

// zfsSuperMagic is of OpenZFS, include/sys/fs/zfs.h; the kernel's headers lack it.
const zfsSuperMagic = 0x2fc12fc1
