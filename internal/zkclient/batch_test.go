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

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

func takeSome(t *testing.T, q *zkclient.Queue, n int) []*zkclient.Entry {
	t.Helper()
	for ctx := patient(t); ; check(t, q.Await(ctx)) {
		entries, err := q.TryTakeSome(ctx, n, nil)
		check(t, err)
		if entries != nil {
			return entries
		}
	}
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
func TestTryTakeSomeNodes(t *testing.T) {
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
	// What the local copy has, and what was released.
	rest := append(takeSome(t, q, 500), takeSome(t, q, 500)...)
	if len(rest) != 15 {
		t.Errorf("the rest has %d", len(rest))
	}
	if none, err := q.TryTakeSome(t.Context(), 10, nil); none != nil || err != nil {
		t.Errorf("an empty queue gives %v, %v", none, err)
	}
}

// A batch has entries of one priority that go together, at most 500 of them and 256 KiB. The rest
// stays free, for this object too.
func TestTryTakeSomeBounds(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	kinds := c.Queue(path + "/kinds")
	var mixed [][]byte
	for i := range 20 {
		mixed = append(mixed, fmt.Appendf(nil, "%d_/%d", i%2, i))
	}
	check(t, kinds.Put(t.Context(), 100, mixed...))
	check(t, kinds.Put(t.Context(), 50, []byte("0_/urgent")))
	sameKind := func(first, next *zkclient.Entry) bool { return first.Value[0] == next.Value[0] }
	var seen []string
	for i, want := range []int{1, 10, 10} {
		entries, err := kinds.TryTakeSome(t.Context(), 50, sameKind)
		check(t, err)
		if len(entries) != want {
			t.Errorf("take %d: %d entries, want %d", i, len(entries), want)
		}
		for _, e := range entries {
			seen = append(seen, string(e.Value))
			if !sameKind(entries[0], e) {
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

// Many goroutines of several clients, some with one queue object, take and complete batches of all
// sizes; some give theirs back now and then. Each entry is completed once.
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
					entries, err := shared.TryTakeSome(ctx, []int{1, 10, 40}[turn%3], func(first, next *zkclient.Entry) bool {
						return first.Value[len(first.Value)-1]%2 == next.Value[len(next.Value)-1]%2
					})
					switch {
					case errors.Is(err, context.Canceled):
						return
					case err == nil && entries == nil:
						if err = shared.Await(ctx); errors.Is(err, context.Canceled) {
							return
						}
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
	eventually(t, "all are done", func() bool { return length(t, done) >= total })
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

// between is a same function that does something once, after the values were read and before the
// entries are taken.
func between(do func(first []byte)) func(first, next *zkclient.Entry) bool {
	var once sync.Once
	return func(first, _ *zkclient.Entry) bool {
		once.Do(func() { do(first.Value) })
		return true
	}
}

// What others have taken is left out of a batch, which is full all the same. What they have
// consumed makes it shorter. When they are quicker with one entry at the last moment, the batch is
// given up and a single entry is taken instead. The others of the batch are not lost.
func TestTryTakeSomeAmongOthers(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	fenced(t, c, path)
	for name, grab := range map[string]func(e *zkclient.Entry){
		"taken":    func(*zkclient.Entry) {},
		"consumed": func(e *zkclient.Entry) { check(t, e.Consume(t.Context())) },
	} {
		q, theirs := c.Queue(path+"/"+name), other.Queue(path+"/"+name)
		check(t, q.Put(t.Context(), 100, values(60)...))
		mine := take(t, q).Name // the local copy has the others
		for _, e := range takeSome(t, theirs, 10) {
			grab(e)
		}
		before := takeSome(t, q, 20)
		if n := len(before); n != 20 && (name == "taken" || n < 10) {
			t.Errorf("%s before: a batch of %d", name, len(before))
		}
		var lost string
		entries, err := q.TryTakeSome(t.Context(), 20, between(func(first []byte) {
			for _, e := range takeSome(t, theirs, 500) {
				if string(e.Value) == string(first) {
					lost = e.Name
					grab(e)
				} else {
					check(t, e.Release(t.Context()))
				}
			}
		}))
		check(t, err)
		if len(entries) != 1 || lost == "" || entries[0].Name == lost || entries[0].Name == mine {
			t.Errorf("%s at the last moment: %s was lost, %d taken", name, lost, len(entries))
		}
		var rest []*zkclient.Entry
		for { // with the local copy, which holds nearly all of them
			some, err := q.TryTakeSome(t.Context(), 500, nil)
			check(t, err)
			if some == nil {
				break
			}
			rest = append(rest, some...)
		}
		if len(rest) != 60-1-10-len(before)-1-1 {
			t.Errorf("%s: %d were left", name, len(rest))
		}
	}
}

// A queue that was deleted and made again has the same names. What was read in the old one is not
// taken for what is in the new one. An entry held in the old one is not consumed in the new one,
// where another client holds it.
func TestRebuiltQueue(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	fenced(t, c, path)
	q, theirs := c.Queue(path+"/q"), other.Queue(path+"/q")
	rebuild := func(kind string) {
		check(t, other.DeleteTree(t.Context(), path+"/q"))
		for i := range 5 {
			check(t, theirs.Put(t.Context(), 100, fmt.Appendf(nil, "%s-%d", kind, i)))
		}
	}
	rebuild("old")
	entries, err := q.TryTakeSome(t.Context(), 5, between(func([]byte) { rebuild("new") }))
	check(t, err)
	for _, e := range entries {
		if !strings.HasPrefix(string(e.Value), "new-") || !strings.HasSuffix(e.Name, string(e.Value[4:])) {
			t.Errorf("%s has %q", e.Name, e.Value)
		}
	}
	if n := len(children(t, c, path+"/q/taken")); len(entries) != 5 || n != 5 {
		t.Errorf("%d entries, %d taken", len(entries), n)
	}

	rebuild("newest")
	their := takeSome(t, theirs, 5)
	wantError(t, q.ConsumeAll(t.Context(), entries, zkclient.OpCreate(path+"/made", nil, zkclient.Persistent)), zkclient.ErrNotHeld)
	wantError(t, q.ReleaseAll(t.Context(), entries), zkclient.ErrNotHeld)
	for _, e := range their {
		if !held(t, other, q, e) {
			t.Errorf("%s is not the other's any more", e.Name)
		}
	}
	if exists(t, c, path+"/made") {
		t.Error("the operation beside was carried out")
	}
	check(t, theirs.ConsumeAll(t.Context(), their))
}

// One entry that is not ours any more, or whose node is gone, keeps all from being consumed; the
// others stay ours.
func TestConsumeAllIsAtomic(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	for name, fence := range map[string]bool{"fenced": true, "bare": false} {
		if c.SetFence(""); fence {
			fenced(t, c, path)
		}
		q := c.Queue(path + "/" + name)
		check(t, q.Put(t.Context(), 100, values(10)...))
		entries := takeSome(t, q, 10)
		made := zkclient.OpCreate(path+"/made-"+name, nil, zkclient.Persistent)
		for i, spoil := range []string{q.Path() + "/taken/" + entries[3].Name, q.Path() + "/entries/" + entries[4].Name} {
			check(t, other.Delete(t.Context(), spoil))
			err := q.ConsumeAll(t.Context(), entries, made)
			wantError(t, err, zkclient.ErrNotHeld)
			if !strings.Contains(err.Error(), entries[3].Name) {
				t.Errorf("%s: the entry is not in: %v", name, err)
			}
			wantError(t, entries[3].Consume(t.Context()), zkclient.ErrNotHeld)
			entries = slices.Delete(entries, 3, 4)
			if n := len(children(t, c, q.Path()+"/taken")); n != len(entries) {
				t.Errorf("%s: %d taken after %d", name, n, i)
			}
		}
		err := q.ConsumeAll(t.Context(), entries, made, zkclient.OpCheck(path+"/missing", -1))
		var refused *zkclient.OpError
		if !errors.As(err, &refused) || refused.Index != 1 {
			t.Errorf("%s: refused %v", name, err)
		}
		check(t, q.ConsumeAll(t.Context(), entries, made))
		if n := length(t, q); n != 1 || !exists(t, c, path+"/made-"+name) {
			t.Errorf("%s: length %d", name, n)
		}
	}

	// Without a party no batch is consumed, but what is held can be given back.
	party := fenced(t, c, path)
	q := c.Queue(path + "/left")
	check(t, q.Put(t.Context(), 100, values(5)...))
	entries := takeSome(t, q, 5)
	check(t, c.Delete(t.Context(), party.Node()))
	wantError(t, q.ConsumeAll(t.Context(), entries), zkclient.ErrSessionLost)
	check(t, q.ReleaseAll(t.Context(), entries))
	if names := children(t, c, q.Path()+"/taken"); len(names) > 0 || length(t, q) != 5 {
		t.Errorf("left behind: %v", names)
	}
	check(t, q.ConsumeAll(t.Context(), nil))
}

// A batch whose caller has gone when the reply comes is given back, however late that is.
func TestAbandonedBatch(t *testing.T) {
	watcher := direct(t)
	root := base(t, watcher)
	for name, fault := range map[string]func(*zktest.Proxy){
		"late":     (*zktest.Proxy).HoldWrites,
		"never":    (*zktest.Proxy).SwallowWrites,
		"lost":     (*zktest.Proxy).LoseWrites,
		"no fault": (*zktest.Proxy).Heal,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, p := proxied(t)
			q := c.Queue(root + "/" + strings.ReplaceAll(name, " ", "-"))
			check(t, q.Put(t.Context(), 100, values(12)...))
			kept := takeSome(t, q, 2)
			ctx, cancel := context.WithCancel(t.Context())
			done := background(func() error {
				_, err := q.TryTakeSome(ctx, 10, between(func([]byte) {
					if fault(p); name == "no fault" {
						cancel()
					}
				}))
				return err
			})
			switch name {
			case "never":
				eventually(t, "the batch is taken", func() bool { return len(children(t, watcher, q.Path()+"/taken")) == 12 })
			case "late", "lost":
				eventually(t, "the batch is on its way", p.Swallowing)
			}
			cancel()
			wantError(t, result(t, done), context.Canceled)
			p.Heal()
			eventually(t, "only the first are taken", func() bool { return len(children(t, watcher, q.Path()+"/taken")) == 2 })
			got := takeSome(t, q, 500)
			for len(got) < 10 {
				got = append(got, takeSome(t, q, 500)...)
			}
			check(t, q.ConsumeAll(t.Context(), append(kept, got...)))
			if n := length(t, q); n != 0 {
				t.Errorf("%d entries left", n)
			}
		})
	}
}

// Behind a fence, n entries cost one transaction to take and one to complete. Their values are all
// that is read, but for the queue itself, once, and for who has taken what, at most once a batch.
func TestRequestsPerBatch(t *testing.T) {
	own := zktest.Start(t)
	p := zktest.NewProxy(t, own.Addr())
	c := connect(t, config(p.Addr()))
	check(t, c.EnsurePath(t.Context(), "/r"))
	fenced(t, c, "/r")
	zxid := func() int64 {
		n, err := own.Zxid()
		check(t, err)
		return n
	}
	const total = 300
	for _, n := range []int{1, 10, 100} {
		q := c.Queue(fmt.Sprintf("/r/%d", n))
		check(t, q.Put(t.Context(), 100, values(total)...))
		batches := total / n
		before, startReads, startWrites := zxid(), 0, 0
		startReads, startWrites = p.Requests()
		for range batches {
			entries := takeSome(t, q, n)
			if len(entries) != n {
				t.Fatalf("a batch of %d has %d", n, len(entries))
			}
			check(t, q.ConsumeAll(t.Context(), entries, zkclient.OpCreate(q.Path()+"/result-", nil, zkclient.Sequential)))
		}
		transactions := zxid() - before
		reads, writes := p.Requests()
		reads, writes = reads-startReads, writes-startWrites
		t.Logf("batches of %d: %.3f transactions, %.3f reads a path", n, float64(transactions)/total, float64(reads)/total)
		if transactions != int64(2*batches) || writes != 2*batches {
			t.Errorf("batches of %d: %d transactions and %d writes, want %d", n, transactions, writes, 2*batches)
		}
		if limit := total + 4 + batches; reads > limit || n == 1 && reads > total+4 {
			t.Errorf("batches of %d: %d reads, want %d at most", n, reads, limit)
		}
		if length(t, q) != 0 {
			t.Errorf("batches of %d: %d entries left", n, length(t, q))
		}
	}
}

// BenchmarkQueue takes and completes paths, with one result node a batch, as a slave does.
func BenchmarkQueue(b *testing.B) {
	for _, jobs := range []int{1, 8} {
		for _, n := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("jobs=%d/batch=%d", jobs, n), func(b *testing.B) { benchmarkQueue(b, jobs, n) })
		}
	}
}

func benchmarkQueue(b *testing.B, jobs, n int) {
	ctx := b.Context()
	fatal := func(err error) {
		if err != nil {
			b.Error(err)
			panic(err)
		}
	}
	c, err := zkclient.Connect(ctx, config(server.Addr()))
	fatal(err)
	defer c.Close()
	path := "/benchmark"
	fatal(c.DeleteTree(ctx, path))
	party := c.Party(path+"/party", "me")
	fatal(party.Join(ctx))
	c.SetFence(party.Node())
	q := c.Queue(path + "/q")
	fatal(q.Put(ctx, 100, values(b.N)...))
	b.ResetTimer()
	var all sync.WaitGroup
	for range jobs {
		all.Go(func() {
			for {
				entries, err := q.TryTakeSome(ctx, n, nil)
				fatal(err)
				if entries == nil {
					return
				}
				fatal(q.ConsumeAll(ctx, entries, zkclient.OpCreate(path+"/result-", nil, zkclient.Sequential)))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "paths/s")
	left, err := q.Len(ctx)
	fatal(err)
	if left > 0 {
		b.Errorf("%d paths left", left)
	}
}
