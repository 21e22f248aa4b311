// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vsc-zk/internal/session/wire"
)

// A range makes way for its files as a run over the directory does: what fills a directory in their place goes, within the
// bound of deletions, of which one run has a share only.
func TestFlatDirectoryMakesWay(t *testing.T) {
	const stale = 12
	for name, c := range map[string]struct{ most, flat int }{
		"without a bound": {-1, 10}, "within the bound": {2 * stale, 10}, "beyond the bound": {stale / 2, 10},
		"whole, within the bound": {2 * stale, 100}, "whole, beyond the bound": {stale / 2, 100},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.must(os.MkdirAll(r.path("flat"), 0o755), os.MkdirAll(filepath.Join(r.dst, "flat/file17"), 0o755))
			for i := range 30 {
				r.must(os.WriteFile(r.path(fmt.Sprintf("flat/file%d", i)), nil, 0o644))
			}
			for i := range stale {
				r.must(os.WriteFile(filepath.Join(r.dst, fmt.Sprintf("flat/file17/stale%d", i)), nil, 0o644))
			}
			r.age("flat")
			master := r.source(1, deleting, jobs(1), func(cfg *Config) { cfg.Leader.Flat, cfg.Leader.Depth, cfg.MaxDelete = c.flat, 2, c.most })
			dest := r.destination(2)
			if strings.HasSuffix(name, "beyond the bound") {
				if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
					t.Errorf("error %v, want one that says that the deletions were stopped", err)
				}
				r.finish(dest)
				left, err := os.ReadDir(filepath.Join(r.dst, "flat/file17"))
				if r.must(err); len(left) != stale-c.most {
					t.Errorf("%d of %d files are left, want %d", len(left), stale, stale-c.most)
				}
				return
			}
			r.finish(master, dest)
			r.identical()
			if r.logged("0 failed"); c.flat == 10 {
				r.logged("sending files from ")
			}
		})
	}
}
