// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"errors"
	"os"
	"testing"

	"vsc-zk/internal/zkclient"
)

// awaitState waits for the state of a destination.
func (r *rig) awaitState(dest client, want string) {
	r.t.Helper()
	until(r.t, "the destination is "+want, func() bool {
		data, _, err := r.zk.Get(r.t.Context(), r.at("dests", dest.Whoami()))
		if errors.Is(err, zkclient.ErrNoNode) {
			return false
		}
		ok(r.t, err)
		return string(data) == want
	})
}

// A destination whose base path goes away is paused. If it comes back before a slave meets it,
// nothing has happened. Otherwise the slave, of the other kind, disables it, and it comes back as a
// new one.
func TestPausedDestination(t *testing.T) {
	t.Parallel()
	for dest, slave := range map[kind]kind{golang: python, python: golang} {
		t.Run(string(dest)+" destination, "+string(slave)+" slave", func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plain(2))
			m := r.begin(dest)
			d := r.destination(dest)
			r.awaitDestinations(1)
			away := func() { t.Helper(); ok(t, os.Rename(r.dst, r.dst+".away")) }
			back := func() { t.Helper(); ok(t, os.Rename(r.dst+".away", r.dst)) }
			away()
			r.awaitState(d, "paused")
			back()
			r.awaitState(d, "active")
			if n := len(r.values("destQueue")); n != 1 {
				t.Errorf("the destination is in the queue %d times, want once", n)
			}
			away()
			r.awaitState(d, "paused")
			s := r.slave(slave, nil)
			r.awaitState(d, "disabled")
			r.awaitDestinations(0)
			back()
			r.end(m, d, s)
		})
	}
}

// A Python destination that does not look at its base path never says that it is active. Go slaves
// use it, also when a Python slave has asked for its state and thereby made an empty one.
func TestUnverifiedPythonDestination(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{false, true} {
		name := "no state"
		if asked {
			name = "empty state"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plain(2))
			m := r.begin(golang)
			d := r.destination(python, "--noverify")
			r.awaitDestinations(1)
			state := r.at("dests", d.Whoami())
			asker := stepped(t)
			if asked {
				asker.Do("node create", Fields{"path": state, "ephemeral": true, "makepath": true})
				r.awaitState(d, "")
			} else if _, exists, err := r.zk.Exists(t.Context(), state); exists || err != nil {
				t.Errorf("it has a state (%v)", err)
			}
			slave := r.slave(golang, nil)
			wantExit(t, m, 0)
			asker.Close() // and with it the state, if it has made that
			r.end(m, d, slave)
		})
	}
}

// A Go destination that does not look at its base path says that it is active all the same, or no
// Python slave would use it.
func TestUnverifiedGoDestination(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2))
	m := r.begin(python)
	d := r.destination(golang, "--verifypath")
	r.awaitDestinations(1)
	r.awaitState(d, "active")
	r.end(m, d, r.slave(python, nil))
}

// Of a Go destination that is not open a Python slave knows nothing: it waits, and fails no path.
func TestClosedDestination(t *testing.T) {
	t.Parallel()
	for _, leads := range []kind{golang, python} {
		t.Run(string(leads)+" master", func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plain(2))
			m := r.begin(leads)
			d := r.closed()
			until(t, "the destination has offered itself", func() bool { return len(r.values("extDestQueue")) == 1 })
			s := r.slave(python, nil)
			if master, ok := m.(goMaster); ok {
				master.Await("The Python sources wait")
			} else {
				s.(*Peer).Await("path returned")
			}
			if n := len(r.values("destQueue")); n != 0 {
				t.Errorf("%d destinations for a Python slave", n)
			}
			clients := []client{d, s, r.slave(golang, nil)}
			wantExit(t, m, 0)
			for _, c := range clients {
				wantExit(t, c, 0)
			}
			// A Python client does not clean up what it does not know.
			ok(t, r.zk.DeleteTree(t.Context(), r.at("extDestQueue")))
			r.end(m, clients...)
		})
	}
}
