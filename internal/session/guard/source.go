// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"

	"vsc-zk/internal/getent"
	"vsc-zk/internal/pathbuilder"
)

// Source is the base of a source as it was when this client started: something else later is not what
// the user saw then.
type Source struct {
	Base     *Base
	Tree     *pathbuilder.Tree
	mounts   *pathbuilder.Mounts
	excluder *pathbuilder.Excluder // nil: nothing is excluded
}

// NewSource notes what the base is and what is mounted there.
func NewSource(ctx context.Context, base *Base) (*Source, error) {
	s := &Source{Base: base}
	var err error
	if s.Tree, err = pathbuilder.OpenTree(base.Dir); err != nil {
		return nil, err
	}
	if s.mounts, err = s.Tree.Mounts(); err != nil {
		return nil, err
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
	s.excluder = pathbuilder.NewExcluder(base.Config.Exclude, owner)
	return s, nil
}

// Before says whether the entry, which lies at rel below the base, is still what was queued; an error
// says why rsync must not be run on it.
func (s *Source) Before(entry pathbuilder.Entry, rel string) (pathbuilder.State, error) {
	state, err := s.Tree.Check(rel)
	if err != nil || state != pathbuilder.Present {
		return state, err
	}
	return state, s.sameMount(entry, rel)
}

// After is the second look, directly after a run that may have deleted: if the file system went away
// meanwhile, the run cannot count as good.
func (s *Source) After(entry pathbuilder.Entry, rel string) error {
	err := s.sameMount(entry, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it vanished, which is no change of mounts
	}
	return err
}

// sameMount refuses to delete where something else is mounted than at the start, or nothing.
func (s *Source) sameMount(entry pathbuilder.Entry, rel string) error {
	switch {
	case !s.Base.Config.Delete:
		return nil
	case entry.Recursive:
		return s.mounts.SameBelow(rel)
	}
	return s.mounts.Same(rel)
}

// Excluded gives the directories of an entry that are not to be sent, by their paths below the base: a
// run over a directory's own content would create them empty, or delete them at the destination.
func (s *Source) Excluded(ctx context.Context, entry pathbuilder.Entry, rel string) (map[string]bool, error) {
	if s.excluder == nil {
		return nil, nil
	}
	var names []string
	var err error
	switch {
	case !entry.Recursive:
		names, err = s.excluder.Children(ctx, entry.Path)
	case s.Base.Config.ExcludeBelow:
		names, err = s.excluder.Below(ctx, entry.Path)
	}
	if err != nil {
		return nil, err
	}
	paths := make(map[string]bool, len(names))
	for _, name := range names {
		paths[path.Join(rel, name)] = true
	}
	return paths, nil
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
	if s.Base.Config.Exclude == nil || !s.Base.Config.ExcludeBelow {
		return nil
	}
	if name, ok := pathbuilder.ProtectName(s.Base.Config.Exclude); ok {
		return []string{pathbuilder.ProtectRule(name)}
	}
	return nil
}
