// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A destination is not served, nor a source used, that is in the other or is the other, whichever comes first and whatever links and
// mounts lead there.
func TestSourceAndDestinationOverlap(t *testing.T) {
	for name, places := range map[string]func(r *rig){
		"the same": func(r *rig) { r.dst = r.src },
		"through a link": func(r *rig) {
			r.must(os.Remove(r.dst), os.Symlink(r.src, r.dst))
		},
		"destination in the source": func(r *rig) { r.dst = r.path("dir000") },
		"source in the destination": func(r *rig) { r.dst = filepath.Dir(r.src) },
		"bound elsewhere": func(r *rig) {
			r.must(syscall.Mount(r.path("dir001/dir000"), r.dst, "", syscall.MS_BIND, ""))
			r.t.Cleanup(func() { syscall.Unmount(r.dst, syscall.MNT_DETACH) })
		},
		"mounted in the source": func(r *rig) {
			r.dst = r.path("dir001")
			r.must(syscall.Mount("none", r.dst, "tmpfs", 0, ""))
			r.t.Cleanup(func() { syscall.Unmount(r.dst, syscall.MNT_DETACH) })
		},
	} {
		for _, first := range []string{"source", "destination"} {
			t.Run(name+", "+first+" first", func(t *testing.T) {
				r := newRig(t)
				r.makeTree(smallTree)
				places(r)
				before := r.names()
				var second *running
				if first == "source" {
					r.queued()
					second = r.destination(2)
				} else {
					r.destination(2)
					r.until("the destination is there", func() bool {
						names, err := r.zk().Children(t.Context(), r.tree().Bases())
						return err == nil && len(names) == 1
					})
					second = r.source(1)
				}
				if err := r.wait(second); err == nil || !strings.Contains(err.Error(), "cannot send from "+r.src) {
					t.Errorf("error %v, want one that names the source", err)
				}
				if r.sent("") > 0 || r.names() != before {
					t.Error("something was sent")
				}
			})
		}
	}
}

// What the source leaves out may be the destination.
func TestDestinationThatIsLeftOut(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.dst = r.path("dir000/copy")
	r.must(os.Mkdir(r.dst, 0o755))
	leaveOut := func(c *Config) { c.Base.Exclude = regexp.MustCompile("/copy(/.*|$)") }
	r.finish(r.source(1, leaveOut), r.slave(2, leaveOut), r.destination(3))
	if _, err := os.Stat(filepath.Join(r.dst, "dir001/dir000/file000")); err != nil {
		t.Error(err)
	}
}
