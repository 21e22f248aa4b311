// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// endsFirst waits until the session of c has ended, and looks whether the server still keeps node.
func endsFirst(t *testing.T, c, watcher *zkclient.Client, node string) {
	t.Helper()
	select {
	case <-c.Context().Done():
	case <-time.After(patience):
		t.Fatal("the session has not ended")
	}
	if !exists(t, watcher, node) {
		t.Error("the server was faster")
	}
	wantError(t, context.Cause(c.Context()), zkclient.ErrSessionLost)
}

// The point of the own clock: the Context has ended while the server still keeps the ephemeral
// nodes, whatever the fault and whenever in the ping interval it begins.
func TestOwnClockIsFirst(t *testing.T) {
	watcher := direct(t)
	path := base(t, watcher)
	faults := map[string]func(*zktest.Proxy){
		"cut":     (*zktest.Proxy).Cut,
		"stall":   (*zktest.Proxy).Stall,
		"swallow": (*zktest.Proxy).SwallowReplies,
	}
	const timeout = 4 * time.Second
	for name, fault := range faults {
		for _, after := range []time.Duration{0, timeout / 6, timeout / 4} {
			t.Run(fmt.Sprintf("%s %v", name, after), func(t *testing.T) {
				t.Parallel()
				p := zktest.NewProxy(t, server.Addr())
				cfg := config(p.Addr())
				cfg.SessionTimeout = timeout
				c := connect(t, cfg)
				node, err := c.Create(t.Context(), fmt.Sprintf("%s/%s-%d", path, name, after), nil, zkclient.Ephemeral)
				check(t, err)
				time.Sleep(after)
				fault(p)
				endsFirst(t, c, watcher, node)
				eventually(t, "the ephemeral node goes", func() bool { return !exists(t, watcher, node) })
				p.Heal()
				_, err = c.Children(t.Context(), path)
				wantError(t, err, zkclient.ErrSessionLost)
			})
		}
	}
}

// Requests get lost on the way while events still arrive: the server has not heard from us,
// whatever we hear from it.
func TestEventsAreNoAnswers(t *testing.T) {
	t.Parallel()
	watcher := direct(t)
	path := base(t, watcher)
	p := zktest.NewProxy(t, server.Addr())
	cfg := config(p.Addr())
	cfg.SessionTimeout = 4 * time.Second
	c := connect(t, cfg)
	node, err := c.Create(t.Context(), path+"/e", nil, zkclient.Ephemeral)
	check(t, err)
	const watches = 60
	for i := range watches {
		watched := fmt.Sprintf("%s/%d", path, i)
		check(t, c.EnsurePath(t.Context(), watched))
		states, stop := watching(t, c, watched)
		next(t, states, "true  0")
		stop() // the watch stays
	}
	p.SwallowRequests()
	events := background(func() error {
		for i := range watches {
			if _, err := watcher.Set(t.Context(), fmt.Sprintf("%s/%d", path, i), nil, -1); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	})
	endsFirst(t, c, watcher, node)
	check(t, result(t, events))
}

// A session that is only used for reading, or not at all, lives on.
func TestIdleSessionLives(t *testing.T) {
	t.Parallel()
	cfg := config(server.Addr())
	cfg.SessionTimeout = 4 * time.Second
	c := connect(t, cfg)
	id := c.SessionID()
	time.Sleep(2 * cfg.SessionTimeout)
	if err := context.Cause(c.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Get(t.Context(), "/")
	check(t, err)
	if c.SessionID() != id || id == 0 {
		t.Errorf("session %x became %x", id, c.SessionID())
	}
}

// The server says that it does not know the session. That is the end, at once, and no new session
// is ever made: so nothing that was on its way can run there.
func TestExpired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := zktest.Launch(patient(t), dir)
	check(t, err)
	t.Cleanup(s.Stop)
	cfg := config(s.Addr())
	cfg.SessionTimeout = time.Minute // until long after the restart
	c := connect(t, cfg)
	s.Kill()
	calls := []<-chan error{
		background(func() error {
			for {
				err := c.Multi(t.Context(), zkclient.OpCreate("/multi", nil, zkclient.Persistent))
				if !errors.Is(err, zkclient.ErrConnectionLoss) { // sent when the server died
					return err
				}
			}
		}),
		background(func() error {
			_, err := c.Create(t.Context(), "/create", nil, zkclient.Persistent)
			return err
		}),
		background(func() error { _, err := c.Queue("/queue").Take(t.Context()); return err }),
		background(func() error { return c.Lock("/lock", "").Acquire(t.Context()) }),
	}
	check(t, os.RemoveAll(filepath.Join(dir, "data")))
	check(t, s.Restart())
	for _, call := range calls {
		wantError(t, result(t, call), zkclient.ErrSessionLost)
	}
	<-c.Context().Done()
	wantError(t, context.Cause(c.Context()), zkclient.ErrSessionLost)
	if !strings.Contains(context.Cause(c.Context()).Error(), "expired") {
		t.Errorf("cause: %v", context.Cause(c.Context()))
	}
	time.Sleep(1500 * time.Millisecond) // the library would be back by now
	after := connect(t, config(s.Addr()))
	if names := children(t, after, "/"); len(names) != 1 {
		t.Errorf("something ran in a new session: %v", names)
	}
	if n := sessions(t, s.Addr()); n != 1 {
		t.Errorf("%d sessions, want only the one that looks", n)
	}
}

// sessions asks a server how many it has.
func sessions(t *testing.T, addr string) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	check(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "mntr")
	answer, err := io.ReadAll(conn)
	check(t, err)
	_, rest, found := strings.Cut(string(answer), "zk_global_sessions")
	if !found {
		t.Fatalf("no number of sessions in: %s", answer)
	}
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	check(t, err)
	return n
}

