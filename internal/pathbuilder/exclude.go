// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Excluder tells which directories are left out of a walk. Its methods may be called at the same
// time.
type Excluder struct {
	pattern *regexp.Regexp
	owner   *uint32
	one     bool // Below stays on one file system
	limit   int  // most directories that Below gives
	readers int  // directories that Below reads at once
}

// NewExcluder returns one that excludes the directories in whose full path the pattern is found and
// which belong to owner. A nil owner is any owner, a nil pattern excludes nothing.
func NewExcluder(pattern *regexp.Regexp, owner *uint32) *Excluder {
	return &Excluder{pattern: pattern, owner: owner, limit: defaultExcludeLimit, readers: defaultWalkers}
}

// OneFileSystem makes Below pass over what lies on another file system than the directory it is given.
func (x *Excluder) OneFileSystem() { x.one = true }

// defaultExcludeLimit bounds the memory that the directories of one path take. rsync compares each
// file with each rule: 10,000 rules cost 0.1 ms a file.
const defaultExcludeLimit = 1_000_000

// Children returns the names of the subdirectories of dir that a walk leaves out, sorted. dir is an
// absolute path as the walk spells it.
func (x *Excluder) Children(ctx context.Context, dir string) ([]string, error) {
	if x.pattern == nil {
		return nil, nil
	}
	f, err := openByPath(dir)
	if err != nil {
		return nil, err
	}
	defer f.close()
	out, _, err := x.sort(ctx, dir, f)
	slices.Sort(out)
	return out, err
}

// Below returns the paths, relative to dir and sorted, of all directories below dir that the
// pattern and the owner leave out, without what is below those. dir is an absolute path as the walk
// spells it. A directory that may not be read is passed over: rsync cannot read it either, and says
// so.
func (x *Excluder) Below(ctx context.Context, dir string) ([]string, error) {
	if x.pattern == nil {
		return nil, nil
	}
	tree, err := OpenTree(dir)
	if err != nil {
		return nil, err
	}
	if x.one {
		tree = tree.OneFileSystem()
	}
	var mu sync.Mutex
	var found []string
	s := scan{tree: tree, readers: x.readers, pass: isDenied}
	s.read = func(ctx context.Context, rel string, f openDir) ([]string, error) {
		path := dir
		if rel != "" {
			path = join(dir, rel)
		}
		out, deeper, err := x.sort(ctx, path, f)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if len(found)+len(out) > x.limit {
			return nil, fmt.Errorf("cannot leave out what matches %s below %s: more than %d directories would be excluded one by one; "+
				"raise the depth so that the walk leaves them out, or exclude a directory above them",
				x.pattern, Printable(dir), x.limit)
		}
		for _, name := range out {
			found = append(found, joinRel(rel, name))
		}
		return deeper, nil
	}
	if err := s.run(ctx, ""); err != nil {
		return nil, err
	}
	slices.Sort(found)
	return found, nil
}

func isDenied(err error) bool { return errors.Is(err, fs.ErrPermission) }

// sort divides the subdirectories of a directory, open as f, into those that are left out and those
// that are not.
func (x *Excluder) sort(ctx context.Context, path string, f openDir) (out, in []string, err error) {
	err = f.names(ctx, func(n dirName) error {
		if !n.isDir() {
			return nil
		}
		name := string(n.bytes)
		excluded, err := x.excludes(join(path, name), func(stat *unix.Stat_t) error { return f.look(name, stat) })
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("cannot learn the owner of %s: %w", Printable(join(path, name)), err)
		case excluded:
			out = append(out, name)
		default:
			in = append(in, name)
		}
		return nil
	})
	return out, in, err
}

// excludes is the rule. It looks at the directory only where the owner matters.
func (x *Excluder) excludes(path string, look func(*unix.Stat_t) error) (bool, error) {
	if x.pattern == nil || !x.pattern.MatchString(path) {
		return false, nil
	}
	if x.owner == nil {
		return true, nil
	}
	var stat unix.Stat_t
	if err := ignoreInterrupts(func() error { return look(&stat) }); err != nil {
		return false, err
	}
	return stat.Uid == *x.owner, nil
}
