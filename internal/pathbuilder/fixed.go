// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Fixed reports whether nobody but root and the user of this process can put something else in the place of one
// of the names, which are paths below the base, or of a directory above one, up to the root directory. It is
// false where that cannot be told.
func (t *Tree) Fixed(names []string) bool {
	f := fixing{user: uint32(os.Geteuid()), components: map[string]component{}, types: map[uint64]bool{}}
	for _, name := range names {
		if !f.look(t.path(name)).fixed {
			return false
		}
	}
	return true
}

// fixing is one look at names and the directories above them, each once.
type fixing struct {
	user       uint32
	components map[string]component
	types      map[uint64]bool // devices, and whether a mode tells there who may rename
}

type component struct {
	stat  unix.Stat_t
	fixed bool
}

// look goes from the top down: what lies in a fixed directory can be looked at by its path.
func (f *fixing) look(path string) (c component) {
	if known, ok := f.components[path]; ok {
		return known
	}
	defer func() { f.components[path] = c }()
	var above component
	if path != "/" {
		above = f.look(path[:max(strings.LastIndexByte(path, '/'), 1)])
		if !above.fixed || above.stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			return c
		}
	}
	if err := ignoreInterrupts(func() error { return unix.Lstat(path, &c.stat) }); err != nil {
		return c
	}
	c.fixed = path == "/" || f.keeps(path, above.stat, c.stat)
	return c
}

// keeps reports whether a directory keeps what is in it from everybody else. An access list gives nobody a right
// that the group does not seem to have, as the mode shows its mask there.
func (f *fixing) keeps(path string, dir, child unix.Stat_t) bool {
	const othersWrite = unix.S_IWGRP | unix.S_IWOTH
	return f.trusts(dir) && f.modeTells(path, dir.Dev) && (dir.Mode&othersWrite == 0 || dir.Mode&unix.S_ISVTX != 0 && f.trusts(child))
}

func (f *fixing) trusts(stat unix.Stat_t) bool { return stat.Uid == 0 || stat.Uid == f.user }

// modeTells reports whether the mode of a directory, in which path lies, says all. An NFS or GPFS may have access lists
// that no mode shows, and owners that are others on the server; a FUSE does as it likes.
func (f *fixing) modeTells(path string, dev uint64) bool {
	tells, known := f.types[dev]
	if !known {
		var stat unix.Statfs_t
		dir := path[:max(strings.LastIndexByte(path, '/'), 1)]
		err := ignoreInterrupts(func() error { return unix.Statfs(dir, &stat) })
		tells = err == nil && (localClock(int64(stat.Type)) || stat.Type == lustreSuperMagic)
		f.types[dev] = tells
	}
	return tells
}

// lustreSuperMagic comes from Lustre, include/uapi/linux/lustre/lustre_user.h.
const lustreSuperMagic = 0x0bd00bd0
