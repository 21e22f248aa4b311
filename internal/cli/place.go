// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vsc-zk/internal/private"
)

// PrivateFile makes the directory for a log or pid file, and its missing parents, each with mode
// 0700; what exists is left as it is. It returns the path to use. That is the given one, unless it
// lies in shared, a directory in /tmp that another user may have made first: if shared is a link, is
// not this user's or can be written by others, the file goes to shared-<uid>, and note says so.
func PrivateFile(path, shared string) (use, note string, err error) {
	inside, found := strings.CutPrefix(filepath.Clean(path), shared+"/")
	if found {
		dir := shared
		err := ownDir(dir)
		var foreign *foreignError
		if errors.As(err, &foreign) {
			dir = fmt.Sprintf("%s-%d", shared, os.Geteuid())
			note = fmt.Sprintf("%s, using %s", foreign, dir)
			err = ownDir(dir)
		}
		if err != nil {
			return "", "", err
		}
		path = filepath.Join(dir, inside)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", fmt.Errorf("cannot make the directory %s: %w", dir, err)
	}
	return path, note, nil
}

// foreignError says that someone else may control a directory.
type foreignError struct{ dir, why string }

func (e *foreignError) Error() string { return e.dir + " " + e.why }

// ownDir makes dir for this user alone, or checks that it is this user's.
func ownDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make the directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("cannot look at the directory: %w", err)
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return &foreignError{dir, "is a symbolic link"}
	case !info.IsDir():
		return &foreignError{dir, "is not a directory"}
	case !known || owner.Uid != uint32(os.Geteuid()):
		return &foreignError{dir, "belongs to another user"}
	case private.Controlled(dir) != "":
		return &foreignError{dir, "can be written by others"}
	}
	return nil
}