// What waits inside the library when the session is lost is not sent later.
func TestNothingRunsAfterTheEnd(t *testing.T) {
	t.Parallel()
	watcher := direct(t)
	path := base(t, watcher)
	p := zktest.NewProxy(t, server.Addr())
	cfg := config(p.Addr())
	cfg.SessionTimeout = 2 * time.Second
	c := connect(t, cfg)
	p.Stall()
	var calls []<-chan error
	for i := range 50 { // more than the library queues
		calls = append(calls, background(func() error {
			return c.Multi(t.Context(), zkclient.OpCreate(fmt.Sprintf("%s/%d", path, i), nil, zkclient.Persistent))
		}))
	}
	for _, call := range calls {
		err := result(t, call)
		if !errors.Is(err, zkclient.ErrSessionLost) && !errors.Is(err, zkclient.ErrConnectionLoss) {
			t.Errorf("error: %v", err)
		}
	}
	<-c.Context().Done()
	p.Cut()
	p.Heal()
	time.Sleep(1200 * time.Millisecond)
	if names := children(t, watcher, path); len(names) > 0 {
		t.Errorf("run after the end: %v", names)
	}
}

// The fence refuses a transaction of a client whose node is gone, and the error says which node.
func TestFence(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	party := c.Party(path+"/party", "me")
	check(t, party.Join(t.Context()))
	c.SetFence(party.Node())
	check(t, c.Multi(t.Context(), zkclient.OpCreate(path+"/a", nil, zkclient.Persistent)))
	check(t, c.Delete(t.Context(), party.Node()))
	err := c.Multi(t.Context(), zkclient.OpCreate(path+"/b", nil, zkclient.Persistent))
	wantError(t, err, zkclient.ErrSessionLost)
	if !strings.Contains(err.Error(), party.Node()) {
		t.Errorf("the node is not in: %v", err)
	}
	wantError(t, c.AddCounters(t.Context(), path+"/stats", map[string]int64{"n": 1}), zkclient.ErrSessionLost)
	if exists(t, c, path+"/b") {
		t.Error("the transaction was carried out")
	}
	q := c.Queue(path + "/q")
	check(t, q.Ensure(t.Context()))
	wantError(t, q.Put(t.Context(), 100, []byte("x")), zkclient.ErrSessionLost)
	c.SetFence("")
	check(t, q.Put(t.Context(), 100, []byte("x")))
}

