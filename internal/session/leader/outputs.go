// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"vsc-zk/internal/private"
)

// OptionError is an error that comes from the value of an option, so that whoever shows it can tell where the
// user has given that.
type OptionError struct {
	Option string
	Err    error
}

func (e *OptionError) Error() string { return e.Err.Error() }
func (e *OptionError) Unwrap() error { return e.Err }

// BadValue is why the value of an option cannot be used.
func BadValue(option, value string, why error) *OptionError {
	return &OptionError{option, fmt.Errorf("cannot use --%s=%s: %w", option, value, why)}
}

// Check tries the files that a leader reads and writes, before anything is done. It leaves them as they are:
// other sources may have the same, and one of them may be writing already.
func (c Config) Check() error {
	for _, file := range []struct {
		option, path string
		try          func(string) error
	}{
		{"paths-from", c.PathsFrom, tryReading},
		{"history", c.History, tryReading},
		{"changed", c.Changed, tryReading},
		{"done-file", c.DoneFile, func(path string) error { return tryReplacing(path, true) }},
		{"failed", c.Failed, func(path string) error { return tryReplacing(path, false) }},
		{"report", c.Report, tryWriting},
	} {
		if file.path == "" {
			continue
		}
		if err := file.try(file.path); err != nil {
			return BadValue(file.option, file.path, err)
		}
	}
	return nil
}

var (
	errDirectory = errors.New("it is a directory")
	errSpecial   = errors.New("it is no regular file, and would be replaced by one")
	errForeign   = errors.New("it belongs to another user, in a directory in which only owners may replace files")
)

func tryReading(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errDirectory
	case !info.Mode().IsRegular():
		return nil // what comes out of a pipe comes once
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return file.Close()
}

// tryWriting is for a file that is written in place, which may be a device or a pipe.
func tryWriting(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := private.Check(path); err != nil { // a link that leads nowhere yet
			return err
		}
		return tryDirectory(filepath.Dir(path), false)
	case err != nil:
		return err
	case info.IsDir():
		return errDirectory
	case !info.Mode().IsRegular():
		return private.Check(path)
	}
	file, err := private.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

// tryReplacing is for a file that is written beside the old one and then takes its place. makes tells
// whether missing directories will be made.
func tryReplacing(path string, makes bool) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return errDirectory
	case !info.Mode().IsRegular():
		return errSpecial
	}
	dir := filepath.Dir(path)
	if info != nil && !mayReplace(dir, info, os.Geteuid()) {
		return errForeign
	}
	if _, err := os.Stat(dir); err != nil {
		return tryDirectory(dir, makes)
	}
	file, err := renameio.NewPendingFile(path, beside(path))
	if err != nil {
		return err
	}
	_, err = file.WriteString(tried)
	return errors.Join(err, file.Cleanup())
}

// beside has the new content of a file written in the directory of the file, never in TMPDIR: what takes the
// place of a file is nobody else's to exchange.
func beside(path string) renameio.Option { return renameio.WithTempDir(filepath.Dir(path)) }

// tried is written to see whether there is room.
const tried = "zkrsync\n"

// mayReplace is false for somebody else's file in a directory with the sticky bit.
func mayReplace(dir string, file fs.FileInfo, user int) bool {
	info, err := os.Stat(dir)
	if err != nil || info.Mode()&fs.ModeSticky == 0 {
		return true
	}
	mine := func(info fs.FileInfo) bool {
		stat, known := info.Sys().(*syscall.Stat_t)
		return !known || stat.Uid == uint32(user)
	}
	return user == 0 || mine(info) || mine(file)
}

// tryDirectory makes a file in a directory, or in the one in which missing directories are to be made.
func tryDirectory(dir string, makes bool) error {
	info, err := os.Stat(dir)
	switch {
	case makes && errors.Is(err, fs.ErrNotExist):
		return tryDirectory(filepath.Dir(dir), makes)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	file, err := os.CreateTemp(dir, ".zkrsync-try-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(tried)
	return errors.Join(err, file.Close())
}
