// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vsc-zk/internal/session"
)

// namedFile is a file that this client reads or writes; path is "" if it does not.
type namedFile struct{ option, path string }

// checkFiles refuses names of files that get into each other's way. Each by itself is tried where it is used.
func (o *options) checkFiles(logFile, pidFile string) error {
	own := []namedFile{{"logfile", logFile}, {"pidfile", pidFile}}
	switch {
	case o.destination:
		return outside("rsyncpath", o.rsyncPath, own)
	case o.local != "":
		if err := outside("local", o.local, append(own, namedFile{"done-file", o.doneFile}, namedFile{"report", o.report}, namedFile{"failed", o.failed})); err != nil {
			return err
		}
	case !o.source || o.inherit:
		return nil
	}
	// What has failed may be written where it came from: that is read before.
	return cmp.Or(
		distinct(append(own, namedFile{"done-file", o.doneFile}, namedFile{"report", o.report}, namedFile{"failed", o.failed})),
		distinct(append(own, namedFile{"done-file", o.doneFile}, namedFile{"report", o.report}, namedFile{"paths-from", o.pathsFrom})),
		distinct(append(own, namedFile{"done-file", o.doneFile}, namedFile{"report", o.report}, namedFile{"failed", o.failed}, namedFile{"changed", o.changedFile()})),
	)
}

// changedFile is where the list of changes comes from.
func (o *options) changedFile() string {
	if o.changed == "-" {
		return "/dev/stdin"
	}
	return o.changed
}

// outside refuses files of a destination where it receives, in the directory that an option names: rsync would
// delete them with --delete, and the log would go on where nobody can read it.
func outside(option, dir string, files []namedFile) error {
	base := realPath(dir)
	for _, f := range files {
		if f.path != "" && strings.HasPrefix(realPath(f.path), strings.TrimSuffix(base, "/")+"/") {
			return &session.OptionError{Option: f.option, Err: fmt.Errorf("cannot use --%s=%s: it lies in --%s, where this destination receives and --delete would remove it", f.option, f.path, option)}
		}
	}
	return nil
}

// distinct refuses two options that name the same regular file.
func distinct(files []namedFile) error {
	for i, f := range files {
		for _, g := range files[:i] {
			if f.path != "" && g.path != "" && sameFile(f.path, g.path) {
				return &session.OptionError{Option: f.option, Err: fmt.Errorf("cannot use --%s=%s: it is the same file as --%s", f.option, f.path, g.option)}
			}
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	if errA != nil || errB != nil {
		return errors.Is(errA, os.ErrNotExist) && errors.Is(errB, os.ErrNotExist) && realPath(a) == realPath(b)
	}
	return infoA.Mode().IsRegular() && os.SameFile(infoA, infoB)
}

// realPath is a path without links, as far as it exists.
func realPath(path string) string {
	if found, err := filepath.EvalSymlinks(path); err == nil {
		path = found
	} else if dir := filepath.Dir(path); dir != path {
		return filepath.Join(realPath(dir), filepath.Base(path))
	}
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return filepath.Clean(path)
}
