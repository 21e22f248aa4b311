// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
)

func TestParty(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c) + "/party"
	members := func(p *zkclient.Party) string {
		t.Helper()
		got, err := p.Members(t.Context())
		check(t, err)
		n, err := p.Count(t.Context())
		if err != nil || n != len(got) {
			t.Errorf("Count is %d, %v; members %v", n, err, got)
		}
		return strings.Join(got, " ")
	}
	me, you := c.Party(path, "host:1"), other.Party(path, "host:2")
	if got := members(me); got != "" {
		t.Errorf("no party has members %q", got)
	}
	check(t, me.Join(t.Context()))
	check(t, me.Join(t.Context()))
	check(t, you.Join(t.Context()))
	if got := members(me); got != "host:1 host:2" {
		t.Errorf("members %q", got)
	}
	if ok, err := me.Has(t.Context(), "host:2"); !ok || err != nil {
		t.Errorf("Has: %v %v", ok, err)
	}
	if name := strings.TrimPrefix(me.Node(), path+"/"); !regexp.MustCompile(`^[0-9a-f]{32}__party__$`).MatchString(name) {
		t.Errorf("node %s", name)
	}
	data, st, err := c.Get(t.Context(), me.Node())
	if err != nil || string(data) != "host:1" || st.EphemeralOwner != c.SessionID() {
		t.Errorf("data %q %+v %v", data, st, err)
	}
	check(t, c.EnsurePath(t.Context(), path+"/something-else"))
	other.Close()
	if got := members(me); got != "host:1" {
		t.Errorf("after one has ended: %q", got)
	}
	check(t, c.Delete(t.Context(), me.Node()))
	if got := members(me); got != "" {
		t.Errorf("after leaving: %q", got)
	}
}