// Nothing to be changed is no reason to fail in another way than with something.
func TestChangeOfNothing(t *testing.T) {
	c := direct(t)
	for name, call := range map[string]func(context.Context) error{
		"Multi":  func(ctx context.Context) error { return c.Multi(ctx) },
		"Settle": func(ctx context.Context) error { return c.Settle(ctx, nil) },
	} {
		check(t, call(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want that of the context", name, err)
		}
	}
}

// Every call returns with its context, although the server is mute.
func TestCallsGiveUp(t *testing.T) {
	watcher := direct(t)
	path := base(t, watcher)
	p := zktest.NewProxy(t, server.Addr())
	cfg := config(p.Addr())
	cfg.SessionTimeout = time.Minute // the server stays mute for as long as the calls take
	c := connect(t, cfg)
	q := c.Queue(path + "/q")
	check(t, q.Put(t.Context(), 100, []byte("one"), []byte("two"), []byte("three")))
	entry, released := take(t, q), take(t, q)
	lock := c.Lock(path+"/lock", "")
	check(t, lock.Acquire(t.Context()))
	party := c.Party(path+"/party", "me")
	check(t, party.Join(t.Context()))
	calls := map[string]func(context.Context) error{
		"Get":      func(ctx context.Context) error { _, _, err := c.Get(ctx, path); return err },
		"Exists":   func(ctx context.Context) error { _, _, err := c.Exists(ctx, path); return err },
		"Children": func(ctx context.Context) error { _, err := c.Children(ctx, path); return err },
		"Create": func(ctx context.Context) error {
			_, err := c.Create(ctx, path+"/c", nil, zkclient.Ephemeral)
			return err
		},
		"CreatePath": func(ctx context.Context) error {
			_, err := c.CreatePath(ctx, path+"/d/e", nil, zkclient.Persistent)
			return err
		},
		"EnsurePath":  func(ctx context.Context) error { return c.EnsurePath(ctx, path+"/x") },
		"Set":         func(ctx context.Context) error { _, err := c.Set(ctx, path, nil, -1); return err },
		"SetACL":      func(ctx context.Context) error { return c.SetACL(ctx, path, nil) },
		"GetACL":      func(ctx context.Context) error { _, err := c.GetACL(ctx, path); return err },
		"Delete":      func(ctx context.Context) error { return c.Delete(ctx, path+"/x") },
		"DeleteTree":  func(ctx context.Context) error { return c.DeleteTree(ctx, path+"/x") },
		"Multi":       func(ctx context.Context) error { return c.Multi(ctx, zkclient.OpCheck(path, -1)) },
		"Settle":      func(ctx context.Context) error { return c.Settle(ctx, nil, zkclient.OpCheck(path, -1)) },
		"Ensure":      func(ctx context.Context) error { return q.Ensure(ctx) },
		"Put":         func(ctx context.Context) error { return q.Put(ctx, 100, []byte("x")) },
		"Len":         func(ctx context.Context) error { _, err := q.Len(ctx); return err },
		"Take":        func(ctx context.Context) error { _, err := q.Take(ctx); return err },
		"TryTakeSome": func(ctx context.Context) error { _, err := q.TryTakeSome(ctx, 2, nil); return err },
		"Await":       func(ctx context.Context) error { return q.Await(ctx) },
		"Drain":       func(ctx context.Context) error { _, err := q.Drain(ctx, func([]byte) error { return nil }); return err },
		"Consume":     func(ctx context.Context) error { return entry.Consume(ctx) },
		"TryAcquire":  func(ctx context.Context) error { _, err := c.Lock(path+"/l", "").TryAcquire(ctx); return err },
		"Acquire":     func(ctx context.Context) error { return c.Lock(path+"/l", "").Acquire(ctx) },
		"Unlock":      func(ctx context.Context) error { return lock.Release(ctx) },
		"Join":        func(ctx context.Context) error { return c.Party(path+"/p", "").Join(ctx) },
		"Members":     func(ctx context.Context) error { _, err := party.Members(ctx); return err },
		"Count":       func(ctx context.Context) error { _, err := party.Count(ctx); return err },
		"AddCounters": func(ctx context.Context) error { return c.AddCounters(ctx, path, map[string]int64{"n": 1}) },
		"Counters":    func(ctx context.Context) error { _, err := c.Counters(ctx, path, []string{"n"}); return err },
		"WatchData": func(ctx context.Context) error {
			return c.WatchData(ctx, path+"/w", func([]byte, zkclient.Stat, bool) {})
		},
		"EntryRelease": func(ctx context.Context) error { return released.Release(ctx) },
	}
	over := map[string]error{ // what the second call may say
		"Unlock": nil, "EntryRelease": zkclient.ErrNotHeld, "Multi": zkclient.ErrConnectionLoss,
	}
	p.Stall()
	for _, stuck := range []string{"stalled", "cut"} {
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			err := result(t, background(func() error { return call(ctx) }))
			cancel()
			end, ok := over[name]
			if !errors.Is(err, context.DeadlineExceeded) && !(stuck == "cut" && ok && errors.Is(err, end)) {
				t.Errorf("%s, %s: %v", stuck, name, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "cannot ") {
				t.Errorf("%s: %v", name, err)
			}
		}
		p.Cut()
	}
	p.Heal()
	// What was being given up is given up, and what was being taken is given back.
	if err := entry.Release(t.Context()); err != nil { // one of the Consumes has got through
		wantError(t, err, zkclient.ErrNotHeld)
	}
	eventually(t, "locks, memberships and entries are free", func() bool {
		return len(children(t, watcher, path+"/lock")) == 0 && len(children(t, watcher, path+"/l")) == 0 &&
			len(children(t, watcher, path+"/p")) == 0 && len(children(t, watcher, path+"/q/taken")) == 0 && !exists(t, watcher, path+"/c")
	})
}

// What a call gets after its caller has gone is given back, whether the reply comes late or never.
func TestAbandonedIsGivenBack(t *testing.T) {
	watcher := direct(t)
	root := base(t, watcher)
	for name, prepare := range map[string]func(t *testing.T, c *zkclient.Client, path string) func(context.Context) error{
		"Create": func(_ *testing.T, c *zkclient.Client, path string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := c.Create(ctx, path+"/x", nil, zkclient.Ephemeral)
				return err
			}
		},
		"Create sequential": func(_ *testing.T, c *zkclient.Client, path string) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := c.Create(ctx, path+"/x", nil, zkclient.EphemeralSequential)
				return err
			}
		},
		"Join": func(_ *testing.T, c *zkclient.Client, path string) func(context.Context) error {
			return c.Party(path, "me").Join
		},
		"Acquire": func(_ *testing.T, c *zkclient.Client, path string) func(context.Context) error {
			return c.Lock(path, "me").Acquire
		},
		"Take": func(t *testing.T, c *zkclient.Client, path string) func(context.Context) error {
			q := c.Queue(path + "-q")
			check(t, q.Put(t.Context(), 100, []byte("one"), []byte("two")))
			e := take(t, q) // the other is in the local copy
			check(t, watcher.Delete(t.Context(), q.Path()+"/taken/"+e.Name))
			return func(ctx context.Context) error {
				_, err := q.Take(ctx)
				return err
			}
		},
	} {
		for how, fault := range map[string]func(*zktest.Proxy){
			"late":  (*zktest.Proxy).HoldWrites,
			"never": (*zktest.Proxy).SwallowWrites,
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				c, p := proxied(t)
				path := root + "/" + strings.ReplaceAll(name+"-"+how, " ", "-")
				check(t, c.EnsurePath(t.Context(), path))
				call := prepare(t, c, path)
				owned := path
				if name == "Take" {
					owned = path + "-q/taken"
				}
				fault(p)
				ctx, cancel := context.WithCancel(t.Context())
				done := background(func() error { return call(ctx) })
				eventually(t, "a change is on its way", p.Swallowing)
				cancel()
				wantError(t, result(t, done), context.Canceled)
				if how == "never" {
					p.Cut()
				}
				p.Heal()
				eventually(t, "nothing is left", func() bool { return len(children(t, watcher, owned)) == 0 })
				exists(t, c, path) // it comes behind whatever was still on its way
				time.Sleep(50 * time.Millisecond)
				if names := children(t, watcher, owned); len(names) > 0 {
					t.Errorf("made after all: %v", names)
				}
			})
		}
	}
}

