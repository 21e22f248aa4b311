// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// recipe is a small run of a recipe.
type recipe struct {
	prepare func(t *testing.T, c *zkclient.Client, path string)                     // nil: there is nothing to
	run     func(ctx context.Context, c, other *zkclient.Client, path string) error // c is the one that meets the fault
	after   func(t *testing.T, other *zkclient.Client, path string)                 // what must be there when it is done
	heir    func(t *testing.T, other *zkclient.Client, path string)                 // what must be to be had when c has died before that
}

// work is what the queue is given.
var work = []string{"a", "b", "c", "d"}

// done are the results in order.
func done(t *testing.T, c *zkclient.Client, path string) (values []string) {
	t.Helper()
	_, err := c.Queue(path+"/results").Drain(t.Context(), func(value []byte) error {
		values = append(values, string(value))
		return nil
	})
	check(t, err)
	slices.Sort(values)
	return values
}

// finish takes all there is, one by one and several at once, and records each in the transaction that removes it.
func finish(ctx context.Context, c *zkclient.Client, path string) error {
	q, results := c.Queue(path+"/q"), c.Queue(path+"/results")
	for {
		entries, err := q.TryTakeSome(ctx, 2, nil)
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := q.ReleaseAll(ctx, entries); err != nil {
			return err
		}
		e, err := q.Take(ctx)
		if err != nil {
			return err
		}
		if err := e.Consume(ctx, results.PutOp(e.Value, 100)); err != nil {
			return err
		}
		if entries, err = q.TryTakeSome(ctx, 3, nil); err != nil {
			return err
		}
		var ops []zkclient.Op
		for _, e := range entries {
			ops = append(ops, results.PutOp(e.Value, 100))
		}
		if err := q.ConsumeAll(ctx, entries, ops...); err != nil {
			return err
		}
	}
}

// exclusively has a client hold a lock for a while, and says if it is not alone in that.
func exclusively(ctx context.Context, c *zkclient.Client, path string) error {
	lock := c.Lock(path+"/lock", "")
	if err := lock.Acquire(ctx); err != nil {
		return err
	}
	node, err := c.Create(ctx, path+"/held", nil, zkclient.Ephemeral)
	if err != nil {
		return fmt.Errorf("two have the lock: %w", err)
	}
	return errors.Join(c.Delete(ctx, node), lock.Release(ctx))
}

