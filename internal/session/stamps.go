// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vsc-zk/internal/pathbuilder"
)

// stamps remembers the directories that the walks of a run have queued, in the
// state they had then.
type stamps map[uint64]struct{}

// fresh notes a directory, and tells whether it has changed since the last walk.
func (s stamps) fresh(found pathbuilder.Found) bool {
	if _, seen := s[found.Stamp]; seen {
		return false
	}
	if !found.Young { // else the next walk could not tell a change from none
		s[found.Stamp] = struct{}{}
	}
	return true
}

// walk emits what has changed since the last walk; everything in the first one.
func (ms *master) walk(ctx context.Context, emit func([]byte) error) error {
	opts := ms.walkOptions()
	opts.Subpaths = slices.DeleteFunc(slices.Clone(opts.Subpaths), ms.subpathGone)
	deeper := maps.Clone(ms.deeper)
	opts.Deeper = func(path string) bool { return deeper[path] }
	err := pathbuilder.WalkStamped(ctx, opts, func(found pathbuilder.Found) error {
		if !ms.stamps.fresh(found) {
			return nil
		}
		values, err := ms.cutFlat(ctx, found)
		for _, value := range values {
			if err == nil {
				err = emit(value)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return ms.checkNotEmpty() // what was there at the start may have been unmounted meanwhile
}

// subpathGone tells whether a directory of --rsubpaths, which was there at the
// first walk, is not there any more: that ends no run.
func (ms *master) subpathGone(subpath string) bool {
	if ms.pass == 0 {
		return false
	}
	_, dir, _ := strings.Cut(subpath, "_")
	if !strings.HasPrefix(dir, "/") {
		dir = filepath.Join(ms.base, dir)
	}
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		return false
	}
	ms.log.Warn(fmt.Sprintf("Subpath %s is not there any more, or no directory", printable(dir)))
	return true
}
