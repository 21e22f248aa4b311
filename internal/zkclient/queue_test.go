// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// polling is a client whose watches can be lost, and that looks often without them.
func polling(t *testing.T) (*zkclient.Client, *zktest.Proxy) {
	t.Helper()
	p := zktest.NewProxy(t, server.Addr())
	cfg := config(p.Addr())
	cfg.PollInterval = 300 * time.Millisecond
	return connect(t, cfg), p
}

func take(t *testing.T, q *zkclient.Queue) *zkclient.Entry {
	t.Helper()
	e, err := q.Take(patient(t))
	check(t, err)
	return e
}

// held looks whether an entry is one that the session of c has taken.
func held(t *testing.T, c *zkclient.Client, q *zkclient.Queue, e *zkclient.Entry) bool {
	t.Helper()
	st, found, err := c.Exists(t.Context(), q.Path()+"/taken/"+e.Name)
	check(t, err)
	return found && st.EphemeralOwner == c.SessionID()
}

func length(t *testing.T, q *zkclient.Queue) int {
	t.Helper()
	n, err := q.Len(t.Context())
	check(t, err)
	return n
}

// What a queue leaves in ZooKeeper is what kazoo's LockingQueue leaves.
func TestQueueNodes(t *testing.T) {
	c := direct(t)
	q := c.Queue(base(t, c) + "/made/on/the/way")
	check(t, q.Put(t.Context(), zkclient.DefaultPriority, []byte("1_/a"), nil))
	check(t, q.Put(t.Context(), 7, []byte("0_/b\xff\n")))
	e := take(t, q)
	if e.Name != "entry-007-0000000002" || string(e.Value) != "0_/b\xff\n" {
		t.Errorf("entry %s %q", e.Name, e.Value)
	}
	names := children(t, c, q.Path()+"/entries")
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "entry-007-0000000002 entry-100-0000000000 entry-100-0000000001" {
		t.Errorf("entries: %s", got)
	}
	id, st, err := c.Get(t.Context(), q.Path()+"/taken/"+e.Name)
	check(t, err)
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).Match(id) || st.EphemeralOwner != c.SessionID() {
		t.Errorf("taken: %q, owner %x", id, st.EphemeralOwner)
	}
	for _, path := range []string{q.Path(), q.Path() + "/taken", q.Path() + "/entries", q.Path() + "/entries/entry-100-0000000001"} {
		data, st, err := c.Get(t.Context(), path)
		acl, aclErr := c.GetACL(t.Context(), path)
		if err != nil || data == nil || len(data) > 0 || st.EphemeralOwner != 0 || aclErr != nil || len(acl) != 1 ||
			acl[0] != zkclient.DigestACL(user, password, zkclient.PermAll) {
			t.Errorf("%s: %q %+v %v %v", path, data, st, acl, err)
		}
	}
	if n := length(t, q); n != 3 {
		t.Errorf("length %d", n)
	}
}

func TestQueuePriorities(t *testing.T) {
	c := direct(t)
	q := c.Queue(base(t, c))
	want := []string{"low", "normal", "normal", "normal", "high"}
	check(t, q.Put(t.Context(), 999, []byte("high")))
	check(t, q.Put(t.Context(), 100, []byte("normal"), []byte("normal"), []byte("normal")))
	check(t, q.Put(t.Context(), 0, []byte("low")))
	for _, value := range want {
		e := take(t, q)
		if string(e.Value) != value {
			t.Errorf("got %s, want %s", e.Value, value)
		}
		check(t, e.Consume(t.Context()))
	}
	some, err := q.TryTakeSome(t.Context(), 1, nil)
	if some != nil || err != nil {
		t.Errorf("an empty queue gives %v, %v", some, err)
	}
	for _, priority := range []int{-1, 1000} {
		if err := q.Put(t.Context(), priority, nil); err == nil {
			t.Errorf("priority %d was accepted", priority)
		}
	}
}

