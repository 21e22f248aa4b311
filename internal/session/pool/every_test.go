// SPDX-License-Identifier: LGPL-2.1-or-later

package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

var server *zktest.Server

func TestMain(m *testing.M) { os.Exit(zktest.Main(m, &server)) }

// rig is a session with clients that know nothing but this protocol.
type rig struct {
	t     *testing.T
	name  string
	hosts int
}

// join is a client of the session, which plays until the test is over.
func (r *rig) join(addr string, timeout time.Duration, kind string) *member.Member {
	r.t.Helper()
	r.hosts++
	client, err := member.NewClient(r.t.Context(), member.Config{
		Zookeeper: zkclient.Config{Servers: []string{addr}, User: "root", Password: "admin", SessionTimeout: timeout, ConnectTimeout: time.Minute},
		Session:   r.name, Host: fmt.Sprint("host", r.hosts),
		Timing: member.Timing{Retry: 50 * time.Millisecond, SetAside: 200 * time.Millisecond},
	}, "test")
	r.must(err)
	m, err := client.Join(r.t.Context(), []string{wire.PartyAll, wire.PartyExt, kind})
	r.must(err)
	playing, playingEnds := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(playingEnds)
		_ = m.Play(ctx, func(ctx context.Context, _ *member.Member) error {
			close(playing)
			<-ctx.Done()
			return nil
		})
	}()
	<-playing
	r.t.Cleanup(func() {
		cancel()
		<-playingEnds
		m.ZK.Close()
	})
	return m
}

func (r *rig) must(errs ...error) {
	r.t.Helper()
	if err := errors.Join(errs...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("never came true: %s", what)
		}
	}
}

// jobsOf is the pool of a worker to whom all destinations are fit, and answer.
func jobsOf(m *member.Member) *Pool {
	judge := Judge{Unfit: func(*Held) string { return "" }, Probe: func(context.Context, *Held) error { return nil }}
	return New(m, NewRecord(), judge, m.Context())
}

// offered makes a destination that is active, with so many slots.
func offered(ctx context.Context, m *member.Member, port, slots int) (*Offer, error) {
	if err := PublishPort(ctx, m, port); err != nil {
		return nil, err
	}
	o, err := NewOffer(ctx, m, port, slots, false)
	if err != nil {
		return nil, err
	}
	return o, o.Activate(ctx)
}

// entries are those of the queue, each as the number of the destination's port, in order; taken is how many of
// them somebody has.
func (r *rig) entries(m *member.Member) (ports []int, taken int) {
	r.t.Helper()
	names, err := m.Children(r.t.Context(), m.Tree.ExtDestQueue()+"/entries")
	r.must(err)
	for _, name := range names {
		data, _, ok, err := m.Read(r.t.Context(), m.Tree.ExtDestQueue()+"/entries/"+name)
		r.must(err)
		if dest, err := wire.DecodeDest(data); ok && err == nil {
			ports = append(ports, dest.Port)
		}
	}
	held, err := m.Children(r.t.Context(), m.Tree.ExtDestQueue()+"/taken")
	r.must(err)
	slices.Sort(ports)
	return ports, len(held)
}

// play is a small run in which c is the client that meets the fault: a destination, or a worker. Then the others, in
// witness's eyes, must find all in order; died says that c is gone.
type play struct {
	kind string // of c
	run  func(ctx context.Context, r *rig, c *member.Member, others []*Offer) error
	end  func(r *rig, witness *member.Member, others []*Offer, died bool)
}

// whole waits until the destinations 1 and 2, which look after their entries now and then, are in the queue
// with all their slots, and no more, and nobody has one.
func whole(r *rig, witness *member.Member, others []*Offer, _ bool) {
	r.t.Helper()
	r.until("all slots are in the queue, and free", func() bool {
		for _, o := range others {
			there, err := o.Queued(r.t.Context())
			if r.must(err); !there {
				r.must(o.Activate(r.t.Context()))
			}
		}
		ports, taken := r.entries(witness)
		if len(ports) > 3 {
			r.t.Fatalf("there are entries too many: %v", ports)
		}
		return slices.Equal(ports, []int{1, 1, 2}) && taken == 0
	})
}

