// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/slowfs"
)

func TestFixed(t *testing.T) {
	const other = 12345
	if os.Geteuid() != 0 {
		t.Fatal("only root can give directories away")
	}
	for what, c := range map[string]struct {
		change func(base string) error
		want   bool
	}{
		"root's":                 {func(string) error { return nil }, true},
		"the path of another":    {func(base string) error { return os.Chown(base+"/a/b/c", other, 0) }, true},
		"a directory of another": {func(base string) error { return os.Chown(base+"/a/b", other, 0) }, false},
		"the base of another":    {func(base string) error { return os.Chown(base, other, 0) }, false},
		"above it of another":    {func(base string) error { return os.Chown(base+"/..", other, 0) }, false},
		"of a group":             {func(base string) error { return os.Chmod(base+"/a", 0o770) }, false},
		"of everybody":           {func(base string) error { return os.Chmod(base+"/a", 0o707) }, false},
		"sticky":                 {func(base string) error { return os.Chmod(base+"/a", 0o777|os.ModeSticky) }, true},
		"sticky, another's in it": {func(base string) error {
			return errors.Join(os.Chmod(base+"/a/b", 0o777|os.ModeSticky), os.Chown(base+"/a/b/c", other, 0))
		}, false},
		"an access list": {func(base string) error { return allow(base+"/a", other) }, false},
		"a link": {func(base string) error {
			return errors.Join(os.Rename(base+"/a/b", base+"/b"), os.Symlink("../b", base+"/a/b"))
		}, false},
		"gone": {func(base string) error { return os.RemoveAll(base + "/a/b") }, false},
		"a tmpfs": {func(base string) error {
			return errors.Join(unix.Mount("none", base+"/a", "tmpfs", 0, "mode=755"), os.MkdirAll(base+"/a/b/c", 0o755))
		}, true},
		"a FUSE": {func(base string) error {
			behind := t.TempDir()
			if err := os.MkdirAll(behind+"/b/c", 0o755); err != nil {
				return err
			}
			mounted, err := slowfs.Mount(behind, base+"/a", slowfs.Options{})
			if err == nil {
				t.Cleanup(func() { _ = mounted.Unmount() })
			}
			return err
		}, false},
	} {
		t.Run(what, func(t *testing.T) {
			base := t.TempDir() + "/above/base"
			if err := os.MkdirAll(base+"/a/b/c", 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(base+"/a", unix.MNT_DETACH) })
			tree, err := OpenTree(base)
			if err != nil {
				t.Fatal(err)
			}
			if !tree.Fixed([]string{"a/b/c", "", "a"}) {
				t.Error("not fixed although all of it is root's")
			}
			if err := c.change(base); err != nil {
				t.Fatal(err)
			}
			if got := tree.Fixed([]string{"", "a/b/c"}); got != c.want {
				t.Errorf("fixed: %v", got)
			}
		})
	}
}

// allow gives a user all rights at a file, by an access list.
func allow(path string, user uint32) error {
	list := binary.LittleEndian.AppendUint32(nil, 2) // version
	for _, entry := range []struct {
		tag, perm uint16
		id        uint32
	}{{0x01, 7, ^uint32(0)}, {0x02, 7, user}, {0x04, 5, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 5, ^uint32(0)}} {
		list = binary.LittleEndian.AppendUint16(list, entry.tag)
		list = binary.LittleEndian.AppendUint16(list, entry.perm)
		list = binary.LittleEndian.AppendUint32(list, entry.id)
	}
	return unix.Setxattr(path, "system.posix_acl_access", list, 0)
}
