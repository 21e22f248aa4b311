// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/getent"
	"vsc-zk/internal/pathbuilder"
)

// Source is the base of a source, with what is left out of it.
type Source struct {
	Base     *Base
	Tree     *pathbuilder.Tree
	excluder *pathbuilder.Excluder // nil: nothing is excluded
	owner    *uint32               // of what is; nil: anybody
}

// NewSource notes what the base is and what is mounted there, unless that is known already.
func NewSource(ctx context.Context, base *Base) (*Source, error) {
	if _, err := base.notedMounts(); err != nil {
		return nil, err
	}
	s := &Source{Base: base, Tree: base.tree}
	if base.Config.OneFileSystem {
		s.Tree = s.Tree.OneFileSystem()
	}
	if base.Config.Exclude == nil {
		return s, nil
	}
	var owner *uint32
	if base.Config.ExcludeUser != "" {
		uid, err := getent.UserID(ctx, base.Config.ExcludeUser)
		if err != nil {
			return nil, err
		}
		owner = &uid
	}
	s.owner = owner
	s.excluder = pathbuilder.NewExcluder(base.Config.Exclude, owner)
	if base.Config.OneFileSystem {
		s.excluder.OneFileSystem()
	}
	return s, nil
}

// Open opens the base, for an rsync that is to work in it: it stays there when another file system, or none, is
// where the base was. An rsync that finds its way by itself would take an empty mount point for the base, and with
// --delete delete all that lies at the destination.
func (s *Source) Open() (*os.File, error) {
	before, err := s.Base.Turns()
	if err != nil {
		return nil, err
	}
	dir, err := s.Tree.Open()
	if err != nil {
		return nil, err
	}
	after, err := s.Base.Turns()
	if err == nil && before != after {
		err = fmt.Errorf("cannot send from %s: it was away for a moment", s.Base.Dir)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// LeftOut reports whether a directory is left out although somebody has queued it: by rules of
// rsync's, or because it lies on another file system than the base.
func (s *Source) LeftOut(rel string) bool {
	leaveOut := s.Base.Config.LeaveOut
	return leaveOut != nil && leaveOut(rel) || s.Tree.Elsewhere(rel)
}

// Apart gives what of an entry, which lies at rel below the base, is not what it was when this client
// started, as another file system is mounted there now, or none any more; an error if the entry itself is
// not. Something new counts only where rsync may delete.
func (s *Source) Apart(entry pathbuilder.Entry, rel string) ([]pathbuilder.Apart, error) {
	mounts, err := s.Base.notedMounts()
	if err != nil {
		return nil, err
	}
	return mounts.Look(rel, entry.Recursive, s.Base.Config.Delete)
}

// After is the second look, directly after a run from which parts were kept: one over which something was
// mounted or unmounted cannot count as good.
func (s *Source) After(entry pathbuilder.Entry, rel string, kept []pathbuilder.Apart) error {
	apart, err := s.Apart(entry, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it vanished, which is no change of mounts
	}
	for _, now := range apart {
		if !slices.ContainsFunc(kept, func(was pathbuilder.Apart) bool { return was.Rel == now.Rel }) {
			err = cmp.Or(err, now.Why)
		}
	}
	return err
}

// Excluded gives the directories of an entry that are not to be sent, those apart among them, by their
// paths below the base: a run over a directory's own content would create them empty, or delete them at
// the destination.
func (s *Source) Excluded(ctx context.Context, entry pathbuilder.Entry, rel string, apart []pathbuilder.Apart) (map[string]bool, error) {
	paths := map[string]bool{}
	for _, a := range apart {
		paths[a.Rel] = true
	}
	if s.excluder == nil {
		return paths, nil
	}
	var names []string
	var err error
	switch {
	case !entry.Recursive:
		names, err = s.excluder.Children(ctx, entry.Path)
	case s.Base.Config.ExcludeBelow:
		names, err = s.excluder.Below(ctx, entry.Path)
	}
	for _, name := range names {
		paths[path.Join(rel, name)] = true
	}
	return paths, err
}

// Excludes tells whether a name below the base is left out: it, if it is a directory or is not there, or one above it
// matches the pattern and, if it is there, belongs to the user of whom directories are left out.
func (s *Source) Excludes(rel string) bool {
	for at := rel; s.excluder != nil && at != "." && at != ""; at = path.Dir(at) {
		full := path.Join(s.Base.Dir, at)
		if !s.Base.Config.Exclude.MatchString(full) {
			continue
		}
		var stat unix.Stat_t
		err := unix.Lstat(full, &stat)
		if err != nil || stat.Mode&unix.S_IFMT == unix.S_IFDIR && (s.owner == nil || stat.Uid == *s.owner) {
			return true
		}
	}
	return false
}

// Filters are rsync's patterns for what is excluded.
func Filters(excluded map[string]bool) ([]string, error) {
	patterns := make([]string, 0, len(excluded))
	for _, rel := range slices.Sorted(maps.Keys(excluded)) {
		pattern, err := pathbuilder.FilterRule(rel, true)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// Protected are rsync's rules for names that must not be deleted at the destination, although the
// source may no longer have them: a pattern /NAME(/.*|$) says which.
func (s *Source) Protected() []string {
	if s.Base.Config.Exclude == nil || !s.Base.Config.Delete {
		return nil
	}
	if name, ok := pathbuilder.ProtectName(s.Base.Config.Exclude); ok {
		return []string{pathbuilder.ProtectRule(name)}
	}
	return nil
}
