// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"context"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
)

// What a contender leaves in ZooKeeper is what kazoo leaves.
func TestLockNode(t *testing.T) {
	c := direct(t)
	path := base(t, c) + "/made/on/the/way"
	check(t, c.Lock(path, "host:1").Acquire(t.Context()))
	names := children(t, c, path)
	if len(names) != 1 || !regexp.MustCompile(`^[0-9a-f]{32}__lock__[0-9]{10}$`).MatchString(names[0]) {
		t.Fatalf("nodes: %q", names)
	}
	data, st, err := c.Get(t.Context(), path+"/"+names[0])
	check(t, err)
	acl, err := c.GetACL(t.Context(), path+"/"+names[0])
	check(t, err)
	if string(data) != "host:1" || st.EphemeralOwner != c.SessionID() || len(acl) != 1 ||
		acl[0] != zkclient.DigestACL(user, password, zkclient.PermAll) {
		t.Errorf("data %q, owner %x, ACL %v", data, st.EphemeralOwner, acl)
	}
}

// No two hold it at once, whichever client and goroutine they belong to.
func TestLockExcludes(t *testing.T) {
	c1, c2 := direct(t), direct(t)
	path := base(t, c1)
	shared := c1.Lock(path, "shared")
	var inside, turns atomic.Int32
	var all sync.WaitGroup
	for _, lock := range []*zkclient.Lock{shared, shared, c1.Lock(path, "b"), c2.Lock(path, "c"), c2.Lock(path, "d")} {
		all.Go(func() {
			for range 8 {
				if err := lock.Acquire(t.Context()); err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				time.Sleep(time.Millisecond)
				turns.Add(1)
				inside.Add(-1)
				if err := lock.Release(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if turns.Load() != 40 {
		t.Errorf("%d turns", turns.Load())
	}
	if names := children(t, c1, path); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestLockHandOver(t *testing.T) {
	c, other := direct(t), direct(t)
	path := base(t, c)
	holder := c.Lock(path, "holder")
	check(t, holder.Acquire(t.Context()))
	if ok, err := other.Lock(path, "eager").TryAcquire(t.Context()); ok || err != nil {
		t.Fatalf("a held lock was acquired: %v %v", ok, err)
	}
	if names := children(t, c, path); len(names) != 1 {
		t.Errorf("TryAcquire leaves: %v", names)
	}
	for name, free := range map[string]func(){
		"release": func() { check(t, holder.Release(t.Context())) },
		"end":     c.Close,
	} {
		waiting := other.Lock(path, "waiting")
		done := background(func() error { return waiting.Acquire(t.Context()) })
		eventually(t, "it waits", func() bool { return len(children(t, other, path)) == 2 })
		select {
		case err := <-done:
			t.Fatalf("%s: it did not wait (%v)", name, err)
		case <-time.After(100 * time.Millisecond):
		}
		free()
		check(t, result(t, done))
		check(t, waiting.Release(t.Context()))
		if name == "release" {
			check(t, holder.Acquire(t.Context()))
			continue
		}
		break
	}
	check(t, other.Lock(path, "").Release(t.Context())) // not held: nothing
}

// Those who give up waiting leave their place, and wake nobody wrongly.
func TestLockAbandoned(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	holder := c.Lock(path, "holder")
	check(t, holder.Acquire(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	quitter := background(func() error { return c.Lock(path, "quitter").Acquire(ctx) })
	eventually(t, "the first waits", func() bool { return len(children(t, c, path)) == 2 })
	second := background(func() error { return c.Lock(path, "patient").Acquire(t.Context()) })
	eventually(t, "the second waits", func() bool { return len(children(t, c, path)) == 3 })
	cancel()
	wantError(t, result(t, quitter), context.Canceled)
	eventually(t, "the place is given up", func() bool { return len(children(t, c, path)) == 2 })
	select {
	case err := <-second:
		t.Fatalf("the one behind has the lock, or this: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	check(t, holder.Release(t.Context()))
	check(t, result(t, second))
}

// A contender whose node somebody has deleted stands in line again.
func TestLockNodeDeleted(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	first, second := c.Lock(path, "first"), c.Lock(path, "second")
	check(t, first.Acquire(t.Context()))
	node := children(t, c, path)[0]
	waiting := background(func() error { return second.Acquire(t.Context()) })
	eventually(t, "it waits", func() bool { return len(children(t, c, path)) == 2 })
	for _, name := range children(t, c, path) {
		if name != node {
			check(t, c.Delete(t.Context(), path+"/"+name))
		}
	}
	check(t, first.Release(t.Context()))
	check(t, result(t, waiting))
	if names := children(t, c, path); len(names) != 1 {
		t.Errorf("nodes: %v", names)
	}
}

// The watch is lost, the slow poll finds out.
func TestLockPolls(t *testing.T) {
	holder := direct(t)
	path := base(t, holder)
	lock := holder.Lock(path, "")
	check(t, lock.Acquire(t.Context()))
	c, p := polling(t)
	waiting := background(func() error { return c.Lock(path, "").Acquire(t.Context()) })
	eventually(t, "it waits", func() bool { return len(children(t, holder, path)) == 2 })
	time.Sleep(50 * time.Millisecond)
	p.SwallowEvents()
	check(t, lock.Release(t.Context()))
	check(t, result(t, waiting))
}
