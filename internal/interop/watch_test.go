// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"context"
	"testing"

	"vsc-zk/internal/zkclient"
)

// state is what a watch has seen of a node.
type state struct {
	exists bool
	data   string
}

// follow watches with the Go client until the test ends, and sends every state on a channel.
func follow(t *testing.T, c *zkclient.Client, path string) <-chan state {
	states := make(chan state, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.WatchData(ctx, path, func(data []byte, _ zkclient.Stat, exists bool) {
			states <- state{exists, string(data)}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return states
}

// A node is made, changed, deleted and made again by either kind, and both see each state of it.
func TestWatchesSeeEachOther(t *testing.T) {
	t.Parallel()
	ctx, c, py, path := limited(t), connect(t), stepped(t), own(t, "watch", "ready")
	states := follow(t, connect(t), path)
	watcher := stepped(t)
	watcher.Do("watch", Fields{"path": path})
	both := func(what string, want state) {
		t.Helper()
		select {
		case got := <-states:
			if got != want {
				t.Fatalf("after %s Go sees %+v, want %+v", what, got, want)
			}
		case <-ctx.Done():
			t.Fatalf("after %s Go sees nothing", what)
		}
		e := watcher.Await("watch")
		got := state{exists: e.Data != nil}
		if got.exists {
			got.data = string(*e.Data)
		}
		if got != want {
			t.Fatalf("after %s Python sees %+v, want %+v", what, got, want)
		}
	}
	both("nothing", state{})
	py.Do("node create", Fields{"path": path, "data": Raw("start"), "makepath": true})
	both("a create by Python", state{true, "start"})
	_, err := c.Set(ctx, path, []byte("stop"), -1)
	ok(t, err)
	both("a set by Go", state{true, "stop"})
	py.Do("node set", Fields{"path": path, "data": Raw("caf\xe9")})
	both("a set by Python", state{true, "caf\xe9"})
	ok(t, c.Delete(ctx, path))
	both("a delete by Go", state{})
	_, err = c.Create(ctx, path, nil, zkclient.Persistent)
	ok(t, err)
	both("a create by Go", state{true, ""})
	py.Do("node delete", Fields{"path": path})
	both("a delete by Python", state{})
}