var recipes = map[string]recipe{
	"queue": {
		prepare: func(t *testing.T, c *zkclient.Client, path string) {
			check(t, c.Queue(path+"/results").Ensure(t.Context()))
		},
		run: func(ctx context.Context, c, _ *zkclient.Client, path string) error {
			party := c.Party(path+"/party", "me")
			if err := party.Join(ctx); err != nil {
				return err
			}
			c.SetFence(party.Node())
			q := c.Queue(path + "/q")
			for _, value := range work {
				if err := q.Put(ctx, 100, []byte(value)); err != nil {
					return err
				}
			}
			return finish(ctx, c, path)
		},
		after: func(t *testing.T, other *zkclient.Client, path string) {
			if got := done(t, other, path); !slices.Equal(got, work) {
				t.Errorf("done: %v", got)
			}
			if n := len(children(t, other, path+"/q/entries")) + len(children(t, other, path+"/q/taken")); n > 0 {
				t.Errorf("%d nodes are left", n)
			}
		},
		heir: func(t *testing.T, other *zkclient.Client, path string) {
			check(t, finish(t.Context(), other, path))
			if got := done(t, other, path); !slices.Equal(got, work[:len(got)]) {
				t.Errorf("done: %v", got)
			}
			if n := length(t, other.Queue(path+"/q")); n > 0 {
				t.Errorf("%d entries are left", n)
			}
		},
	},
	"lock": {
		run: func(ctx context.Context, c, other *zkclient.Client, path string) error {
			theirs := background(func() error {
				for range 3 {
					if err := exclusively(ctx, other, path); err != nil {
						return err
					}
				}
				return nil
			})
			var err error
			for range 3 {
				err = errors.Join(err, exclusively(ctx, c, path))
			}
			return errors.Join(err, <-theirs)
		},
		after: func(t *testing.T, other *zkclient.Client, path string) {
			if names := children(t, other, path+"/lock"); len(names) > 0 {
				t.Errorf("%v are left", names)
			}
		},
		heir: func(t *testing.T, other *zkclient.Client, path string) {
			check(t, exclusively(t.Context(), other, path))
		},
	},
	"party": {
		run: func(ctx context.Context, c, _ *zkclient.Client, path string) error {
			party := c.Party(path+"/party", "me")
			if err := party.Join(ctx); err != nil {
				return err
			}
			there, err := party.Has(ctx, "me")
			n, err2 := party.Count(ctx)
			members, err3 := party.Members(ctx)
			if err := errors.Join(err, err2, err3); err != nil {
				return err
			}
			if !there || n != 1 || !slices.Equal(members, []string{"me"}) {
				return fmt.Errorf("in the party: %v, %d, %v", there, n, members)
			}
			return c.Delete(ctx, party.Node())
		},
		after: nobodyIn,
		heir:  nobodyIn,
	},
	"counters": {
		run: func(ctx context.Context, c, _ *zkclient.Client, path string) error {
			party := c.Party(path+"/party", "me")
			if err := party.Join(ctx); err != nil {
				return err
			}
			c.SetFence(party.Node())
			for range 3 {
				if err := c.AddCounters(ctx, path+"/stats", map[string]int64{"a": 1, "b": 2}); err != nil {
					return err
				}
			}
			return nil
		},
		after: func(t *testing.T, other *zkclient.Client, path string) {
			if a := sums(t, other, path); a != 3 {
				t.Errorf("%d were added", a)
			}
		},
		heir: func(t *testing.T, other *zkclient.Client, path string) { sums(t, other, path) },
	},
	"tree": {
		run: func(ctx context.Context, c, _ *zkclient.Client, path string) error {
			if err := c.EnsurePath(ctx, path+"/x/a/b"); err != nil {
				return err
			}
			if _, err := c.CreatePath(ctx, path+"/x/c/d", []byte("d"), zkclient.Ephemeral); err != nil {
				return err
			}
			first, err := c.Create(ctx, path+"/x/s-", nil, zkclient.Sequential)
			if err != nil {
				return err
			}
			if _, err := c.Set(ctx, first, []byte("data"), 0); err != nil {
				return err
			}
			if err := c.Settle(ctx, func(ctx context.Context) (bool, error) {
				_, found, err := c.Exists(ctx, path+"/x/mark")
				return found, err
			}, zkclient.OpCreate(path+"/x/mark", nil, zkclient.Persistent), zkclient.OpCreate(path+"/x/s-", nil, zkclient.Sequential)); err != nil {
				return err
			}
			names, err := c.Children(ctx, path+"/x")
			if err != nil || len(names) != 5 {
				return errors.Join(err, fmt.Errorf("there are %v", names))
			}
			return errors.Join(c.DeleteBelow(ctx, path+"/x/a"), c.DeleteTree(ctx, path+"/x"))
		},
		after: func(t *testing.T, other *zkclient.Client, path string) {
			if exists(t, other, path+"/x") {
				t.Error("it is still there")
			}
		},
		heir: func(t *testing.T, other *zkclient.Client, path string) {
			if exists(t, other, path+"/x/c/d") {
				t.Error("the ephemeral node is still there")
			}
			check(t, other.DeleteTree(t.Context(), path+"/x"))
		},
	},
	"watch": {
		prepare: func(t *testing.T, c *zkclient.Client, path string) {
			check(t, c.EnsurePath(t.Context(), path+"/watched"))
		},
		run: func(ctx context.Context, c, other *zkclient.Client, path string) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			seen := make(chan string, 10)
			watching := background(func() error {
				return c.WatchData(ctx, path+"/watched", func(data []byte, _ zkclient.Stat, _ bool) { seen <- string(data) })
			})
			for _, value := range []string{"", "one", "two", "three"} {
				if value != "" {
					if _, err := other.Set(ctx, path+"/watched", []byte(value), -1); err != nil {
						return err
					}
				}
				for got := "none"; got != value; { // the last one may be told again
					select {
					case got = <-seen:
					case err := <-watching:
						return err
					case <-time.After(patience):
						return fmt.Errorf("%q was not seen, but %q", value, got)
					}
				}
			}
			cancel()
			<-watching
			return nil
		},
		after: func(*testing.T, *zkclient.Client, string) {},
		heir:  func(*testing.T, *zkclient.Client, string) {},
	},
}

func nobodyIn(t *testing.T, other *zkclient.Client, path string) {
	t.Helper()
	if names := children(t, other, path+"/party"); len(names) > 0 {
		t.Errorf("%v are in the party", names)
	}
}

// sums is how often both counters were added to.
func sums(t *testing.T, other *zkclient.Client, path string) int64 {
	t.Helper()
	sums, err := other.Counters(t.Context(), path+"/stats", []string{"a", "b"})
	check(t, err)
	if sums["b"] != 2*sums["a"] || sums["a"] > 3 {
		t.Errorf("the sums are %v", sums)
	}
	return sums["a"]
}

// Each recipe keeps its promise whichever of its requests fails, because the connection breaks: before the server has carried
// it out, or after. The client goes on, or it has died: then others find all in order.
func TestEachRequest(t *testing.T) {
	const long = 10 * time.Second // so that a busy machine does not take the session away
	root := base(t, direct(t))
	for name, r := range recipes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zktest.EachRequest(t, 3, func(t *testing.T, lasts bool, fault func(*zktest.Proxy)) (requests int, died bool) {
				timeout := long
				if !lasts {
					timeout = 3 * time.Second
				}
				path := root + "/" + strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
				other := direct(t)
				check(t, other.EnsurePath(t.Context(), path))
				if r.prepare != nil {
					r.prepare(t, other, path)
				}
				p := zktest.NewProxy(t, server.Addr())
				cfg := config(p.Addr())
				cfg.SessionTimeout = timeout
				c := connect(t, cfg)
				reads, writes := p.Requests()
				before := reads + writes
				fault(p)
				err := r.run(t.Context(), c, other, path)
				if reads, writes := p.Requests(); err == nil {
					r.after(t, other, path)
					return reads + writes - before, false
				}
				if !errors.Is(err, zkclient.ErrSessionLost) {
					t.Error(err)
				}
				eventually(t, "the session is gone", func() bool {
					n := zktest.Dump(t, server.Addr(), user, password, path)
					return !slices.ContainsFunc(n, func(n zktest.Node) bool { return n.Owner == c.SessionID() })
				})
				r.heir(t, other, path)
				return 0, true
			})
		})
	}
}
