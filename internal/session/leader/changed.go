// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"vsc-zk/internal/private"
	"vsc-zk/internal/session/wire"
)

// A list of what has changed may have many millions of lines, and is read as it is queued: a few hundred names make
// a task, and fewer tasks wait at a time than of directories. What comes out of a pipe is kept in a file without
// a name, as it is read twice: all of it is looked at before anything begins.

const (
	changedWindow = 1000
	changedNames  = 500
	changedBytes  = 8 << 10 // of the names of a task
	longestChange = 64 << 10
)

// changes is a list of names below the base.
type changes struct {
	file      *os.File
	base      string
	separator byte
	hash      string
}

// changes is what Changed holds.
func (l *Leader) changes() (*changes, error) {
	if l.changed == nil {
		list, err := openChanges(l.cfg.Changed, l.base.Dir)
		if err != nil {
			return nil, fmt.Errorf("cannot use the list of changes %s: %w", l.cfg.Changed, err)
		}
		l.changed = list
	}
	return l.changed, nil
}

func openChanges(name, base string) (*changes, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		pipe := file
		file, err = spool(pipe)
		pipe.Close()
	}
	if err != nil {
		return nil, err
	}
	c := &changes{file: file, base: base, separator: '\n'}
	if err := c.check(); err != nil {
		file.Close()
		return nil, err
	}
	return c, nil
}

// spool keeps what comes out of a pipe.
func spool(pipe io.Reader) (*os.File, error) {
	dir, err := private.TempDir("", "zkrsync-changed-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file, err := os.OpenFile(dir+"/list", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(file, pipe); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// check finds out what separates the names, and looks at each.
func (c *changes) check() (err error) {
	if _, err = c.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if c.hash, err = hashList(io.TeeReader(c.file, c)); err != nil {
		return err
	}
	return c.each(func(string) error { return nil })
}

// Write is what check sees of the list: a NUL separates names.
func (c *changes) Write(data []byte) (int, error) {
	if bytes.IndexByte(data, 0) >= 0 {
		c.separator = 0
	}
	return len(data), nil
}

// each gives the names one after the other, as they are below the base.
func (c *changes) each(do func(rel string) error) error {
	if _, err := c.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	reader := bufio.NewReaderSize(c.file, longestChange)
	for number := 1; ; number++ {
		line, err := reader.ReadSlice(c.separator)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", number, err)
		}
		rel, bad := c.below(string(bytes.TrimSuffix(line, []byte{c.separator})))
		if bad != nil {
			return fmt.Errorf("line %d: %w", number, bad)
		}
		if rel != "" { // the base is looked at in every run
			if err := do(rel); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// below gives a line as a path below the base, "" if it is empty or the base.
func (c *changes) below(line string) (string, error) {
	rel := line
	if strings.HasPrefix(line, "/") {
		var inside bool
		if rel, inside = strings.CutPrefix(line, strings.TrimSuffix(c.base, "/")); !inside || rel != "" && rel[0] != '/' {
			return "", fmt.Errorf("%s is not below %s", wire.Text(line), wire.Text(c.base))
		}
	}
	for component := range strings.SplitSeq(rel, "/") {
		if component == ".." {
			return "", fmt.Errorf("%s leads out of it", wire.Text(line))
		}
	}
	if rel = strings.TrimPrefix(path.Clean("/"+rel), "/"); len(rel) >= 4096 {
		return "", errors.New("it is longer than a path can be; names end with a line break or a NUL")
	}
	return rel, nil
}

// tasks emits all but the first of the tasks of the list.
func (c *changes) tasks(skip int, emit func(wire.Task) error) error {
	var names []wire.Text
	size := 0
	flush := func() error {
		task := wire.ListedTask(names)
		names, size = nil, 0
		if skip > 0 {
			skip--
			return nil
		}
		return emit(task)
	}
	err := c.each(func(rel string) error {
		names = append(names, wire.Text(rel))
		if size += len(rel); len(names) < changedNames && size < changedBytes {
			return nil
		}
		return flush()
	})
	if err == nil && len(names) > 0 {
		err = flush()
	}
	return err
}