func TestCounters(t *testing.T) {
	clients := []*zkclient.Client{direct(t), direct(t), direct(t)}
	path := base(t, clients[0]) + "/stats"
	names := []string{"a", "b", "c"}
	got, err := clients[0].Counters(t.Context(), path, names)
	if err != nil || len(got) != 3 || got["a"] != 0 {
		t.Errorf("missing counters: %v %v", got, err)
	}
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for range 10 {
				if err := clients[i%3].AddCounters(t.Context(), path, map[string]int64{"a": 1, "b": 1 << 40, "c": 0}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for name, want := range map[string]string{"a": "60", "b": fmt.Sprint(60 << 40), "c": "0"} {
		if data := read(t, clients[0], path+"/"+name); data != want {
			t.Errorf("%s is %q, want %q", name, data, want)
		}
	}
	c := clients[0]
	check(t, c.AddCounters(t.Context(), path, map[string]int64{"a": -70}))
	_, err = c.Set(t.Context(), path+"/b", nil, -1)
	check(t, err)
	got, err = c.Counters(t.Context(), path, names)
	if err != nil || got["a"] != -10 || got["b"] != 0 {
		t.Errorf("counters %v %v", got, err)
	}
	check(t, c.AddCounters(t.Context(), path, map[string]int64{"b": math.MaxInt64}))
	if err := c.AddCounters(t.Context(), path, map[string]int64{"a": 1, "b": 1}); err == nil || read(t, c, path+"/a") != "-10" {
		t.Errorf("overflow: %v", err)
	}
	_, err = c.Set(t.Context(), path+"/b", []byte("1.5"), -1)
	check(t, err)
	if _, err := c.Counters(t.Context(), path, names); err == nil || !strings.Contains(err.Error(), "1.5") {
		t.Errorf("not a number: %v", err)
	}
}

// watching runs WatchData and returns what it reports.
func watching(t *testing.T, c *zkclient.Client, path string) (states <-chan string, stop func()) {
	t.Helper()
	seen := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := background(func() error {
		return c.WatchData(ctx, path, func(data []byte, st zkclient.Stat, found bool) {
			seen <- fmt.Sprintf("%v %s %d", found, data, st.Version)
		})
	})
	stop = func() {
		cancel()
		wantError(t, result(t, done), context.Canceled)
	}
	return seen, stop
}

func next(t *testing.T, states <-chan string, want string) {
	t.Helper()
	select {
	case got := <-states:
		if got != want {
			t.Fatalf("state %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no state, want %q", want)
	}
}

func TestWatchData(t *testing.T) {
	c, p := proxied(t)
	other := direct(t)
	path := base(t, other) + "/ready"
	states, stop := watching(t, c, path)
	set := func(data string) {
		t.Helper()
		_, err := other.Set(t.Context(), path, []byte(data), -1)
		check(t, err)
	}
	create := func(data string) {
		t.Helper()
		_, err := other.Create(t.Context(), path, []byte(data), zkclient.Persistent)
		check(t, err)
	}
	next(t, states, "false  0")
	create("start")
	next(t, states, "true start 0")
	set("stop")
	next(t, states, "true stop 1")
	set("stop")
	next(t, states, "true stop 2")
	check(t, other.Delete(t.Context(), path))
	next(t, states, "false  0")
	create("again")
	next(t, states, "true again 0")

	// What changes while there is no connection is seen after the reconnect, whether or not
	// there was a watch.
	p.Cut()
	set("changed")
	p.Heal()
	next(t, states, "true changed 1")
	p.Cut()
	check(t, other.Delete(t.Context(), path))
	p.Heal()
	next(t, states, "false  0")
	p.Cut()
	create("third")
	p.Heal()
	next(t, states, "true third 0")
	set("end") // the watch is armed again
	next(t, states, "true end 1")
	stop()
	if len(states) > 0 {
		t.Errorf("reported twice: %s", <-states)
	}
}

// The watch is lost, the slow poll finds out.
func TestWatchChildren(t *testing.T) {
	c, p := proxied(t)
	other := direct(t)
	path := base(t, other) + "/keys"
	states := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.WatchChildren(ctx, path, func(names []string) { states <- strings.Join(names, " ") })
	}()
	// Changes that follow each other quickly may show as one, or twice.
	await := func(want string) {
		t.Helper()
		for got := ""; ; {
			select {
			case got = <-states:
			case <-time.After(time.Minute):
				t.Fatalf("the last is %q, want %q", got, want)
			}
			if got == want {
				return
			}
		}
	}
	create := func(name string) {
		t.Helper()
		_, err := other.CreatePath(t.Context(), path+"/"+name, nil, zkclient.Persistent)
		check(t, err)
	}
	await("")
	create("b")
	await("b")
	create("a")
	await("a b")
	check(t, other.Delete(t.Context(), path+"/b"))
	await("a")
	check(t, other.DeleteTree(t.Context(), path))
	await("")
	create("c")
	await("c")
	p.Cut()
	create("d")
	p.Heal()
	await("c d")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWatchDataPolls(t *testing.T) {
	c, p := polling(t)
	other := direct(t)
	path := base(t, other)
	states, stop := watching(t, c, path)
	next(t, states, "true  0")
	p.SwallowEvents()
	_, err := other.Set(t.Context(), path, []byte("x"), -1)
	check(t, err)
	next(t, states, "true x 1")
	stop()
}

func TestTree(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	check(t, c.EnsurePath(t.Context(), path+"/a/b/c"))
	check(t, c.EnsurePath(t.Context(), path+"/a/b/c"))
	wantError(t, c.Delete(t.Context(), path+"/a"), zkclient.ErrNotEmpty)
	wantError(t, c.Delete(t.Context(), path+"/x"), zkclient.ErrNoNode)
	_, err := c.Create(t.Context(), path+"/x/y", nil, zkclient.Persistent)
	wantError(t, err, zkclient.ErrNoNode)
	_, err = c.Create(t.Context(), path+"/a", nil, zkclient.Persistent)
	wantError(t, err, zkclient.ErrNodeExists)
	_, err = c.Set(t.Context(), path+"/a", nil, 5)
	wantError(t, err, zkclient.ErrBadVersion)
	for _, bad := range []string{"", "x", "/x/", "/a//b", "/a/../b", "/a/\x00"} {
		if _, err := c.Create(t.Context(), bad, nil, zkclient.Persistent); err == nil || !strings.HasPrefix(err.Error(), "cannot create") {
			t.Errorf("path %q: %v", bad, err)
		}
	}
	// Wide and deep, and with somebody who goes on adding.
	q := c.Queue(path + "/a/b/c/q")
	check(t, q.Put(t.Context(), 100, values(1200)...))
	take(t, q)
	check(t, c.DeleteTree(t.Context(), path+"/a"))
	check(t, c.DeleteTree(t.Context(), path+"/a"))
	if names := children(t, c, path); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
	ctx, cancel := context.WithCancel(t.Context())
	other := direct(t)
	adding := background(func() error {
		for i := 0; ctx.Err() == nil; i++ {
			_, err := other.CreatePath(ctx, fmt.Sprintf("%s/b/%d", path, i), nil, zkclient.Persistent)
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	eventually(t, "it adds", func() bool { return len(children(t, c, path+"/b")) > 20 })
	if err := c.DeleteTree(t.Context(), path+"/b"); err != nil && !errors.Is(err, zkclient.ErrNotEmpty) {
		t.Error(err)
	}
	cancel()
	check(t, result(t, adding))
}

func TestACL(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	want := []zkclient.ACL{
		zkclient.DigestACL(user, password, zkclient.PermAll),
		zkclient.DigestACL("reader", "x", zkclient.PermRead|zkclient.PermWrite),
	}
	_, err := c.CreateACL(t.Context(), path+"/x", nil, zkclient.Persistent, want)
	check(t, err)
	got, err := c.GetACL(t.Context(), path+"/x")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("ACL %v %v", got, err)
	}
	check(t, c.SetACL(t.Context(), path+"/x", want[1:]))
	_, err = c.GetACL(t.Context(), path+"/x") // asking takes a right too
	wantError(t, err, zkclient.ErrNoAuth)
	check(t, c.Delete(t.Context(), path+"/x")) // the right to delete is the parent's
	// The digest of user super with password test, as ZooKeeper's own documentation has it.
	if id := zkclient.DigestACL("super", "test", zkclient.PermAll).ID; id != "super:D/InIHSb7yEEbrWz8b9l71RjZJU=" {
		t.Errorf("digest %s", id)
	}
}

func TestMulti(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	check(t, c.Multi(t.Context()))
	check(t, c.Multi(t.Context(),
		zkclient.OpCreate(path+"/a", []byte("1"), zkclient.Persistent),
		zkclient.OpCreate(path+"/a/s-", nil, zkclient.Sequential),
		zkclient.OpSet(path+"/a", []byte("2"), 0),
		zkclient.OpCheck(path+"/a", 1),
	))
	if read(t, c, path+"/a") != "2" || len(children(t, c, path+"/a")) != 1 {
		t.Error("not carried out")
	}
	for index, op := range []zkclient.Op{
		zkclient.OpCreate(path+"/a", nil, zkclient.Persistent),
		zkclient.OpSet(path+"/a", nil, 7),
		zkclient.OpDelete(path + "/a"),
		zkclient.OpDelete(path + "/missing"),
	} {
		want := []error{zkclient.ErrNodeExists, zkclient.ErrBadVersion, zkclient.ErrNotEmpty, zkclient.ErrNoNode}[index]
		err := c.Multi(t.Context(), zkclient.OpSet(path, []byte("x"), -1), op)
		wantError(t, err, want)
		var refused *zkclient.OpError
		if !errors.As(err, &refused) || refused.Index != 1 || !strings.Contains(err.Error(), refused.Path) {
			t.Errorf("%v: %+v", err, refused)
		}
	}
	if read(t, c, path) != "" {
		t.Error("a refused transaction has left something")
	}
	err := c.Multi(t.Context(), zkclient.OpSet(path, make([]byte, 600_000), -1), zkclient.OpSet(path, make([]byte, 600_000), -1))
	if err == nil || !strings.Contains(err.Error(), "ZooKeeper takes") {
		t.Errorf("too large: %v", err)
	}

	// A lost connection is said, not guessed about.
	c2, p := proxied(t)
	p.SwallowWrites()
	done := background(func() error { return c2.Multi(t.Context(), zkclient.OpSet(path, []byte("y"), -1)) })
	eventually(t, "it is carried out", func() bool { return read(t, c, path) == "y" })
	p.Cut()
	p.Heal()
	wantError(t, result(t, done), zkclient.ErrConnectionLoss)
}