// Several consumers on several clients drain a queue that is still being filled: each entry ends
// once.
func TestQueueDrainedByMany(t *testing.T) {
	clients := []*zkclient.Client{direct(t), direct(t), direct(t)}
	path := base(t, clients[0])
	done := clients[0].Queue(path + "/done")
	check(t, done.Ensure(t.Context()))
	const total = 600
	check(t, clients[0].Queue(path+"/q").Put(t.Context(), 100, values(total/2)...))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 12 {
		q := clients[i%3].Queue(path + "/q")
		if i >= 6 {
			q = clients[i%3].Queue(path + "/q") // an object of its own
		}
		all.Go(func() {
			for {
				e, err := q.Take(ctx)
				if errors.Is(err, context.Canceled) {
					return
				}
				if err == nil {
					err = e.Consume(t.Context(), done.PutOp(e.Value, 100))
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	check(t, clients[0].Queue(path+"/q").Put(t.Context(), 50, values(total)[total/2:]...))
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
	for _, rest := range []string{"/q/entries", "/q/taken", "/done/entries"} {
		if names := children(t, clients[0], path+rest); len(names) > 0 {
			t.Errorf("left in %s: %v", rest, names)
		}
	}
}

// A Take that waits is woken by a put, by a release, and by the end of the client that had the
// entry.
func TestTakeWakes(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	q, q2 := c.Queue(path), other.Queue(path)
	var e *zkclient.Entry
	for _, step := range []struct {
		name string
		free func()
	}{
		{"the queue is made and filled", func() { check(t, q2.Put(t.Context(), 100, []byte("x"))) }},
		{"released", func() { check(t, e.Release(t.Context())); e = nil }},
		{"its taker ends", other.Close},
	} {
		if step.name != "the queue is made and filled" {
			e = take(t, q2)
		}
		var got *zkclient.Entry
		done := background(func() (err error) { got, err = q.Take(t.Context()); return err })
		select {
		case err := <-done:
			t.Fatalf("%s: it did not wait (%v)", step.name, err)
		case <-time.After(100 * time.Millisecond):
		}
		step.free()
		check(t, result(t, done))
		check(t, got.Release(t.Context()))
	}
}

// Await returns when an entry is free, without taking it, also among others of the same object.
func TestAwait(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	q, q2 := c.Queue(path), other.Queue(path)
	check(t, q2.Put(t.Context(), 100, []byte("x")))
	check(t, q.Await(t.Context()))
	e := take(t, q2)
	var several []<-chan error
	for range 5 {
		several = append(several, background(func() error { return q.Await(t.Context()) }))
	}
	time.Sleep(200 * time.Millisecond)
	for _, done := range several {
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
	}
	check(t, e.Release(t.Context()))
	for _, done := range several {
		check(t, result(t, done))
	}
	e = take(t, q)
	err := q.Await(short(t, 100*time.Millisecond)) // one that this object has is not free
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	check(t, e.Consume(t.Context()))
}

// The watches are lost, the slow poll finds out.
func TestTakePolls(t *testing.T) {
	other := direct(t)
	path := base(t, other)
	c, p := polling(t)
	q := c.Queue(path)
	check(t, q.Ensure(t.Context()))
	done := background(func() error { _, err := q.Take(t.Context()); return err })
	time.Sleep(100 * time.Millisecond)
	p.SwallowEvents()
	check(t, other.Queue(path).Put(t.Context(), 100, []byte("x")))
	check(t, result(t, done))
}

// Consume with other operations is all or nothing.
func TestConsumeIsAtomic(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	q := c.Queue(path + "/q")
	check(t, q.Put(t.Context(), 100, []byte("x")))
	e := take(t, q)
	err := e.Consume(t.Context(), zkclient.OpCreate(path+"/made", nil, zkclient.Persistent), zkclient.OpCheck(path+"/missing", -1))
	wantError(t, err, zkclient.ErrNoNode)
	var refused *zkclient.OpError
	if !errors.As(err, &refused) || refused.Index != 1 || refused.Path != path+"/missing" {
		t.Errorf("refused: %+v", refused)
	}
	if exists(t, c, path+"/made") || length(t, q) != 1 {
		t.Error("half of it was done")
	}
	if !held(t, c, q, e) {
		t.Error("the entry is not held any more")
	}
	check(t, e.Consume(t.Context(), zkclient.OpCreate(path+"/made", nil, zkclient.Persistent), zkclient.OpSet(path+"/made", []byte("y"), 0)))
	if read(t, c, path+"/made") != "y" || length(t, q) != 0 {
		t.Error("not all of it was done")
	}
	wantError(t, e.Consume(t.Context()), zkclient.ErrNotHeld)
	wantError(t, e.Release(t.Context()), zkclient.ErrNotHeld)
}

// An entry that was lost on the way, to another client or altogether, is not consumed, and the
// other client's hold on it is not touched.
func TestNotHeld(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	q := c.Queue(path)
	for name, call := range map[string]func(*zkclient.Entry) error{
		"consume": func(e *zkclient.Entry) error { return e.Consume(t.Context()) },
		"release": func(e *zkclient.Entry) error { return e.Release(t.Context()) },
	} {
		check(t, q.Put(t.Context(), 100, []byte(name)))
		e := take(t, q)
		check(t, other.Delete(t.Context(), path+"/taken/"+e.Name))
		theirs := take(t, other.Queue(path))
		if theirs.Name != e.Name {
			t.Fatalf("another entry: %s", theirs.Name)
		}
		wantError(t, call(e), zkclient.ErrNotHeld)
		if !held(t, other, q, theirs) {
			t.Errorf("%s has taken it from the other", name)
		}
		check(t, theirs.Consume(t.Context()))
	}
	check(t, q.Put(t.Context(), 100, []byte("deleted")))
	e := take(t, q)
	check(t, other.Delete(t.Context(), path+"/entries/"+e.Name))
	wantError(t, e.Consume(t.Context(), zkclient.OpCreate(path+"/made", nil, zkclient.Persistent)), zkclient.ErrNotHeld)
	if exists(t, c, path+"/made") {
		t.Error("the operations beside were carried out")
	}
	eventually(t, "the taken node goes", func() bool { return len(children(t, c, path+"/taken")) == 0 })
}

// A local copy of entries that are consumed already gives none of them, and no taken node is left.
func TestTakeSkipsConsumed(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	q := c.Queue(path)
	check(t, q.Put(t.Context(), 100, values(40)...))
	e := take(t, q) // the local copy has the other 39
	_, err := other.Queue(path).Drain(t.Context(), func([]byte) error { return nil })
	check(t, err)
	check(t, other.Queue(path).Put(t.Context(), 100, []byte("fresh")))
	got := take(t, q)
	if string(got.Value) != "fresh" {
		t.Errorf("got %q", got.Value)
	}
	eventually(t, "only two are taken", func() bool {
		names := children(t, c, path+"/taken")
		return len(names) == 2 && slices.Contains(names, e.Name) && slices.Contains(names, got.Name)
	})
}

// Half a queue is mended by whoever takes from it.
func TestTakeMends(t *testing.T) {
	c := direct(t)
	q := c.Queue(base(t, c))
	check(t, q.Put(t.Context(), 100, []byte("x")))
	check(t, c.DeleteTree(t.Context(), q.Path()+"/taken"))
	e := take(t, q)
	if string(e.Value) != "x" {
		t.Fatalf("value %q", e.Value)
	}
	check(t, e.Consume(t.Context()))
}

// More than a request may hold goes in several; a value that can never fit is refused, and the
// connection lives.
func TestPutMuch(t *testing.T) {
	c := direct(t)
	q := c.Queue(base(t, c))
	big := make([][]byte, 30)
	for i := range big {
		big[i] = fmt.Appendf(nil, "%03d%s", i, strings.Repeat("x", 100_000))
	}
	check(t, q.Put(t.Context(), 100, big...))
	var seen []string
	n, err := q.Drain(t.Context(), func(v []byte) error { seen = append(seen, string(v[:3])); return nil })
	if err != nil || n != 30 || !slices.IsSorted(seen) {
		t.Errorf("drained %d, %v: %v", n, err, seen)
	}
	const limit = 1<<20 - 1
	for _, size := range []int{limit, limit - 50, 2 * limit} {
		err := q.Put(t.Context(), 100, make([]byte, size))
		if err == nil || !strings.Contains(err.Error(), "ZooKeeper takes") {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := c.Set(t.Context(), q.Path(), make([]byte, size), -1); err == nil && size > limit-40 {
			t.Errorf("%d bytes were set", size)
		}
	}
	check(t, context.Cause(c.Context()))
}

// The largest request that is let through is one that the server takes.
func TestRequestLimit(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	largest := func(try func(n int) error) int {
		low, high := 1_000_000, 1<<20
		for low+1 < high {
			mid := (low + high) / 2
			if err := try(mid); err == nil {
				low = mid
			} else if strings.Contains(err.Error(), "ZooKeeper takes") {
				high = mid
			} else {
				t.Fatal(err)
			}
		}
		return low
	}
	n := 0
	for name, size := range map[string]int{
		"set": largest(func(n int) error { _, err := c.Set(t.Context(), path, make([]byte, n), -1); return err }),
		"create": largest(func(size int) error {
			n++
			_, err := c.Create(t.Context(), fmt.Sprintf("%s/%04d", path, n), make([]byte, size), zkclient.Persistent)
			return err
		}),
		"multi": largest(func(n int) error { return c.Multi(t.Context(), zkclient.OpSet(path, make([]byte, n), -1)) }),
	} {
		if size < 1<<20-250 {
			t.Errorf("%s: %d bytes are the most", name, size)
		}
	}
	check(t, c.DeleteTree(t.Context(), path))
}

func TestDrain(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	q := c.Queue(path)
	if n, err := c.Queue(path+"/none").Drain(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("no queue: %d %v", n, err)
	}
	if n := length(t, c.Queue(path+"/none")); n != 0 {
		t.Errorf("no queue has length %d", n)
	}
	check(t, q.Put(t.Context(), 100, values(1500)...))
	check(t, q.Put(t.Context(), 50, []byte("first")))
	theirs := take(t, other.Queue(path))
	stop := errors.New("stop")
	var seen []string
	fn := func(v []byte) error {
		if len(seen) == 1200 {
			return stop
		}
		seen = append(seen, string(v))
		return nil
	}
	n, err := q.Drain(t.Context(), fn)
	if !errors.Is(err, stop) || n != 1200 || length(t, q) != 301 {
		t.Errorf("stopped: %d, %v, %d left", n, err, length(t, q))
	}
	if seen[0] != "first" || !slices.IsSorted(seen[1:]) {
		t.Errorf("order: %v", seen[:10])
	}
	n, err = q.Drain(t.Context(), func(v []byte) error { seen = append(seen, string(v)); return nil })
	if err != nil || n != 301 || length(t, q) != 0 || len(seen) != 1501 {
		t.Errorf("rest: %d, %v", n, err)
	}
	if names := children(t, c, path+"/taken"); len(names) != 1 || names[0] != theirs.Name {
		t.Errorf("taken nodes: %v", names)
	}
}
