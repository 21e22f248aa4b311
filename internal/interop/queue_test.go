// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/zkclient"
)

// value reads the answer to a step.
func value[T any](t testing.TB, answer json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("the peer answered %s: %v", answer, err)
	}
	return v
}

// take gets an entry that must be there.
func take(t testing.TB, ctx context.Context, q *zkclient.Queue) *zkclient.Entry {
	t.Helper()
	entry, err := q.Take(ctx)
	ok(t, err)
	return entry
}

// nothingFree says that there is nothing to take for either kind.
func nothingFree(t testing.TB, ctx context.Context, q *zkclient.Queue, py *Peer) {
	t.Helper()
	if entries, err := q.TryTakeSome(ctx, 1, nil); entries != nil || err != nil {
		t.Fatalf("Go takes %v, %v", entries, err)
	}
	if got := py.Do("queue get", Fields{"path": q.Path(), "name": "other", "timeout": 0.2}); string(got) != "null" {
		t.Fatalf("Python takes %s", got)
	}
}

func wantLen(t testing.TB, ctx context.Context, q *zkclient.Queue, py *Peer, want int) {
	t.Helper()
	got, err := q.Len(ctx)
	if err != nil || got != want {
		t.Errorf("Go sees %d entries, want %d (%v)", got, want, err)
	}
	if got := value[int](t, py.Do("queue len", Fields{"path": q.Path()})); got != want {
		t.Errorf("Python sees %d entries, want %d", got, want)
	}
}

func TestQueueEntryHeldByOneIsNotFreeForTheOther(t *testing.T) {
	t.Parallel()
	ctx, c, py := limited(t), connect(t), stepped(t)
	q := c.Queue(own(t))
	path := q.Path()
	ok(t, q.Ensure(ctx))
	ok(t, q.Put(ctx, zkclient.DefaultPriority, []byte("1_/caf\xe9")))

	if got := value[Raw](t, py.Do("queue get", Fields{"path": path})); got != "1_/caf\xe9" {
		t.Fatalf("Python got %q", got)
	}
	nothingFree(t, ctx, q, py)
	wantLen(t, ctx, q, py, 1)
	py.Do("queue release", Fields{"path": path})

	entry := take(t, ctx, q)
	if string(entry.Value) != "1_/caf\xe9" {
		t.Fatalf("Go got %q", entry.Value)
	}
	nothingFree(t, ctx, q, py)
	wantLen(t, ctx, q, py, 1)
	ok(t, entry.Release(ctx))

	py.Do("queue get", Fields{"path": path})
	if held := string(py.Do("queue holds", Fields{"path": path})); held != "true" {
		t.Errorf("Python holds its entry: %s", held)
	}
	py.Do("queue consume", Fields{"path": path})
	wantLen(t, ctx, q, py, 0)
	nothingFree(t, ctx, q, py)

	py.Do("queue put", Fields{"path": path, "values": []Raw{"second"}})
	entry = take(t, ctx, q)
	ok(t, entry.Consume(ctx))
	wantLen(t, ctx, q, py, 0)
	nothingFree(t, ctx, q, py)
}

// Whoever waits on an empty queue, or on one with everything taken, is woken by the other kind.
func TestQueueWakesTheOther(t *testing.T) {
	t.Parallel()
	ctx, c, py := limited(t), connect(t), stepped(t)
	q := c.Queue(own(t))
	path := q.Path()
	ok(t, q.Ensure(ctx))

	got := py.Begin("queue get", Fields{"path": path})
	ok(t, q.Put(ctx, zkclient.DefaultPriority, []byte("put by Go")))
	if v := value[Raw](t, got.Wait()); v != "put by Go" {
		t.Errorf("Python got %q", v)
	}

	// The entry is taken: Go waits, now for its release.
	taken := make(chan *zkclient.Entry, 1)
	begin := func() {
		go func() {
			entry, err := q.Take(ctx)
			if err != nil {
				t.Error(err)
			}
			taken <- entry
		}()
	}
	begin()
	select {
	case entry := <-taken:
		t.Fatalf("Go took %v, which Python holds", entry)
	case <-time.After(200 * time.Millisecond):
	}
	py.Do("queue release", Fields{"path": path})
	entry := <-taken

	// And Python for Go's.
	got = py.Begin("queue get", Fields{"path": path})
	time.Sleep(200 * time.Millisecond)
	if got.Answered() {
		t.Fatal("Python took what Go holds")
	}
	ok(t, entry.Release(ctx))
	got.Wait()
	py.Do("queue consume", Fields{"path": path})

	begin()
	py.Do("queue put", Fields{"path": path, "values": []Raw{"put by Python"}})
	entry = <-taken
	if string(entry.Value) != "put by Python" {
		t.Errorf("Go got %q", entry.Value)
	}
	ok(t, entry.Consume(ctx))
}

