// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
)

func takeSome(t *testing.T, q *zkclient.Queue, n int) []*zkclient.Entry {
	t.Helper()
	entries, err := q.TakeSome(short(t, 5*time.Second), n, nil)
	check(t, err)
	return entries
}

// fenced makes c a member, whose Multis are behind the fence.
func fenced(t *testing.T, c *zkclient.Client, path string) *zkclient.Party {
	t.Helper()
	party := c.Party(path+"/party", "me")
	check(t, party.Join(t.Context()))
	c.SetFence(party.Node())
	return party
}

// What a batch leaves in ZooKeeper is what as many single takes leave.
func TestTakeSomeNodes(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	fenced(t, c, path)
	q := c.Queue(path + "/q")
	check(t, q.Put(t.Context(), 100, values(30)...))
	entries := takeSome(t, q, 20)
	names := children(t, c, path+"/q/taken")
	if len(entries) != 20 || len(names) != 20 {
		t.Fatalf("%d entries, %d taken nodes", len(entries), len(names))
	}
	ids := map[string]bool{}
	for _, e := range entries {
		if want := "value-000" + e.Name[len(e.Name)-2:]; string(e.Value) != want {
			t.Errorf("%s has %q, want %q", e.Name, e.Value, want)
		}
		id, st, err := c.Get(t.Context(), path+"/q/taken/"+e.Name)
		check(t, err)
		if st.EphemeralOwner != c.SessionID() || len(id) != 32 {
			t.Errorf("taken/%s: %q, owner %x", e.Name, id, st.EphemeralOwner)
		}
		ids[string(id)] = true
		if held, err := e.Held(t.Context()); !held || err != nil {
			t.Errorf("held: %v %v", held, err)
		}
	}
	if len(ids) != 1 {
		t.Errorf("ids of one queue object: %v", ids)
	}
	check(t, q.ConsumeAll(t.Context(), entries[:15], zkclient.OpCreate(path+"/made", nil, zkclient.Persistent)))
	if n := length(t, q); n != 15 || !exists(t, c, path+"/made") {
		t.Errorf("length %d", n)
	}
	check(t, q.ReleaseAll(t.Context(), entries[15:]))
	if names := children(t, c, path+"/q/taken"); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
	wantError(t, q.ConsumeAll(t.Context(), entries[:1]), zkclient.ErrNotHeld)
	wantError(t, q.ReleaseAll(t.Context(), entries), zkclient.ErrNotHeld)
	rest := append(takeSome(t, q, 500), takeSome(t, q, 500)...) // what the local copy has, and what was released
	if len(rest) != 15 {
		t.Errorf("the rest has %d", len(rest))
	}
	if none, err := q.TryTakeSome(t.Context(), 10, nil); none != nil || err != nil {
		t.Errorf("an empty queue gives %v, %v", none, err)
	}
}

// A batch has one priority, what goes together, at most 500 entries and 256 KiB; the rest stays free, for this object too.
func TestTakeSomeBounds(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	kinds := c.Queue(path + "/kinds")
	var mixed [][]byte
	for i := range 20 {
		mixed = append(mixed, fmt.Appendf(nil, "%d_/%d", i%2, i))
	}
	check(t, kinds.Put(t.Context(), 100, mixed...))
	check(t, kinds.Put(t.Context(), 50, []byte("0_/urgent")))
	sameKind := func(first, value []byte) bool { return first[0] == value[0] }
	var seen []string
	for i, want := range []int{1, 10, 10} {
		entries, err := kinds.TryTakeSome(t.Context(), 50, sameKind)
		check(t, err)
		if len(entries) != want {
			t.Errorf("take %d: %d entries, want %d", i, len(entries), want)
		}
		for _, e := range entries {
			seen = append(seen, string(e.Value))
			if !sameKind(entries[0].Value, e.Value) {
				t.Errorf("%s with %s", entries[0].Value, e.Value)
			}
		}
	}
	if slices.Sort(seen); len(slices.Compact(seen)) != 21 {
		t.Errorf("taken: %v", seen)
	}

	big := c.Queue(path + "/big")
	check(t, big.Put(t.Context(), 100, slices.Repeat([][]byte{bytes.Repeat([]byte("x"), 100<<10)}, 5)...))
	if entries := takeSome(t, big, 5); len(entries) != 2 {
		t.Errorf("%d entries of 100 KiB", len(entries))
	}
	huge := c.Queue(path + "/huge")
	check(t, huge.Put(t.Context(), 100, bytes.Repeat([]byte("x"), 300<<10)))
	takeSome(t, huge, 5)
	many := c.Queue(path + "/many")
	check(t, many.Put(t.Context(), 100, values(700)...))
	if entries := takeSome(t, many, 10_000); len(entries) != 500 {
		t.Errorf("%d entries", len(entries))
	}
	if entries := takeSome(t, many, 0); len(entries) != 1 {
		t.Errorf("%d entries, want 1 when asked for 0", len(entries))
	}
}

// Many goroutines of several clients, some with one queue object, take and complete batches of all sizes; some give theirs
// back now and then. Each entry is completed once.
func TestBatchesInterleaved(t *testing.T) {
	t.Parallel()
	clients := []*zkclient.Client{direct(t), direct(t), direct(t)}
	path := base(t, clients[0])
	done := clients[0].Queue(path + "/done")
	check(t, done.Ensure(t.Context()))
	const total = 3000
	check(t, clients[0].Queue(path+"/q").Put(t.Context(), 100, values(total)...))
	for _, c := range clients[1:] { // the first has none
		fenced(t, c, path)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 15 {
		c := clients[i%3]
		shared := c.Queue(path + "/q")
		for range 1 + i%2 {
			all.Go(func() {
				for turn := 1; ; turn++ {
					entries, err := shared.TakeSome(ctx, []int{1, 10, 40}[turn%3], func(first, value []byte) bool {
						return first[len(first)-1]%2 == value[len(value)-1]%2
					})
					switch {
					case errors.Is(err, context.Canceled):
						return
					case err == nil && turn%7 == 0:
						err = shared.ReleaseAll(t.Context(), entries)
					case err == nil:
						ops := make([]zkclient.Op, len(entries))
						for i, e := range entries {
							ops[i] = done.PutOp(e.Value, 100)
						}
						err = shared.ConsumeAll(t.Context(), entries, ops...)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	for deadline := time.Now().Add(20 * time.Second); length(t, done) < total && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	all.Wait()
	var seen []string
	n, err := done.Drain(t.Context(), func(v []byte) error { seen = append(seen, string(v)); return nil })
	check(t, err)
	slices.Sort(seen)
	if n != total || len(slices.Compact(seen)) != total {
		t.Errorf("%d results, %d different ones", n, len(slices.Compact(seen)))
	}
	for _, rest := range []string{"/q/entries", "/q/taken"} {
		if names := children(t, clients[0], path+rest); len(names) > 0 {
			t.Errorf("left in %s: %s", rest, strings.Join(names, " "))
		}
	}
}
