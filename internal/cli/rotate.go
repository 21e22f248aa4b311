// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"fmt"
	"os"

	"vsc-zk/internal/private"
)

// rotatingFile appends to a file that it renames to path.1 … path.N when it is full, newest first,
// as Python's RotatingFileHandler does.
type rotatingFile struct {
	path     string
	maxBytes int64
	backups  int
	file     *os.File // nil: to be opened by the next write
	torn     bool     // the last write has failed within a line

	rotateFailed error // of the last write
}

func openRotating(path string, maxBytes int64, backups int) (*rotatingFile, error) {
	f := &rotatingFile{path: path, maxBytes: maxBytes, backups: backups}
	return f, f.open()
}

func (f *rotatingFile) open() error {
	file, err := private.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	f.file = file
	return nil
}

// write appends b, after rotating if b would bring the file to its limit. A file that cannot be
// rotated grows, and rotateFailed says why.
func (f *rotatingFile) write(b []byte) error {
	if f.file != nil {
		f.rotateFailed = f.rotate(int64(len(b)))
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := f.file.Write(b)
	f.torn = err != nil && (f.torn || n > 0)
	return err
}

// rotate makes room, and leaves opening the new file to write. It asks for the size each time:
// other processes may append to the same file, and may have rotated it already.
func (f *rotatingFile) rotate(more int64) error {
	if f.maxBytes <= 0 || f.backups <= 0 {
		return nil
	}
	mine, err := f.file.Stat()
	if err != nil {
		return err
	}
	if !mine.Mode().IsRegular() || mine.Size() == 0 || mine.Size()+more < f.maxBytes {
		return nil
	}
	if current, err := os.Stat(f.path); err == nil && os.SameFile(mine, current) {
		for i := f.backups; i > 0; i-- {
			from := f.path
			if i > 1 {
				from = fmt.Sprintf("%s.%d", f.path, i-1)
			}
			if err := os.Rename(from, fmt.Sprintf("%s.%d", f.path, i)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	f.torn = false
	return f.close()
}

func (f *rotatingFile) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
