// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"os"
	"path/filepath"
	"testing"
)

// Where the file server has a clock of its own, a directory that has just changed may change again without showing it: it is
// sent again, as often as may be.
func TestYoungDirectories(t *testing.T) {
	r := newRig(t)
	r.must(os.Mkdir(r.src, 0o755))
	r.mountOver("", "hugetlbfs") // stands for one: the walk does not know it
	r.must(os.MkdirAll(r.path("dir"), 0o755))
	report := filepath.Join(t.TempDir(), "report")
	master := r.queued(func(c *Config) { c.Report = report })
	r.finish(r.source(2), r.destination(3), master)
	if n := r.sent("dir"); n != 1+morePasses {
		t.Errorf("sent %d times, want %d", n, 1+morePasses)
	}
	r.reported(report)
}