// Close takes the ephemeral nodes with it, can be repeated, and ends what waits, in trouble too.
func TestClose(t *testing.T) {
	t.Parallel()
	watcher := direct(t)
	path := base(t, watcher)
	for name, fault := range map[string]func(*zktest.Proxy){
		"healthy": func(*zktest.Proxy) {},
		"cut":     (*zktest.Proxy).Cut,
		"stalled": (*zktest.Proxy).Stall,
	} {
		c, p := proxied(t)
		node, err := c.Create(t.Context(), path+"/"+name, nil, zkclient.Ephemeral)
		check(t, err)
		q := c.Queue(path + "/q")
		check(t, q.Ensure(t.Context()))
		waiting := background(func() error { _, err := q.Take(t.Context()); return err })
		watching := background(func() error {
			return c.WatchData(t.Context(), path, func([]byte, zkclient.Stat, bool) {})
		})
		time.Sleep(50 * time.Millisecond)
		fault(p)
		c.Close()
		c.Close()
		wantError(t, result(t, waiting), zkclient.ErrSessionLost)
		wantError(t, result(t, watching), zkclient.ErrSessionLost)
		wantError(t, c.EnsurePath(t.Context(), path), zkclient.ErrSessionLost)
		if name == "healthy" && exists(t, watcher, node) {
			t.Error("the ephemeral node has outlived Close")
		}
		p.Heal()
	}
}

