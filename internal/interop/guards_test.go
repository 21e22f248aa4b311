// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

// The guards of Go slaves work under a Python master too, as far as they do not need a Go one. Each
// run has them anew, because a Python master's clean-up does not know them. The pass for hard links
// needs a Go master, so nothing is noted for it.
func TestGuardsUnderAPythonMaster(t *testing.T) {
	t.Parallel()
	r := newRig(t, testtree.TreeOptions{Fanout: []int{2}, Files: 1, Size: 10, FarHardLinks: true})
	const limit = 12
	for round := range 2 {
		for i := range limit {
			ok(t, os.MkdirAll(filepath.Join(r.dst, fmt.Sprintf("dir%03d", i%2), fmt.Sprintf("extra %d", i)), 0o755))
		}
		m := r.begin(python)
		dest, slave := r.destination(golang), r.slave(golang, nil, "--delete", fmt.Sprintf("--max-delete=%d", limit), "--hardlinks")
		for _, c := range []client{m, dest, slave} {
			wantExit(t, c, 0)
		}
		differences, err := testtree.Compare(r.src, r.dst, testtree.HardLinks)
		ok(t, err)
		for _, line := range differences {
			t.Errorf("run %d: %s", round+1, line)
		}
		if nodes := zktest.Dump(t, server.Addr(), user, password, r.at("links")); len(nodes) > 0 {
			t.Errorf("run %d has left %v", round+1, nodes)
		}
		if left, _, err := r.zk.Get(t.Context(), r.at("deletes")); string(left) != "0" || err != nil {
			t.Errorf("run %d: %s deletions are left (%v), want 0", round+1, left, err)
		}
		old := time.Unix(1500000000, 123)
		ok(t, os.Chtimes(r.src, old, old))
	}
}

// A Go master says which of the things it was asked for a Python source does not do. Of a Go source
// it says nothing.
func TestMasterSaysWhatPythonDoesNotKnow(t *testing.T) {
	t.Parallel()
	const text = " is a Python source, which does not know the guards of --delete (unmounted or empty sources), --max-delete"
	for _, k := range []kind{golang, python} {
		t.Run(string(k)+" slave", func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plain(2))
			asked := []string{"--delete", "--max-delete=5"}
			m := r.begin(golang, asked...)
			if k == python {
				asked = nil
			}
			s := r.slave(k, nil, asked...)
			want := []string{}
			if k == python {
				m.(goMaster).Await(s.Whoami() + text)
				want = append(want, s.Whoami()+text)
			} else {
				time.Sleep(2 * time.Second) // for what is not to be said
			}
			r.end(m, s, r.destination(golang))
			got := m.(goMaster).said("WARNING", "")
			got = slices.DeleteFunc(got, func(line string) bool { return !strings.Contains(line, "Python") })
			if !slices.Equal(got, want) {
				t.Errorf("the master said %q, want %q", got, want)
			}
		})
	}
}

// What a Python source has sent was not compared, and does not count as equal.
func TestVerifyWithAPythonSource(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2))
	m := r.begin(golang, "--verify", "--late-retries=0")
	d, s := r.destination(golang), r.slave(python, nil)
	wantExit(t, m, 23)
	wantExit(t, d, 0)
	wantExit(t, s, 0)
	if diff := cmp.Diff(account{Failed: r.queued}, m.account()); diff != "" {
		t.Errorf("how the queued paths (-) ended (+):\n%s", diff)
	}
	r.cleanedUp()
}
