// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"bytes"
	"context"
	"strings"

	"golang.org/x/sys/unix"
)

// Attributes are what a name has that rsync sends only if it is asked to. Those that the system itself
// keeps, as labels of SELinux, or the layout of a file on a Lustre, are none.
type Attributes struct {
	ACL      bool // an access control list beyond the mode, or one for what is made in a directory
	Extended bool // the user's extended attributes, or capabilities of a program
}

// Of the first allLooked files each one is looked at, then oneIn so many: who makes such things makes them at many.
const (
	allLooked = 256
	oneIn     = 8
)

// ScanAttributes calls visit for directories, given by their paths below the base, for what is in
// them, and with recursive for all that is below. Names for whose path skip says true are left out,
// directories with all below them; nil leaves out none. What cannot be looked at is passed over, as
// are links, and, after the first, most files. One name after the other is looked at: it is there to find out by the way, not to be
// quick. It goes by full paths, there being no other way in the kernel, and reads nothing but names
// of attributes. It ends with the first error of visit, which it returns as it is.
func ScanAttributes(ctx context.Context, tree *Tree, dirs []string, recursive bool, skip func(path string) bool, visit func(path string, a Attributes) error) error {
	base, err := tree.open("", unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(base)
	var ended error
	files := 0
	buf := make([]byte, 4096) // of the one reader
	look := func(at, path string) error {
		a, err := attributesOf(at, buf)
		if err == nil {
			ended = visit(path, a)
		}
		return ended
	}
	s := scan{tree: tree, base: base, readers: 1, pass: func(error) bool { return ended == nil }}
	s.read = func(ctx context.Context, rel string, dir openDir) (deeper []string, err error) {
		at := dir.path + "/"
		if err := look(at+".", rel); err != nil {
			return nil, err
		}
		err = dir.names(ctx, func(n dirName) error {
			name := string(n.bytes)
			path := joinRel(rel, name)
			switch {
			case skip != nil && skip(path), n.kind == unix.DT_LNK:
				return nil
			case !n.isDir():
				if files++; files > allLooked && files%oneIn != 0 {
					return nil
				}
				return look(at+name, path)
			case recursive:
				deeper = append(deeper, name)
			}
			return nil
		})
		return deeper, err
	}
	s.runAll(ctx, dirs)
	return ended
}

// attributesOf looks at a path.
func attributesOf(path string, buf []byte) (a Attributes, err error) {
	n := 0
	err = ignoreInterrupts(func() (err error) {
		n, err = unix.Llistxattr(path, buf)
		return err
	})
	switch err {
	case nil:
	case unix.ERANGE: // only users make so many
		return Attributes{Extended: true}, nil
	default:
		return a, err
	}
	for field := range bytes.SplitSeq(buf[:n], []byte{0}) {
		switch name := string(field); {
		case name == "system.posix_acl_access", name == "system.posix_acl_default":
			a.ACL = true
		case name == "security.capability", strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.rsync."):
			a.Extended = true
		}
	}
	return a, nil
}