// Priorities come first and then, for kazoo, the order of putting, whoever has put.
func TestQueueOrder(t *testing.T) {
	t.Parallel()
	ctx, c, py := limited(t), connect(t), stepped(t)
	q := c.Queue(own(t))
	ok(t, q.Ensure(ctx))
	var want []string
	fill := func() {
		want = nil
		put := map[int][]string{}
		for i, priority := range []int{100, 500, 50, 999, 0, 100, 50, 7} {
			for _, who := range []string{"go", "py", "go"} {
				v := fmt.Sprintf("%03d %d %s", priority, i, who)
				if who == "go" {
					v += "\x00\xff"
					ok(t, q.Put(ctx, priority, []byte(v), []byte(v+"+")))
					put[priority] = append(put[priority], v, v+"+")
				} else {
					py.Do("queue put", Fields{"path": q.Path(), "priority": priority, "values": []Raw{Raw(v)}})
					put[priority] = append(put[priority], v)
				}
			}
		}
		for _, priority := range slices.Sorted(maps.Keys(put)) {
			want = append(want, put[priority]...)
		}
	}

	fill()
	py.Do("queue drain", Fields{"path": q.Path()})
	var got []string
	for _, e := range py.All("entry") {
		got = append(got, string(*e.Data))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order in which Python drains (-want +got):\n%s", diff)
	}

	fill()
	got = nil
	for range want {
		entry := take(t, ctx, q)
		got = append(got, string(entry.Value))
		ok(t, entry.Consume(ctx))
	}
	priorities := func(values []string) (only []string) {
		for _, v := range values {
			only = append(only, v[:3])
		}
		return only
	}
	if diff := cmp.Diff(priorities(want), priorities(got)); diff != "" {
		t.Errorf("priorities in which Go takes (-want +got):\n%s", diff)
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
		t.Errorf("entries Go took (-want +got):\n%s", diff)
	}

	fill()
	got = nil
	n, err := q.Drain(ctx, func(v []byte) error { got = append(got, string(v)); return nil })
	if err != nil || n != len(want) {
		t.Errorf("Drain: %d, %v", n, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order in which Go drains (-want +got):\n%s", diff)
	}
}

// Three consumers of each kind at once, and every entry is consumed once.
func TestQueueDrainedByBoth(t *testing.T) {
	const total, each = 2000, 3
	ctx, c, filler := limited(t), connect(t), stepped(t)
	q := c.Queue(own(t))
	ok(t, q.Ensure(ctx))
	var fromGo [][]byte
	var fromPython []Raw
	for i := range total / 2 {
		fromGo = append(fromGo, fmt.Appendf(nil, "1_/go/\xff/%d", i))
		fromPython = append(fromPython, Raw(fmt.Sprintf("0_/py/\xfe/%d", i)))
	}
	ok(t, q.Put(ctx, zkclient.DefaultPriority, fromGo...))
	filler.Do("queue put", Fields{"path": q.Path(), "values": fromPython})
	wantLen(t, ctx, q, filler, total)

	var peers []*Peer
	var calls []*Call
	var queues []*zkclient.Queue
	for range each {
		queues = append(queues, connect(t).Queue(q.Path()))
		py := stepped(t)
		peers = append(peers, py)
		calls = append(calls, py.Begin("queue drain", Fields{"path": q.Path(), "pause": 0.002}))
		py.Await("entry")
	}
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		seen = map[string]int{}
		byGo [each]int
	)
	for i, mine := range queues {
		wait.Go(func() {
			for {
				entry, err := takeUnlessEmpty(ctx, mine)
				if err != nil {
					t.Error(err)
					return
				}
				if entry == nil {
					return
				}
				time.Sleep(rand.N(2 * time.Millisecond))
				if err := entry.Consume(ctx); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[string(entry.Value)]++
				mu.Unlock()
				byGo[i]++
			}
		})
	}
	wait.Wait()
	var byPython [each]int
	for i, call := range calls {
		call.Wait()
		for _, e := range peers[i].All("entry") {
			seen[string(*e.Data)]++
			byPython[i]++
		}
	}
	t.Logf("entries consumed by Go %v, by Python %v", byGo, byPython)

	for _, v := range slices.Concat(fromGo, bytesOf(fromPython)) {
		if n := seen[string(v)]; n != 1 {
			t.Errorf("%q was consumed %d times", v, n)
		}
		delete(seen, string(v))
	}
	if len(seen) > 0 {
		t.Errorf("consumed, but never put: %v", seen)
	}
	if byGo == [each]int{} {
		t.Error("Go got nothing")
	}
	for _, below := range []string{"/entries", "/taken"} {
		names, err := c.Children(ctx, q.Path()+below)
		if err != nil || len(names) > 0 {
			t.Errorf("left in %s: %v, %v", below, names, err)
		}
	}
}

func bytesOf(values []Raw) (bytes [][]byte) {
	for _, v := range values {
		bytes = append(bytes, []byte(v))
	}
	return bytes
}

// takeUnlessEmpty waits for an entry as long as there are any, free or taken.
func takeUnlessEmpty(ctx context.Context, q *zkclient.Queue) (*zkclient.Entry, error) {
	for {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		entry, err := q.Take(short)
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return entry, err
		}
		if n, err := q.Len(ctx); n == 0 || err != nil {
			return nil, err
		}
	}
}

// What a Go client moves to another queue in one transaction is what kazoo gets there.
func TestQueueConsumeMovesAnEntry(t *testing.T) {
	t.Parallel()
	ctx, c, py := limited(t), connect(t), stepped(t)
	from, to := c.Queue(own(t, "from")), c.Queue(own(t, "to"))
	ok(t, from.Ensure(ctx))
	ok(t, to.Ensure(ctx))
	py.Do("queue put", Fields{"path": from.Path(), "values": []Raw{"1_/a\xff", "1_/b"}})
	for range 2 {
		entry := take(t, ctx, from)
		ok(t, entry.Consume(ctx, to.PutOp(entry.Value, 50)))
	}
	wantLen(t, ctx, from, py, 0)
	py.Do("queue put", Fields{"path": to.Path(), "priority": 49, "values": []Raw{"first"}})
	py.Do("queue drain", Fields{"path": to.Path()})
	var got []string
	for _, e := range py.All("entry") {
		got = append(got, string(*e.Data))
	}
	slices.Sort(got[1:])
	if diff := cmp.Diff([]string{"first", "1_/a\xff", "1_/b"}, got); diff != "" {
		t.Errorf("Python drained (-want +got):\n%s", diff)
	}
}
