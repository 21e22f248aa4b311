// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/status"
)

// Clients of the Python program say nothing of themselves, and are seen all the same: who they are, and what a source has
// taken. That changes nothing for them.
func TestPythonClientsAreSeen(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{python, golang} {
		t.Run(string(k)+" master", func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plain(2))
			look := func() *status.Snapshot {
				t.Helper()
				s, err := status.Read(t.Context(), r.zk, r.session)
				ok(t, err)
				return s
			}
			m := r.begin(k)
			if s := look(); s.Paths.Remaining != len(r.queued) || s.Master != m.Whoami() || k == python && (s.State != status.Still || s.Waits[0].For != "clients") {
				t.Errorf("the master alone: %+v", s)
			}
			g := newGate(t)
			dest, slave := r.destination(python), r.slave(python, g)
			g.wait()
			s := look()
			if s.State != status.Running || len(s.Clients) != 3 || len(s.Runs) != 1 {
				t.Fatalf("%+v", s)
			}
			for _, c := range s.Clients {
				want := status.Client{Who: c.Who, Program: status.Python}
				switch c.Who {
				case m.Whoami():
					if k == golang {
						continue
					}
					want.Role, want.Master = "source", true
				case slave.Whoami():
					want.Role, want.Source = "source", &status.Source{Jobs: 1, Busy: 1}
				case dest.Whoami():
					want.Role, want.Dest = "destination", &status.Destination{Slots: 1, Busy: 1, State: "active"}
				}
				if c.Role != want.Role || c.Program != want.Program || c.Master != want.Master || c.Load != nil ||
					(c.Source == nil) != (want.Source == nil) || want.Source != nil && *c.Source != *want.Source ||
					(c.Dest == nil) != (want.Dest == nil) || want.Dest != nil && *c.Dest != *want.Dest {
					t.Errorf("%+v, want %+v", c, want)
				}
			}
			run := s.Runs[0]
			if !strings.HasPrefix(string(run.Path), "1_"+r.src) && !strings.HasPrefix(string(run.Path), "0_"+r.src) {
				t.Errorf("run %+v", run)
			}
			if run.Source != slave.Whoami() || run.Destination != dest.Whoami() || run.Attempt != 0 || run.Began.IsZero() || s.Paths.Working != 1 {
				t.Errorf("run %+v, %d in work", run, s.Paths.Working)
			}
			if run.Began != run.Began.UTC().Truncate(time.Second) {
				t.Errorf("begun at %v: that is not in UTC, to the second", run.Began)
			}
			var text bytes.Buffer
			ok(t, s.Text(&text))
			if !strings.Contains(text.String(), "source (Python)") || !strings.Contains(text.String(), slave.Whoami()+" to "+dest.Whoami()) {
				t.Error(text.String())
			}
			g.open()
			r.end(m, slave, dest)
			if s := look(); s.State != status.None {
				t.Errorf("after the run: %+v", s)
			}
		})
	}
}
