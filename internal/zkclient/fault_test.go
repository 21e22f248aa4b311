// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// attempt is one call that meets a lost connection.
type attempt struct {
	call    func(ctx context.Context) error
	applied func() bool // the server has carried it out
	after   func()      // what must be there when the call has returned
}

// Every change is tried against three ways in which a connection is lost: no request arrived; the
// reads arrived but the change did not; it was carried out but the reply is lost. In each case the
// call succeeds and its effect is there exactly once.
func TestFaults(t *testing.T) {
	watcher := direct(t)
	root := base(t, watcher)
	acl := []zkclient.ACL{zkclient.DigestACL(user, password, zkclient.PermAll), zkclient.DigestACL("other", "x", zkclient.PermRead)}
	for name, prepare := range map[string]func(t *testing.T, c *zkclient.Client, path string) attempt{
		"Create": func(t *testing.T, c *zkclient.Client, path string) attempt {
			return attempt{
				call: func(ctx context.Context) error {
					made, err := c.Create(ctx, path+"/x", []byte("data"), zkclient.Persistent)
					if err == nil && made != path+"/x" {
						t.Errorf("made %q", made)
					}
					return err
				},
				applied: func() bool { return exists(t, watcher, path+"/x") },
				after: func() {
					if got := read(t, watcher, path+"/x"); got != "data" {
						t.Errorf("data %q", got)
					}
				},
			}
		},
		"Create ephemeral": func(t *testing.T, c *zkclient.Client, path string) attempt {
			return attempt{
				call: func(ctx context.Context) error {
					_, err := c.Create(ctx, path+"/x", []byte("data"), zkclient.Ephemeral)
					return err
				},
				applied: func() bool { return exists(t, watcher, path+"/x") },
				after: func() {
					st, _, err := watcher.Exists(t.Context(), path+"/x")
					if err != nil || st.EphemeralOwner != c.SessionID() {
						t.Errorf("owner %x, %v; want %x", st.EphemeralOwner, err, c.SessionID())
					}
				},
			}
		},
		"Create sequential": func(t *testing.T, c *zkclient.Client, path string) attempt {
			for range 3 { // the like of it, made before and still there, or not
				made, err := c.Create(t.Context(), path+"/s-", []byte("data"), zkclient.Sequential)
				check(t, err)
				if made == path+"/s-0000000001" {
					check(t, c.Delete(t.Context(), made))
				}
			}
			var made string
			return attempt{
				call: func(ctx context.Context) (err error) {
					made, err = c.Create(ctx, path+"/s-", []byte("data"), zkclient.Sequential)
					return err
				},
				applied: func() bool { return len(children(t, watcher, path)) == 3 },
				after: func() {
					names := children(t, watcher, path)
					if len(names) != 3 || made != path+"/s-0000000003" {
						t.Errorf("made %s, children %v", made, names)
					}
				},
			}
		},
		"Create ephemeral sequential": func(t *testing.T, c *zkclient.Client, path string) attempt {
			var made string
			return attempt{
				call: func(ctx context.Context) (err error) {
					made, err = c.Create(ctx, path+"/s-", nil, zkclient.EphemeralSequential)
					return err
				},
				applied: func() bool { return len(children(t, watcher, path)) == 1 },
				after: func() {
					if names := children(t, watcher, path); len(names) != 1 || path+"/"+names[0] != made {
						t.Errorf("made %s, children %v", made, names)
					}
				},
			}
		},
		"CreatePath": func(t *testing.T, c *zkclient.Client, path string) attempt {
			return attempt{
				call: func(ctx context.Context) error {
					_, err := c.CreatePath(ctx, path+"/a/b/c", []byte("x"), zkclient.Persistent)
					return err
				},
				applied: func() bool { return true }, // the first change is refused
				after: func() {
					if got := read(t, watcher, path+"/a/b/c"); got != "x" {
						t.Errorf("data %q", got)
					}
				},
			}
		},
		"Set with a version": func(t *testing.T, c *zkclient.Client, path string) attempt {
			return attempt{
				call: func(ctx context.Context) error {
					st, err := c.Set(ctx, path, []byte("new"), 0)
					if err == nil && st.Version != 1 {
						t.Errorf("version %d", st.Version)
					}
					return err
				},
				applied: func() bool { return read(t, watcher, path) == "new" },
				after: func() {
					if _, st, err := watcher.Get(t.Context(), path); err != nil || st.Version != 1 {
						t.Errorf("version %d, %v", st.Version, err)
					}
				},
			}
		},
		"Settle that repeats": func(t *testing.T, c *zkclient.Client, path string) attempt {
			return attempt{
				call:    func(ctx context.Context) error { return c.Settle(ctx, nil, zkclient.OpSet(path, []byte("stop"), -1)) },
				applied: func() bool { return read(t, watcher, path) == "stop" },
				after: func() {
					if got := read(t, watcher, path); got != "stop" {
						t.Errorf("data %q", got)
					}
				},
			}
		},
		"Settle that looks": func(t *testing.T, c *zkclient.Client, path string) attempt {
			made := func(ctx context.Context) (bool, error) {
				_, found, err := c.Exists(ctx, path+"/mark")
				return found, err
			}
			return attempt{
				call: func(ctx context.Context) error {
					return c.Settle(ctx, made, zkclient.OpCreate(path+"/mark", nil, zkclient.Persistent),
						zkclient.OpCreate(path+"/s-", nil, zkclient.Sequential))
				},
				applied: func() bool { return exists(t, watcher, path+"/mark") },
				after: func() {
					if names := children(t, watcher, path); len(names) != 2 {
						t.Errorf("children %v", names)
					}
				},
			}
		},
		"Delete": func(t *testing.T, c *zkclient.Client, path string) attempt {
			check(t, c.EnsurePath(t.Context(), path+"/x"))
			gone := func() bool { return !exists(t, watcher, path+"/x") }
			return attempt{
				call:    func(ctx context.Context) error { return c.Delete(ctx, path+"/x") },
				applied: gone,
				after: func() {
					if !gone() {
						t.Error("it is still there")
					}
				},
			}
		},
		"DeleteTree": func(t *testing.T, c *zkclient.Client, path string) attempt {
			check(t, c.EnsurePath(t.Context(), path+"/x/a/b"))
			check(t, c.EnsurePath(t.Context(), path+"/x/c"))
			deletes := func(ctx context.Context) error { return c.DeleteTree(ctx, path+"/x") }
			return attempt{
				call:    deletes,
				applied: func() bool { return !exists(t, watcher, path+"/x/a/b") },
				after: func() {
					if exists(t, watcher, path+"/x") {
						t.Error("it is still there")
					}
				},
			}
		},
		"SetACL": func(t *testing.T, c *zkclient.Client, path string) attempt {
			has := func() bool {
				got, err := watcher.GetACL(t.Context(), path)
				check(t, err)
				return slices.Equal(got, acl)
			}
			return attempt{
				call:    func(ctx context.Context) error { return c.SetACL(ctx, path, acl) },
				applied: has,
				after: func() {
					if !has() {
						t.Error("another ACL")
					}
				},
			}
		},
		"Put": func(t *testing.T, c *zkclient.Client, path string) attempt {
			q := c.Queue(path + "/q")
			check(t, q.Put(t.Context(), 50, []byte("same"))) // as below
			check(t, q.Put(t.Context(), 100, []byte("same")))
			entries := func() int { return len(children(t, watcher, path+"/q/entries")) }
			return attempt{
				call:    func(ctx context.Context) error { return q.Put(ctx, 50, []byte("same")) },
				applied: func() bool { return entries() == 3 },
				after: func() {
					if n := entries(); n != 3 {
						t.Errorf("%d entries", n)
					}
				},
			}
		},
		"Put many": func(t *testing.T, c *zkclient.Client, path string) attempt {
			q := c.Queue(path + "/q")
			check(t, q.Ensure(t.Context()))
			entries := func() int { return len(children(t, watcher, path+"/q/entries")) }
			return attempt{
				call:    func(ctx context.Context) error { return q.Put(ctx, 100, values(2500)...) },
				applied: func() bool { return entries() > 0 },
				after: func() {
					if n := entries(); n != 2500 {
						t.Errorf("%d entries", n)
					}
				},
			}
		},
		"Take": func(t *testing.T, c *zkclient.Client, path string) attempt {
			q := c.Queue(path + "/q")
			check(t, q.Put(t.Context(), 100, []byte("one"), []byte("two")))
			taken := func() int { return len(children(t, watcher, path+"/q/taken")) }
			// It makes the copy, so that the next Take begins with its create.
			e, err := q.Take(t.Context())
			check(t, err)
			return attempt{
				call: func(ctx context.Context) error {
					second, err := q.Take(ctx)
					if err == nil && second.Name == e.Name {
						t.Errorf("taken twice: %s", e.Name)
					}
					return err
				},
				applied: func() bool { return taken() == 2 },
				after: func() {
					if n := taken(); n != 2 {
						t.Errorf("%d taken", n)
					}
				},
			}
		},
		"Consume": func(t *testing.T, c *zkclient.Client, path string) attempt {
			q, done := c.Queue(path+"/q"), c.Queue(path+"/done")
			check(t, q.Put(t.Context(), 100, []byte("one")))
			check(t, done.Ensure(t.Context()))
			e, err := q.Take(t.Context())
			check(t, err)
			return attempt{
				call:    func(ctx context.Context) error { return e.Consume(ctx, done.PutOp(e.Value, 100)) },
				applied: func() bool { return len(children(t, watcher, path+"/done/entries")) == 1 },
				after: func() {
					if n := len(children(t, watcher, path+"/done/entries")); n != 1 {
						t.Errorf("%d results", n)
					}
					if n := len(children(t, watcher, path+"/q/entries")) + len(children(t, watcher, path+"/q/taken")); n != 0 {
						t.Errorf("%d nodes left in the queue", n)
					}
				},
			}
		},
		"TryTakeSome": func(t *testing.T, c *zkclient.Client, path string) attempt {
			q := c.Queue(path + "/q")
			check(t, q.Put(t.Context(), 100, values(8)...))
			fenced(t, c, path)
			first := takeSome(t, q, 3)
			taken := func() int { return len(children(t, watcher, path+"/q/taken")) }
			var entries []*zkclient.Entry
			return attempt{
				call:    func(ctx context.Context) (err error) { entries, err = q.TryTakeSome(ctx, 5, nil); return err },
				applied: func() bool { return taken() == 8 },
				after: func() {
					if n := taken(); n != 8 || len(entries) != 5 {
						t.Errorf("%d taken, %d of them this time", n, len(entries))
					}
					check(t, q.ConsumeAll(t.Context(), append(first, entries...)))
					if n := taken() + length(t, q); n != 0 {
						t.Errorf("%d nodes left", n)
					}
				},
			}
		},
		"ConsumeAll": func(t *testing.T, c *zkclient.Client, path string) attempt {
			q := c.Queue(path + "/q")
			check(t, q.Put(t.Context(), 100, values(6)...))
			fenced(t, c, path)
			entries := takeSome(t, q, 5)
			return attempt{
				call: func(ctx context.Context) error {
					return q.ConsumeAll(ctx, entries, zkclient.OpCreate(path+"/result-", nil, zkclient.Sequential))
				},
				applied: func() bool { return len(children(t, watcher, path+"/q/entries")) == 1 },
				after: func() {
					if names := children(t, watcher, path); len(names) != 3 {
						t.Errorf("not one result: %v", names)
					}
					if n := len(children(t, watcher, path+"/q/entries")); n != 1 {
						t.Errorf("%d entries left", n)
					}
					if n := len(children(t, watcher, path+"/q/taken")); n != 0 {
						t.Errorf("%d taken", n)
					}
					wantError(t, q.ConsumeAll(t.Context(), entries), zkclient.ErrNotHeld)
				},
			}
		},
		"ReleaseAll": func(t *testing.T, c *zkclient.Client, path string) attempt {
			q := c.Queue(path + "/q")
			check(t, q.Put(t.Context(), 100, values(5)...))
			entries := takeSome(t, q, 5)
			return attempt{
				call:    func(ctx context.Context) error { return q.ReleaseAll(ctx, entries) },
				applied: func() bool { return len(children(t, watcher, path+"/q/taken")) == 0 },
				after: func() {
					if n := len(children(t, watcher, path+"/q/taken")); n != 0 {
						t.Errorf("%d taken", n)
					}
					if again := takeSome(t, q, 5); len(again) != 5 {
						t.Errorf("%d are free", len(again))
					}
				},
			}
		},
		"Release of an entry": func(t *testing.T, c *zkclient.Client, path string) attempt {
			q := c.Queue(path + "/q")
			check(t, q.Put(t.Context(), 100, []byte("one")))
			e, err := q.Take(t.Context())
			check(t, err)
			return attempt{
				call:    e.Release,
				applied: func() bool { return len(children(t, watcher, path+"/q/taken")) == 0 },
				after: func() {
					if n := len(children(t, watcher, path+"/q/taken")); n != 0 {
						t.Errorf("%d taken", n)
					}
				},
			}
		},
		"TryAcquire": func(t *testing.T, c *zkclient.Client, path string) attempt {
			return attempt{
				call: func(ctx context.Context) error {
					ok, err := c.Lock(path, "me").TryAcquire(ctx)
					if err == nil && !ok {
						t.Error("the lock was free")
					}
					return err
				},
				applied: func() bool { return len(children(t, watcher, path)) > 0 },
				after: func() {
					if names := children(t, watcher, path); len(names) != 1 {
						t.Errorf("nodes: %v", names)
					}
				},
			}
		},
		"Release of a lock": func(t *testing.T, c *zkclient.Client, path string) attempt {
			lock := c.Lock(path, "me")
			check(t, lock.Acquire(t.Context()))
			return attempt{
				call:    lock.Release,
				applied: func() bool { return len(children(t, watcher, path)) == 0 },
				after: func() {
					if names := children(t, watcher, path); len(names) != 0 {
						t.Errorf("nodes: %v", names)
					}
				},
			}
		},
		"Join": func(t *testing.T, c *zkclient.Client, path string) attempt {
			party := c.Party(path, "me")
			return attempt{
				call:    party.Join,
				applied: func() bool { return len(children(t, watcher, path)) > 0 },
				after: func() {
					if names := children(t, watcher, path); len(names) != 1 {
						t.Errorf("nodes: %v", names)
					}
				},
			}
		},
		"AddCounters": func(t *testing.T, c *zkclient.Client, path string) attempt {
			party := c.Party(path+"/party", "me")
			check(t, party.Join(t.Context()))
			c.SetFence(party.Node())
			deltas := map[string]int64{"a": 3, "b": 4}
			check(t, c.AddCounters(t.Context(), path+"/stats", deltas))
			return attempt{
				call: func(ctx context.Context) error { return c.AddCounters(ctx, path+"/stats", deltas) },
				applied: func() bool {
					if read(t, watcher, path+"/stats/a") == "3" {
						return false
					}
					// Others write every counter before the client can look.
					check(t, watcher.AddCounters(t.Context(), path+"/stats", map[string]int64{"a": 100, "b": 100}))
					return true
				},
				after: func() {
					sums, err := watcher.Counters(t.Context(), path+"/stats", []string{"a", "b"})
					if err != nil || sums["a"]%100 != 6 || sums["b"]%100 != 8 {
						t.Errorf("sums %v, %v", sums, err)
					}
					if got := read(t, watcher, party.Node()); got != "me" {
						t.Errorf("the party node's data became %q", got)
					}
				},
			}
		},
	} {
		for _, fault := range []string{"stalled", "change lost", "answer lost"} {
			t.Run(name+", "+fault, func(t *testing.T) {
				t.Parallel()
				c, p := proxied(t)
				path := root + "/" + strings.NewReplacer("/", "-", " ", "-", ",", "").Replace(t.Name())
				check(t, c.EnsurePath(t.Context(), path))
				a := prepare(t, c, path)
				switch fault {
				case "stalled":
					p.Stall()
				case "change lost":
					p.LoseWrites()
				case "answer lost":
					p.SwallowWrites()
				}
				done := background(func() error { return a.call(t.Context()) })
				if fault == "stalled" {
					time.Sleep(50 * time.Millisecond) // mostly until a request is in the proxy
				} else {
					eventually(t, "a change is on its way", p.Swallowing)
				}
				if fault == "answer lost" {
					eventually(t, "it is carried out", a.applied)
				}
				p.Cut()
				p.Heal()
				check(t, result(t, done))
				a.after()
			})
		}
	}
}

