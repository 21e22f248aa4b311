// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"slices"
	"testing"

	"vsc-zk/internal/testtree"
)

// plain makes a tree of n+1 paths.
func plain(n int) testtree.TreeOptions {
	return testtree.TreeOptions{Fanout: []int{n}, Files: 2, Size: 1000}
}

// among waits until these clients, and no others, are in the session. By then the sessions of those
// that were killed are over.
func (r *rig) among(clients ...client) {
	r.t.Helper()
	var want []string
	for _, c := range clients {
		want = append(want, c.Whoami())
	}
	slices.Sort(want)
	party := r.zk.Party(r.at("parties", "allsd"), "")
	until(r.t, "nobody else is in the session", func() bool {
		got, err := party.Members(r.t.Context())
		ok(r.t, err)
		return slices.Equal(got, want)
	})
}

// awaitDestinations waits until so many destinations are in the queue.
func (r *rig) awaitDestinations(n int) {
	r.t.Helper()
	until(r.t, "the destinations are in the queue", func() bool { return len(r.values("destQueue")) == n })
}

// Clients of both kinds come and go while others work: some are asked to end, some are killed,
// sources among them in the middle of a path.
func TestClientsComeAndGo(t *testing.T) {
	t.Parallel()
	for _, k := range []kind{golang, python} {
		t.Run(string(k)+" master", func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plain(7))
			m := r.begin(k)

			// Two pairs stay, each slave in the middle of a path until the end of all
			// the coming and going.
			staying := []client{r.destination(golang), r.destination(python)}
			r.awaitDestinations(2)
			var gates []*gate
			gated := func(k kind, args ...string) client {
				g := newGate(t)
				gates = append(gates, g)
				return r.slave(k, g, args...)
			}
			staying = append(staying, gated(golang), gated(python))
			gates[0].wait()
			gates[1].wait()

			// Four pairs go. Their slaves hold their destinations, because the others
			// are taken.
			leaving := []client{
				r.destination(golang), r.destination(python, mortalOption),
				r.destination(golang), r.destination(python, mortalOption),
			}
			r.awaitDestinations(6)
			leaving = append(leaving, gated(golang), gated(python, mortalOption), gated(golang), gated(python, mortalOption))
			for _, g := range gates {
				g.wait()
			}
			for i, c := range leaving {
				if i%4 < 2 {
					c.Terminate()
				} else {
					c.Kill()
				}
			}
			for i, c := range leaving {
				want := -1 // a signal ended it
				if i%4 == 0 {
					want = 143
				}
				wantExit(t, c, want)
			}
			r.among(append(staying, m)...)

			// Two pairs come. They do what the others have left, and meet the
			// destinations that are gone.
			coming := []client{r.destination(golang), r.destination(python), r.slave(golang, nil), r.slave(python, nil)}
			until(t, "only the paths of those that stay are left", func() bool { return len(r.values("pathQueue")) == 2 })
			gates[0].open()
			gates[1].open()
			r.end(m, append(staying, coming...)...)
			r.wantStats(m)
		})
	}
}

// A destination dies while a slave sends to it: the slave finds out and goes on with another one.
func TestDestinationDies(t *testing.T) {
	t.Parallel()
	for _, slave := range []kind{golang, python} {
		for _, dest := range []kind{golang, python} {
			t.Run(string(slave)+" slave, "+string(dest)+" destination", func(t *testing.T) {
				t.Parallel()
				r := newRig(t, plain(2))
				m := r.begin(golang)
				var args []string
				if dest == python {
					args = append(args, mortalOption)
				}
				first := r.destination(dest, args...)
				r.awaitDestinations(1)
				g := newGate(t)
				s := r.slave(slave, g)
				g.wait()
				second := r.destination(dest)
				r.awaitDestinations(2)
				first.Kill()
				r.among(m, s, second)
				g.open()
				r.end(m, s, second)
			})
		}
	}
}

// A Python slave that crashes between putting a path where it belongs and taking it from where it
// was makes it end twice. A Go master counts it once.
func TestPathEndsTwice(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"completed", "returned"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plain(2))
			m := r.begin(golang)
			var dest client
			if where == "completed" {
				dest = r.destination(golang)
			}
			dying := r.slave(python, nil, mortalOption, "--die", where)
			wantExit(t, dying, 9)
			if dest == nil {
				dest = r.destination(golang)
			}
			want := len(r.queued) // what is completed is still there
			if where == "returned" {
				want++
			}
			if n := len(r.values("pathQueue")); n != want {
				t.Errorf("%d paths are in the queue, want %d", n, want)
			}
			r.end(m, dest, r.slave(golang, nil))
		})
	}
}
