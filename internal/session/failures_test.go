// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
)

// fakeRsync has sources run a shell script before rsync sends something: $list is a file with what it is
// given, as a list or in its arguments, a name a line. It goes on to rsync unless the script ends.
func (r *rig) fakeRsync(script string) {
	r.t.Helper()
	rsync, err := exec.LookPath("rsync")
	r.must(err)
	bin := r.t.TempDir()
	r.must(os.WriteFile(filepath.Join(bin, "rsync"), fmt.Appendf(nil, `#!/bin/sh
case "$*" in *" rsync://"*) ;; *) exec %[1]s "$@" ;; esac
dir=$(mktemp -d) || exit 99
list=$dir/list
case "$*" in
*--files-from=*)
	cat >$dir/names
	tr '\0' '\n' <$dir/names >$list ;;
*)
	: >$dir/names
	for name; do case $name in ./*) printf '%%s\n' "$name" ;; esac; done >$list ;;
esac
%[2]s
exec %[1]s "$@" <$dir/names
`, rsync, script), 0o755))
	r.t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

// An rsync that ends as for bad options, because of one path, fails that path and no source.
func TestPathThatRsyncRefuses(t *testing.T) {
	for _, status := range []int{1, 2, 4} {
		for name, batch := range map[string]int{"alone": 1, "with others": 0} {
			t.Run(fmt.Sprintf("status %d, %s", status, name), func(t *testing.T) {
				r := newRigAlone(t)
				r.put(r.src, "bad", "good", "fine")
				r.age("bad", "good", "fine")
				r.fakeRsync(fmt.Sprintf(`if grep -q '^./bad' $list; then echo "rsync error: something about this path (code %[1]d)" >&2; exit %[1]d; fi`, status))
				change := func(c *Config) { c.Worker.Batch = batch }
				master := r.queued(depth1, change)
				r.finish(r.source(2, change), r.destination(3))
				if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
					t.Errorf("error %v, want one failed path", err)
				}
				r.logged("Paths: 3 completed, 1 failed", "Failed Path 1_"+r.path("bad"))
			})
		}
	}
}

// An rsync that hangs is ended, and its path is tried elsewhere.
func TestStalledRsync(t *testing.T) {
	r := newRigAlone(t)
	r.put(r.src, "slow", "good")
	r.age("slow", "good")
	once := filepath.Join(t.TempDir(), "once")
	r.fakeRsync(`if grep -q '^./slow' $list && mkdir ` + once + ` 2>/dev/null; then kill -STOP $$; fi`)
	change := func(c *Config) { c.Stall = 500 * time.Millisecond }
	master := r.queued(depth1, change)
	r.finish(r.source(2, change), r.destination(3), master)
	r.logged("event=stalled", "Paths: 3 completed, 0 failed")
	r.identical()
}

// A path below which every rsync hangs fails in the end.
func TestPathThatAlwaysStalls(t *testing.T) {
	r := newRigAlone(t)
	r.put(r.src, "slow", "good")
	r.age("slow", "good")
	r.fakeRsync(`if grep -q '^./slow' $list; then kill -STOP $$; fi`)
	change := func(c *Config) { c.Stall = 300 * time.Millisecond }
	master := r.queued(depth1, change)
	r.finish(r.source(2, change), r.destination(3))
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want one failed path", err)
	}
	r.logged("Paths: 2 completed, 1 failed", "Failed Path 1_"+r.path("slow"))
}

// inTheWay makes paths that all fail for one cause.
func (r *rig) inTheWay(n int) {
	r.t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("dir%02d", i))
	}
	r.put(r.src, names...)
	for _, name := range names {
		r.must(os.MkdirAll(filepath.Join(r.dst, name, "file/in/the/way"), 0o755))
	}
	r.age(names...)
}

// Many paths that fail alike are one cause, told once.
func TestOneCause(t *testing.T) {
	r := newRig(t)
	r.inTheWay(40)
	master := r.queued(depth1)
	r.finish(r.source(2), r.destination(3))
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want failed paths", err)
	}
	r.logged("40 failed")
	if n := strings.Count(r.log.String(), "event=one-cause"); n != 1 {
		t.Errorf("the cause is told %d times, want once", n)
	}
	if n := strings.Count(r.log.String(), "event=rsync-failed"); n > 3*20+10 {
		t.Errorf("the failures of single paths are told %d times", n)
	}
	if n := strings.Count(r.log.String(), "There were issues with path"); n != 40 {
		t.Errorf("%d paths are named, want 40", n)
	}
}

func TestMaxFailures(t *testing.T) {
	r := newRig(t)
	r.inTheWay(60)
	failed := filepath.Join(t.TempDir(), "failed")
	master := r.source(1, depth1, func(c *Config) { c.Leader.MaxFailures, c.Leader.Failed, c.Leader.Window = 5, failed, 10 })
	r.waitFor("removing old queue")
	r.finish(r.source(2, oneByOne), r.destination(3))
	err := r.wait(master)
	if !errors.Is(err, wire.ErrIncomplete) || !strings.Contains(err.Error(), "--max-failures") {
		t.Errorf("error %v, want one about the failures", err)
	}
	n := len(strings.Fields(r.read(failed)))
	if n < 6 || n > 40 {
		t.Errorf("%d paths can be sent later, want those that failed and those of the window", n)
	}
	r.left()
}