// In a whole sequence of calls every single change is carried out and its reply lost.
func TestEveryAnswerLost(t *testing.T) {
	t.Parallel()
	watcher := direct(t)
	path := base(t, watcher)
	p := zktest.NewProxy(t, server.Addr())
	cfg := config(p.Addr())
	cfg.SessionTimeout = 4 * time.Second // for quick reconnects
	c := connect(t, cfg)
	party := c.Party(path+"/party", "me")
	check(t, party.Join(t.Context()))
	c.SetFence(party.Node())
	stop := make(chan struct{})
	trouble := make(chan int)
	go func() {
		lost := 0
		defer func() { p.Heal(); trouble <- lost }()
		for {
			p.SwallowWrites()
			for !p.Swallowing() {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
			time.Sleep(10 * time.Millisecond)
			p.Cut()
			p.Heal()
			lost++
		}
	}()
	q, results := c.Queue(path+"/q"), c.Queue(path+"/results")
	lock := c.Lock(path+"/lock", "me")
	const rounds = 4
	err := func() error {
		if err := results.Ensure(t.Context()); err != nil {
			return err
		}
		for i := range rounds {
			if err := q.Put(t.Context(), 100, values(3 * rounds)[3*i:3*i+3]...); err != nil {
				return err
			}
			if err := lock.Acquire(t.Context()); err != nil {
				return err
			}
			entries, err := q.TryTakeSome(t.Context(), 3, nil)
			if err != nil {
				return err
			}
			if err := q.ReleaseAll(t.Context(), entries); err != nil {
				return err
			}
			if entries, err = q.TryTakeSome(t.Context(), 3, nil); err != nil {
				return err
			}
			var ops []zkclient.Op
			for _, e := range entries {
				ops = append(ops, results.PutOp(e.Value, 100))
			}
			if err := q.ConsumeAll(t.Context(), entries, ops...); err != nil {
				return err
			}
			if err := c.AddCounters(t.Context(), path+"/stats", map[string]int64{"n": 1}); err != nil {
				return err
			}
			if err := lock.Release(t.Context()); err != nil {
				return err
			}
		}
		return c.Delete(t.Context(), party.Node())
	}()
	close(stop)
	if lost := <-trouble; lost < rounds*8 {
		t.Errorf("only %d answers were lost", lost)
	}
	check(t, err)
	var seen []string
	_, err = watcher.Queue(path+"/results").Drain(t.Context(), func(v []byte) error {
		seen = append(seen, string(v))
		return nil
	})
	check(t, err)
	if slices.Sort(seen); len(slices.Compact(seen)) != 3*rounds {
		t.Errorf("results %v", seen)
	}
	if got := read(t, watcher, path+"/stats/n"); got != fmt.Sprint(rounds) {
		t.Errorf("counter %s, want %d", got, rounds)
	}
	for _, rest := range []string{"/q/entries", "/q/taken", "/lock", "/party"} {
		if names := children(t, watcher, path+rest); len(names) > 0 {
			t.Errorf("left in %s: %v", rest, names)
		}
	}
}
