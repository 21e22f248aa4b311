// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"vsc-zk/internal/zkclient"
)

// doubtful is a call whose reply is lost while others change what it is about.
type doubtful struct {
	call      func(ctx context.Context) error
	applied   func() bool // the server has carried it out
	meanwhile func()      // what others do while the call has no connection
	lost      []error     // what its error matches if it was not carried out, nil for success
	swallowed []error     // the same if it was
	after     func(applied bool)
}

// What others do while a reply is missing is never taken for the call's own doing, nor the call's
// own doing for theirs. What cannot be told apart is said to be open.
func TestDoubt(t *testing.T) {
	watcher := direct(t)
	root := base(t, watcher)
	set := func(path string, values ...string) {
		for _, value := range values {
			_, err := watcher.Set(t.Context(), path, []byte(value), -1)
			check(t, err)
		}
	}
	other := zkclient.DigestACL("other", "x", zkclient.PermAll)
	ours := zkclient.DigestACL(user, password, zkclient.PermAll)
	for name, prepare := range map[string]func(t *testing.T, c *zkclient.Client, path string) doubtful{
		"a node with another ACL": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			acl := []zkclient.ACL{ours}
			return doubtful{
				call: func(ctx context.Context) error {
					_, err := c.CreateACL(ctx, path+"/x", []byte("data"), zkclient.Persistent, acl)
					return err
				},
				applied: func() bool { return exists(t, watcher, path+"/x") },
				meanwhile: func() {
					_, err := watcher.CreateACL(t.Context(), path+"/x", []byte("data"), zkclient.Persistent, append(acl, other))
					if !errors.Is(err, zkclient.ErrNodeExists) {
						check(t, err)
					}
				},
				lost: []error{zkclient.ErrNodeExists},
			}
		},
		"a node that cannot be read": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			return doubtful{
				call: func(ctx context.Context) error {
					_, err := c.CreateACL(ctx, path+"/x", []byte("data"), zkclient.Persistent, []zkclient.ACL{other})
					return err
				},
				applied:   func() bool { return exists(t, watcher, path+"/x") },
				swallowed: []error{zkclient.ErrNoAuth, zkclient.ErrConnectionLoss},
			}
		},
		"an ACL that takes the own rights": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			check(t, c.EnsurePath(t.Context(), path+"/x"))
			return doubtful{
				call: func(ctx context.Context) error { return c.SetACL(ctx, path+"/x", []zkclient.ACL{other}) },
				applied: func() bool {
					_, err := watcher.GetACL(t.Context(), path+"/x")
					return errors.Is(err, zkclient.ErrNoAuth)
				},
				swallowed: []error{zkclient.ErrNoAuth, zkclient.ErrConnectionLoss},
			}
		},
		"another value": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			open := []error{zkclient.ErrBadVersion, zkclient.ErrConnectionLoss}
			return doubtful{
				call:      func(ctx context.Context) error { _, err := c.Set(ctx, path, []byte("new"), 0); return err },
				applied:   func() bool { return read(t, watcher, path) == "new" },
				meanwhile: func() { set(path, "theirs") },
				lost:      []error{zkclient.ErrBadVersion},
				swallowed: open,
				after: func(bool) {
					if got := read(t, watcher, path); got != "theirs" {
						t.Errorf("data %q", got)
					}
				},
			}
		},
		"a node that is gone": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			open := []error{zkclient.ErrNoNode, zkclient.ErrConnectionLoss}
			return doubtful{
				call:      func(ctx context.Context) error { _, err := c.Set(ctx, path, []byte("new"), -1); return err },
				applied:   func() bool { return read(t, watcher, path) == "new" },
				meanwhile: func() { check(t, watcher.Delete(t.Context(), path)) },
				lost:      open,
				swallowed: open,
			}
		},
		"two other values": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			open := []error{zkclient.ErrBadVersion, zkclient.ErrConnectionLoss}
			return doubtful{
				call:      func(ctx context.Context) error { _, err := c.Set(ctx, path, []byte("new"), 0); return err },
				applied:   func() bool { return read(t, watcher, path) == "new" },
				meanwhile: func() { set(path, "one", "two") },
				lost:      open,
				swallowed: open,
			}
		},
		"a look that fails": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			open := []error{zkclient.ErrNotHeld, zkclient.ErrConnectionLoss}
			return doubtful{
				call: func(ctx context.Context) error {
					return c.Settle(ctx, func(context.Context) (bool, error) { return false, zkclient.ErrNotHeld },
						zkclient.OpSet(path, []byte("x"), -1))
				},
				applied:   func() bool { return read(t, watcher, path) == "x" },
				lost:      open,
				swallowed: open,
			}
		},
		"a new node": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			_, err := c.Create(t.Context(), path+"/x", []byte("ours"), zkclient.Persistent)
			check(t, err)
			return doubtful{
				call:    func(ctx context.Context) error { return c.Delete(ctx, path+"/x") },
				applied: func() bool { return !exists(t, watcher, path+"/x") },
				meanwhile: func() {
					if exists(t, watcher, path+"/x") {
						check(t, watcher.Delete(t.Context(), path+"/x"))
					}
					_, err := watcher.Create(t.Context(), path+"/x", []byte("theirs"), zkclient.Persistent)
					check(t, err)
				},
				after: func(bool) {
					if got := read(t, watcher, path+"/x"); got != "theirs" {
						t.Errorf("data %q", got)
					}
				},
			}
		},
		"an equal entry": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			q, theirs := c.Queue(path), watcher.Queue(path)
			check(t, q.Ensure(t.Context()))
			entries := func() int { return len(children(t, watcher, path+"/entries")) }
			return doubtful{
				call:      func(ctx context.Context) error { return q.Put(ctx, 100, []byte("a"), []byte("b"), []byte("c")) },
				applied:   func() bool { return entries() == 3 },
				meanwhile: func() { check(t, theirs.Put(t.Context(), 100, []byte("b"))) },
				after: func(bool) {
					var got []string
					_, err := theirs.Drain(t.Context(), func(v []byte) error { got = append(got, string(v)); return nil })
					check(t, err)
					if slices.Sort(got); strings.Join(got, "") != "abbc" {
						t.Errorf("entries %q", got)
					}
				},
			}
		},
		"the end of the queue": func(t *testing.T, c *zkclient.Client, path string) doubtful {
			q := c.Queue(path + "/q")
			check(t, q.Put(t.Context(), 100, []byte("x")))
			e, err := q.Take(t.Context())
			check(t, err)
			open := []error{zkclient.ErrNotHeld, zkclient.ErrConnectionLoss}
			return doubtful{
				call: func(ctx context.Context) error {
					return e.Consume(ctx, zkclient.OpCreate(path+"/made", nil, zkclient.Persistent))
				},
				applied:   func() bool { return exists(t, watcher, path+"/made") },
				meanwhile: func() { check(t, watcher.DeleteTree(t.Context(), path+"/q")) },
				lost:      open,
				swallowed: open,
				after: func(applied bool) {
					if made := exists(t, watcher, path+"/made"); made != applied {
						t.Errorf("the operation beside it was carried out: %v", made)
					}
				},
			}
		},
	} {
		for _, applied := range []bool{false, true} {
			fault := "change lost"
			if applied {
				fault = "answer lost"
			}
			t.Run(name+", "+fault, func(t *testing.T) {
				t.Parallel()
				c, p := proxied(t)
				path := root + "/" + strings.NewReplacer("/", "-", " ", "-", ",", "").Replace(t.Name())
				check(t, c.EnsurePath(t.Context(), path))
				d := prepare(t, c, path)
				want := d.lost
				if applied {
					want = d.swallowed
					p.SwallowWrites()
				} else {
					p.LoseWrites()
				}
				done := background(func() error { return d.call(t.Context()) })
				eventually(t, "the change is on its way", p.Swallowing)
				if applied {
					eventually(t, "it is carried out", d.applied)
				}
				p.Cut()
				if d.meanwhile != nil {
					d.meanwhile()
				}
				p.Heal()
				err := result(t, done)
				for _, known := range []error{zkclient.ErrNoNode, zkclient.ErrNodeExists, zkclient.ErrNoAuth, zkclient.ErrBadVersion,
					zkclient.ErrNotHeld, zkclient.ErrConnectionLoss} {
					if is := errors.Is(err, known); is != slices.Contains(want, known) {
						t.Errorf("error is %v, want one that matches %q", err, want)
						break
					}
				}
				if err != nil && len(want) == 0 {
					t.Errorf("error: %v", err)
				}
				if d.after != nil {
					d.after(applied)
				}
			})
		}
	}
}