var plays = map[string]play{
	"destination": {
		kind: wire.PartyDests,
		run: func(ctx context.Context, _ *rig, c *member.Member, _ []*Offer) error {
			o, err := offered(ctx, c, 3, 2)
			if err == nil {
				err = o.Pause(ctx)
			}
			if err == nil {
				err = o.Activate(ctx)
			}
			if err != nil {
				return err
			}
			there, err := o.Queued(ctx)
			if err == nil && !there {
				err = errors.New("it is not in the queue")
			}
			return err
		},
		end: func(r *rig, witness *member.Member, others []*Offer, died bool) {
			if !died {
				if ports, taken := r.entries(witness); !slices.Equal(ports, []int{1, 1, 2, 3, 3}) || taken > 0 {
					r.t.Errorf("the queue has %v, %d are taken", ports, taken)
				}
				return
			}
			jobs := jobsOf(r.join(server.Addr(), 10*time.Second, wire.PartySources)) // they have each destination that is there, and no other
			var held []*Holder
			for range 3 {
				h := jobs.Holder()
				d, err := h.Get(r.t.Context())
				if r.must(err); d.Dest.Port == 3 {
					r.t.Error("a destination that has died is given to a job")
				}
				held = append(held, h)
			}
			waiting, enough := context.WithCancel(r.t.Context())
			var last sync.WaitGroup
			last.Go(func() { _, _ = jobs.Holder().Get(waiting) })
			r.until("what the dead one has left is out of the queue", func() bool {
				ports, _ := r.entries(witness)
				return slices.Equal(ports, []int{1, 1, 2})
			})
			enough()
			last.Wait()
			for _, h := range held {
				h.Release()
			}
			whole(r, witness, others, died)
		},
	},
	"worker": {
		kind: wire.PartySources,
		run: func(ctx context.Context, _ *rig, c *member.Member, _ []*Offer) error {
			h := jobsOf(c).Holder()
			defer h.Release()
			for i := range 3 {
				held, err := h.Get(ctx)
				if err != nil {
					return err
				}
				switch i {
				case 0:
					h.Served()
					h.Release()
				case 1:
					if _, err := h.Fault(ctx, "a path", nil); err != nil {
						return err
					}
				case 2:
					if _, _, err := h.Exchange(ctx, func(whoami string) bool { return whoami == held.Dest.Whoami }); err != nil {
						return err
					}
				}
			}
			return nil
		},
		end: whole,
	},
	"worker that sets a destination aside": {
		kind: wire.PartySources,
		run: func(ctx context.Context, _ *rig, c *member.Member, _ []*Offer) error {
			p := jobsOf(c)
			h := p.Holder()
			if _, err := h.Get(ctx); err != nil {
				return err
			}
			if _, err := h.Fault(ctx, "a path", errors.New("it does not answer")); err != nil {
				return err
			}
			_, err := h.Get(ctx) // another one
			h.Release()
			return err
		},
		end: whole,
	},
	"worker whose destination pauses": {
		kind: wire.PartySources,
		run: func(ctx context.Context, r *rig, c *member.Member, others []*Offer) error {
			for _, o := range others {
				r.must(o.Pause(r.t.Context()))
			}
			h := jobsOf(c).Holder()
			got := make(chan error, 1)
			go func() {
				_, err := h.Get(ctx)
				got <- err
			}()
			var err error
			r.until("its entries are out of the queue, or the worker is dead", func() bool {
				select {
				case err = <-got:
					return true
				default:
					ports, _ := r.entries(others[0].m)
					return len(ports) == 0
				}
			})
			for _, o := range others {
				r.must(o.Activate(r.t.Context()))
			}
			if err != nil {
				return err
			}
			err = <-got
			h.Release()
			return err
		},
		end: whole,
	},
}

// Whichever request of a client fails, because its connection breaks, before it was carried out or after: a destination is
// in the queue as often as it has slots, neither given to nobody for ever nor to a job too much. The client goes on, or dies
// there.
func TestEachRequest(t *testing.T) {
	const long = 20 * time.Second // so that a busy machine does not take the session away
	for name, p := range plays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zktest.EachRequest(t, 10, func(t *testing.T, lasts bool, fault func(*zktest.Proxy)) (requests int, died bool) {
				timeout := long
				if !lasts {
					timeout = 2 * time.Second
				}
				r := &rig{t: t, name: strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())}
				witness := r.join(server.Addr(), long, wire.PartySources)
				r.must(witness.ZK.Queue(witness.Tree.ExtDestQueue()).Ensure(t.Context()), witness.ZK.Queue(witness.Tree.DestQueue()).Ensure(t.Context()))
				var others []*Offer
				for i, slots := range []int{2, 1} {
					o, err := offered(t.Context(), r.join(server.Addr(), long, wire.PartyDests), i+1, slots)
					r.must(err)
					others = append(others, o)
				}
				proxy := zktest.NewProxy(t, server.Addr())
				c := r.join(proxy.Addr(), timeout, p.kind)
				reads, writes := proxy.Requests()
				before := reads + writes
				fault(proxy)
				err := p.run(c.Context(), r, c, others)
				reads, writes = proxy.Requests()
				if died = c.ZK.Context().Err() != nil; died || proxy.Broken() && errors.Is(err, zkclient.ErrSessionLost) {
					died = true
				}
				if err != nil && !died {
					t.Error(err)
				}
				if died {
					r.until("its session is gone", func() bool {
						return !slices.ContainsFunc(zktest.Dump(t, server.Addr(), "root", "admin", c.Tree.Root()), func(n zktest.Node) bool { return n.Owner == c.ZK.SessionID() })
					})
				}
				p.end(r, witness, others, died)
				return reads + writes - before, died
			})
		})
	}
}
