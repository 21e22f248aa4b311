// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openDir is a directory open for reading. Unlike os.File it does not ask for names again after
// their end, which is a round trip on a network file system, and names that nobody keeps cost no
// memory.
type openDir struct {
	fd      int
	path    string   // for messages
	buffers *buffers // nil: a new one
}

// openByPath follows links.
func openByPath(path string) (openDir, error) {
	fd := -1
	err := ignoreInterrupts(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return openDir{}, fmt.Errorf("cannot open directory %s: %w", Printable(path), err)
	}
	return openDir{fd: fd, path: path}, nil
}

func (d openDir) close() { unix.Close(d.fd) }

// look is lstat for a name in the directory.
func (d openDir) look(name string, stat *unix.Stat_t) error {
	return ignoreInterrupts(func() error { return unix.Fstatat(d.fd, name, stat, unix.AT_SYMLINK_NOFOLLOW) })
}

// dirName is a name in a directory and what it is: unix.DT_DIR, DT_LNK, …
type dirName struct {
	bytes []byte // valid only during the call
	kind  uint8
}

func (n dirName) isDir() bool { return n.kind == unix.DT_DIR }

// buffers are what names are read into; the zero value is ready.
type buffers struct{ pool sync.Pool }

// buffer has room for about 2,000 names.
type buffer [1 << 16]byte

func (b *buffers) get() *buffer {
	if b != nil {
		if buf, ok := b.pool.Get().(*buffer); ok {
			return buf
		}
	}
	return new(buffer)
}

func (b *buffers) put(buf *buffer) {
	if b != nil {
		b.pool.Put(buf)
	}
}

// chunk is the number of names after which ctx is looked at: a file server may have to be asked
// about each of them.
const chunk = 1024

// readError is an error of the reading itself, not of what is done with the names.
type readError struct {
	path string
	err  error
}

func (e *readError) Error() string {
	return fmt.Sprintf("cannot read directory %s: %v", Printable(e.path), e.err)
}

func (e *readError) Unwrap() error { return e.err }

// names calls each for all that is in the directory, until ctx ends. An error of each ends it and
// is returned as it is.
func (d openDir) names(ctx context.Context, each func(dirName) error) error {
	buf := d.buffers.get()
	defer d.buffers.put(buf)
	seen := 0
	for {
		size := 0
		err := ignoreInterrupts(func() (err error) {
			size, err = unix.ReadDirent(d.fd, buf[:])
			return err
		})
		if err != nil {
			return &readError{d.path, err}
		}
		if size <= 0 {
			return nil
		}
		for rest := buf[:size]; len(rest) > 0; {
			n, length, err := parseDirent(rest)
			if err != nil {
				return &readError{d.path, err}
			}
			rest = rest[length:]
			if string(n.bytes) == "." || string(n.bytes) == ".." {
				continue
			}
			if n.kind == unix.DT_UNKNOWN { // some file systems do not tell
				err := d.learnKind(&n)
				if err == unix.ENOENT {
					continue
				}
				if err != nil {
					return &readError{d.path, err}
				}
			}
			if err := each(n); err != nil {
				return err
			}
			if seen++; seen%chunk == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// parseDirent reads the first name of what getdents64(2) returns.
func parseDirent(buf []byte) (n dirName, length int, err error) {
	const (
		lengthAt = int(unsafe.Offsetof(unix.Dirent{}.Reclen))
		kindAt   = int(unsafe.Offsetof(unix.Dirent{}.Type))
		nameAt   = int(unsafe.Offsetof(unix.Dirent{}.Name))
	)
	if len(buf) > nameAt {
		length = int(binary.NativeEndian.Uint16(buf[lengthAt:]))
	}
	if length <= nameAt || length > len(buf) {
		return dirName{}, 0, errors.New("the kernel's answer cannot be understood")
	}
	name, _, _ := bytes.Cut(buf[nameAt:length], []byte{0})
	return dirName{bytes: name, kind: buf[kindAt]}, length, nil
}

func (d openDir) learnKind(n *dirName) error {
	var stat unix.Stat_t
	if err := d.look(string(n.bytes), &stat); err != nil {
		return err
	}
	n.kind = uint8(stat.Mode & unix.S_IFMT >> 12) // as IFTODT of dirent.h does
	return nil
}