// A request that was given up is carried out after all: after the call has looked for it in vain
// and has sent the next one, which is refused for that reason. The watcher stands in for it here.
func TestLateRequest(t *testing.T) {
	watcher := direct(t)
	root := base(t, watcher)
	for name, prepare := range map[string]func(t *testing.T, c *zkclient.Client, path string) (call func(context.Context) error, late []zkclient.Op){
		"Create": func(t *testing.T, c *zkclient.Client, path string) (func(context.Context) error, []zkclient.Op) {
			return func(ctx context.Context) error {
				_, err := c.Create(ctx, path+"/x", []byte("data"), zkclient.Persistent)
				return err
			}, []zkclient.Op{zkclient.OpCreate(path+"/x", []byte("data"), zkclient.Persistent)}
		},
		"Delete": func(t *testing.T, c *zkclient.Client, path string) (func(context.Context) error, []zkclient.Op) {
			check(t, c.EnsurePath(t.Context(), path+"/x"))
			return func(ctx context.Context) error { return c.Delete(ctx, path+"/x") }, []zkclient.Op{zkclient.OpDelete(path + "/x")}
		},
		"Set": func(t *testing.T, c *zkclient.Client, path string) (func(context.Context) error, []zkclient.Op) {
			return func(ctx context.Context) error {
				st, err := c.Set(ctx, path, []byte("data"), 0)
				if err == nil && st.Version != 1 {
					t.Errorf("version %d", st.Version)
				}
				return err
			}, []zkclient.Op{zkclient.OpSet(path, []byte("data"), 0)}
		},
		"Settle": func(t *testing.T, c *zkclient.Client, path string) (func(context.Context) error, []zkclient.Op) {
			ops := []zkclient.Op{zkclient.OpCreate(path+"/x", nil, zkclient.Persistent)}
			return func(ctx context.Context) error {
				return c.Settle(ctx, func(ctx context.Context) (bool, error) {
					_, found, err := c.Exists(ctx, path+"/x")
					return found, err
				}, ops...)
			}, ops
		},
		"AddCounters": func(t *testing.T, c *zkclient.Client, path string) (func(context.Context) error, []zkclient.Op) {
			party := fenced(t, c, path)
			check(t, c.AddCounters(t.Context(), path, map[string]int64{"n": 3}))
			_, st, err := c.Get(t.Context(), party.Node())
			check(t, err)
			return func(ctx context.Context) error {
					err := c.AddCounters(ctx, path, map[string]int64{"n": 4})
					if got := read(t, watcher, path+"/n"); got != "7" {
						t.Errorf("the counter is %s", got)
					}
					return err
				}, []zkclient.Op{
					zkclient.OpSet(party.Node(), []byte("me"), st.Version),
					zkclient.OpSet(path+"/n", []byte("7"), -1),
				}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, p := proxied(t)
			path := root + "/" + name
			check(t, c.EnsurePath(t.Context(), path))
			call, late := prepare(t, c, path)
			p.LoseWrites()
			done := background(func() error { return call(t.Context()) })
			eventually(t, "the first request is on its way", p.Swallowing)
			p.Cut()
			p.HoldWrites()
			eventually(t, "the second request is on its way", p.Swallowing)
			check(t, watcher.Multi(t.Context(), late...))
			p.Heal()
			check(t, result(t, done))
		})
	}
}
