// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// checkSubpaths returns, for the base and each subpath, the level below the base at which the
// entries from there on are recursive.
func (w *walker) checkSubpaths() (map[string]int, error) {
	base := w.opts.Base
	levels := map[string]int{base: w.opts.Depth}
	deepest := w.opts.Depth
	for _, spec := range w.opts.Subpaths {
		depth, rel, err := parseSubpath(base, spec)
		if err != nil {
			return nil, err
		}
		path, level, problem := w.reach(rel, levels)
		if problem != "" {
			return nil, fmt.Errorf("cannot use subpath %s: %s is not in the pathlist of %s with depth %d! %s",
				Printable(spec), Printable(path), Printable(base), w.opts.Depth, problem)
		}
		if level+depth < deepest {
			// As in the original the message counts both levels from the root directory.
			above := strings.Count(strings.TrimRight(base, "/"), "/")
			return nil, fmt.Errorf("cannot use subpath %s: depthlevel %d for subpath %s is not as deep as current depthlevel %d! "+
				"Give it a depth of at least %d, or put it before the deeper ones",
				Printable(spec), above+level+depth, Printable(path), above+deepest, deepest-level)
		}
		deepest = level + depth
		levels[path] = deepest
	}
	return levels, nil
}

// parseSubpath returns the depth of a subpath and its path relative to base.
func parseSubpath(base, spec string) (depth int, rel string, err error) {
	refuse := func(why string) error {
		return fmt.Errorf("cannot use subpath %s: %s; write <depth>_<path>, for example 2_projects/big", Printable(spec), why)
	}
	number, path, found := strings.Cut(spec, "_")
	if !found {
		return 0, "", refuse("there is no _ after its depth")
	}
	depth, err = strconv.Atoi(strings.TrimSpace(number))
	if err != nil || depth < 0 {
		return 0, "", refuse(strconv.Quote(number) + " is not a depth")
	}
	if path == "" {
		return 0, "", refuse("it has no path")
	}
	rel = strings.TrimRight(path, "/")
	if strings.HasPrefix(path, "/") {
		if rel == "" {
			rel = "/"
		}
		var ok bool
		if rel, ok = below(base, rel); !ok {
			return 0, "", fmt.Errorf("cannot use subpath %s: %s is not in the pathlist of %s: it is not below it",
				Printable(spec), Printable(path), Printable(base))
		}
	}
	if rel != "" && !plain(rel) {
		return 0, "", refuse("its path must have no empty, . or .. component")
	}
	return depth, rel, nil
}

// reach goes down from the base to rel. It returns the full path and its level, or says why the
// walk would not emit it.
func (w *walker) reach(rel string, levels map[string]int) (path string, level int, problem string) {
	path = w.opts.Base
	if rel == "" {
		return path, 0, ""
	}
	full := join(path, rel)
	depth := levels[path]
	for name := range strings.SplitSeq(rel, "/") {
		if problem := w.hidden(path, level == 0); problem != "" {
			return full, level, problem
		}
		path = join(path, name)
		level++
		if level > depth {
			return full, level, fmt.Sprintf("The walk goes %d levels deep there: raise the depth, "+
				"or put a subpath for a directory above it before this one", depth)
		}
		depth = max(depth, levels[path])
	}
	return full, level, w.hidden(path, false)
}

// hidden says why a directory is no entry.
func (w *walker) hidden(path string, base bool) string {
	if !base {
		info, err := os.Lstat(path)
		switch {
		case err != nil:
			return fmt.Sprintf("It cannot be looked at: %v", cause(err))
		case info.Mode()&fs.ModeSymlink != 0:
			return Printable(path) + " is a symbolic link: name the directory it leads to, if that is below the base."
		case !info.IsDir():
			return Printable(path) + " is not a directory"
		}
	}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if base { // it may be a link
		flags = 0
	}
	if excluded, err := w.excluded(path, flags); err != nil {
		return fmt.Sprintf("Its owner cannot be learned: %v", cause(err))
	} else if excluded {
		return Printable(path) + " is excluded"
	}
	return ""
}
