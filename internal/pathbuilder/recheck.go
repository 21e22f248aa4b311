// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is the tree below a base, reached without following links. It keeps nothing open, as a
// descriptor would hold on to a file system that is to be unmounted. Its methods may be called at
// the same time.
type Tree struct {
	root string // absolute, without links

	oneFileSystem bool
	byComponent   bool // do not use openat2, as on kernels before 5.6
}

// OneFileSystem returns the tree without what other file systems hold that are mounted in it: all
// that goes through it passes that over.
func (t *Tree) OneFileSystem() *Tree {
	one := *t
	one.oneFileSystem = true
	return &one
}

// OpenTree resolves base, which may be a symbolic link. Links are followed now and never again:
// what the base leads to later does not matter.
func OpenTree(base string) (*Tree, error) {
	base, err := CleanBase(base)
	if err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(base)
	if err != nil {
		return nil, fmt.Errorf("cannot use base path %s: %w", Printable(base), cause(err))
	}
	t := &Tree{root: root}
	fd, err := t.open("", unix.O_PATH)
	if err != nil {
		return nil, err
	}
	unix.Close(fd)
	return t, nil
}

// Elsewhere reports whether a directory of a tree of one file system is on another one.
func (t *Tree) Elsewhere(rel string) bool {
	if !t.oneFileSystem || rel == "" {
		return false
	}
	base, err := t.openBase(unix.O_PATH)
	if err != nil {
		return false
	}
	defer unix.Close(base)
	fd, err := t.openIn(base, rel, unix.O_PATH)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return !sameDevice(base, fd)
}

// Root returns the base's path without links.
func (t *Tree) Root() string { return t.root }

// path returns the full path of rel.
func (t *Tree) path(rel string) string {
	if rel == "" {
		return t.root
	}
	return join(t.root, rel)
}

// State is what has become of a directory since its path was queued.
type State int

const (
	Present  State = iota + 1
	Vanished       // the directory, or one above it, does not exist any more
	Changed        // the directory, or one above it, is a link or no directory
)

// Check looks at each component of rel, a path below the base ("" for the base itself). Trouble
// with the base itself is always an error, so that everything below it does not look vanished when
// the base has gone.
func (t *Tree) Check(rel string) (State, error) {
	fd, err := t.open(rel, unix.O_PATH)
	switch {
	case err == nil:
		unix.Close(fd)
		return Present, nil
	case errors.As(err, new(*baseError)):
		return 0, err
	case errors.Is(err, unix.ENOENT):
		return Vanished, nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return Changed, nil
	}
	return 0, err
}

// baseError is an error of the base, not of a directory below it.
type baseError struct{ error }

func (e *baseError) Unwrap() error { return e.error }

// open opens the directory rel below the base, following no link.
func (t *Tree) open(rel string, flags int) (int, error) {
	if rel == "" || plain(rel) {
		if fd, err := t.openAtOnce(rel, flags); err == nil {
			return fd, nil
		}
	}
	// Again, piece by piece, to tell what is wrong.
	if rel == "" {
		return t.openBase(flags)
	}
	base, err := t.openBase(unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(base)
	return t.openIn(base, rel, flags)
}

// openAtOnce is open with a single system call, and the kernel's bare errors.
func (t *Tree) openAtOnce(rel string, flags int) (int, error) {
	if path := t.path(rel); len(path) <= maxPath && !t.byComponent {
		fd, err := openAt2(unix.AT_FDCWD, path, flags, unix.RESOLVE_NO_SYMLINKS)
		if err != unix.ENOSYS && err != unix.EPERM {
			return fd, err
		}
	}
	if rel == "" {
		return t.openRoot(flags)
	}
	root, err := t.openRoot(unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	return t.descend(root, rel, flags)
}

// openIn is open for a base that is open already.
func (t *Tree) openIn(base int, rel string, flags int) (int, error) {
	if !plain(rel) || strings.Contains(rel, "\x00") {
		return -1, fmt.Errorf("cannot use path %s: it must have no empty, . or .. component, nor a NUL byte", Printable(rel))
	}
	fd, err := t.descend(base, rel, flags)
	if err != nil {
		return -1, fmt.Errorf("cannot open directory %s: %w", Printable(t.path(rel)), err)
	}
	return fd, nil
}

// Open opens the base itself, to work in whatever is mounted at its path later. It cannot be read.
func (t *Tree) Open() (*os.File, error) {
	fd, err := t.openBase(unix.O_PATH)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), t.root), nil
}

func (t *Tree) openBase(flags int) (int, error) {
	fd, err := t.openRoot(flags)
	if err == nil {
		return fd, nil
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("%w: it is not the directory it was; start again", err)
	}
	return -1, &baseError{fmt.Errorf("cannot use base path %s: %w", Printable(t.root), err)}
}

func (t *Tree) openRoot(flags int) (int, error) {
	rel := t.root[1:]
	if rel == "" {
		return openAt(unix.AT_FDCWD, "/", flags)
	}
	top, err := openAt(unix.AT_FDCWD, "/", unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(top)
	return t.descend(top, rel, flags)
}

// maxPath is the longest path that the kernel takes in one call.
const maxPath = unix.PathMax - 1

// descend opens rel below the directory dir, piece by piece where rel is longer than the kernel
// takes. The flags are those of the last piece.
func (t *Tree) descend(dir int, rel string, flags int) (int, error) {
	above := dir
	for {
		piece, rest := cutPath(rel, maxPath)
		pieceFlags := flags
		if rest != "" {
			pieceFlags = unix.O_PATH
		}
		fd, err := t.openBelow(above, piece, pieceFlags)
		if above != dir {
			unix.Close(above)
		}
		if err != nil || rest == "" {
			return fd, err
		}
		above, rel = fd, rest
	}
}

// cutPath cuts as many whole components off rel as fit into limit bytes, at least one.
func cutPath(rel string, limit int) (piece, rest string) {
	if len(rel) <= limit {
		return rel, ""
	}
	end := strings.LastIndexByte(rel[:limit+1], '/')
	if end < 0 {
		piece, rest, _ = strings.Cut(rel, "/")
		return piece, rest
	}
	return rel[:end], rel[end+1:]
}

// openBelow opens rel below dir without following any link.
func (t *Tree) openBelow(dir int, rel string, flags int) (int, error) {
	if !t.byComponent {
		fd, err := openAt2(dir, rel, flags, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_BENEATH)
		// With EPERM a container's filter may refuse system calls that it does not know.
		if err != unix.ENOSYS && err != unix.EPERM {
			return fd, err
		}
	}
	above := dir
	for {
		name, rest, more := strings.Cut(rel, "/")
		nameFlags := flags
		if more {
			nameFlags = unix.O_PATH
		}
		fd, err := openAt(above, name, nameFlags)
		if above != dir {
			unix.Close(above)
		}
		if err != nil || !more {
			return fd, err
		}
		above, rel = fd, rest
	}
}

func openAt(dir int, name string, flags int) (int, error) {
	fd := -1
	err := ignoreInterrupts(func() (err error) {
		fd, err = unix.Openat(dir, name, flags|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// openAt2 refuses links in every component, if resolve says so. It enters file systems that are mounted below dir, as
// rsync does.
func openAt2(dir int, rel string, flags int, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_DIRECTORY | unix.O_CLOEXEC), Resolve: resolve}
	fd := -1
	err := ignoreInterrupts(func() (err error) {
		fd, err = unix.Openat2(dir, rel, &how)
		return err
	})
	return fd, err
}

// ignoreInterrupts repeats a system call that was interrupted: any signal may do that on a network
// file system, the Go runtime's own included.
func ignoreInterrupts(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