// A server that accepts, says hello and closes again is not hammered.
func TestReconnectsArePaced(t *testing.T) {
	t.Parallel()
	p := zktest.NewProxy(t, server.Addr())
	cfg := config(p.Addr())
	cfg.SessionTimeout = 30 * time.Second // what lasts for a third of it counts as good
	c := connect(t, cfg)
	const turns = 8
	start := time.Now()
	for range turns {
		_, err := c.Children(patient(t), "/")
		check(t, err)
		p.Cut()
		p.Heal()
	}
	// The waits before them are 25, 50, 100, 200, 400, 500 and 500 ms at least.
	if took := time.Since(start); took < time.Second {
		t.Errorf("%d reconnects in %v", turns, took)
	}
}

// Timed waits that find nothing leave nothing behind: the library keeps a channel for every watch
// that has not fired.
func TestTimedWaitsDoNotPileUp(t *testing.T) {
	c := direct(t)
	path := base(t, c)
	q := c.Queue(path + "/q")
	check(t, q.Ensure(t.Context()))
	lock, other := c.Lock(path+"/lock", ""), c.Lock(path+"/lock", "")
	check(t, lock.Acquire(t.Context()))
	once := func() {
		_, err := q.Take(short(t, 2*time.Millisecond))
		wantError(t, err, context.DeadlineExceeded)
		wantError(t, other.Acquire(short(t, 5*time.Millisecond)), context.DeadlineExceeded)
	}
	const watches = 4 // the queue's three, and the one of the lock's holder
	eventually(t, "all watches are set", func() bool { once(); return c.Watches() == watches })
	eventually(t, "nobody waits any more", func() bool { return len(children(t, c, path+"/lock")) == 1 })
	before := runtime.NumGoroutine()
	for range 50 {
		once()
	}
	eventually(t, "no goroutines pile up", func() bool { return runtime.NumGoroutine() <= before+2 })
	if n := c.LibraryWatches(); n > watches {
		t.Errorf("the library has %d watches", n)
	}
}
