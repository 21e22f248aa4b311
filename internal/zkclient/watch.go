// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

type watchKind int

const (
	watchData watchKind = iota
	watchExists
	watchChildren
)

type watchKey struct {
	kind watchKind
	path string
}

// watch is one that the server holds for us. The library frees its channel only when it fires; so
// one that has not fired is used by whoever waits for the same thing next. That is as good as a new
// one: what was read after it was set cannot change without its firing.
type watch struct {
	czxid int64         // of the node when the watch was set, 0 if there was none
	fired chan struct{} // closed by the event
	at    time.Time     // of the event, to be read after fired
}

func (c *Client) armed(key watchKey) *watch {
	c.state.Lock()
	defer c.state.Unlock()
	return c.watches[key]
}

// watching says whether the library may have watches.
func (c *Client) watching() bool {
	c.state.Lock()
	defer c.state.Unlock()
	return c.arming+len(c.watches) > 0
}

// retryArming is retry for a request that sets a watch and then arms it here.
func (c *Client) retryArming(ctx context.Context, request func() error) error {
	count := func(change int) {
		c.state.Lock()
		defer c.state.Unlock()
		c.arming += change
	}
	return c.retry(ctx, func() error {
		count(1)
		defer count(-1)
		return request()
	})
}

func (c *Client) arm(key watchKey, events <-chan zk.Event, czxid int64) *watch {
	c.state.Lock()
	defer c.state.Unlock()
	if w := c.watches[key]; w != nil {
		return w
	}
	w := &watch{czxid: czxid, fired: make(chan struct{})}
	if c.closed {
		close(w.fired)
		return w
	}
	c.watches[key] = w
	c.tasks.Go(func() {
		select {
		case <-events:
		case <-c.done:
		}
		c.state.Lock()
		defer c.state.Unlock()
		delete(c.watches, key)
		w.at = time.Now()
		close(w.fired)
	})
	return w
}

// getW is get with a watch for the node's change or end.
func (c *Client) getW(ctx context.Context, path string) (data []byte, st *zk.Stat, w *watch, err error) {
	key := watchKey{watchData, path}
	if w = c.armed(key); w != nil {
		data, st, err = c.get(ctx, path)
		return data, st, w, err
	}
	err = c.retryArming(ctx, func() error {
		d, s, events, err := c.conn.GetW(c.full(path))
		if err == nil {
			data, st, w = d, s, c.arm(key, events, s.Czxid)
		}
		return err
	})
	return data, st, w, err
}

// existsW is exists with a watch: for the node's making if it is not there, else for its change or
// end.
func (c *Client) existsW(ctx context.Context, path string) (st *zk.Stat, found bool, w *watch, err error) {
	if w = c.armed(watchKey{watchExists, path}); w != nil {
		st, found, err = c.exists(ctx, path)
		return st, found, w, err
	}
	err = c.retryArming(ctx, func() error {
		ok, s, events, err := c.conn.ExistsW(c.full(path))
		if err == nil {
			key := watchKey{watchExists, path}
			if ok {
				key.kind = watchData
			}
			st, found, w = s, ok, c.arm(key, events, s.Czxid)
		}
		return err
	})
	return st, found, w, err
}

// childrenW is children with a watch for their coming and going, and for the node's end.
func (c *Client) childrenW(ctx context.Context, path string) (names []string, w *watch, err error) {
	key := watchKey{watchChildren, path}
	if w = c.armed(key); w != nil {
		names, err = c.children(ctx, path)
		return names, w, err
	}
	err = c.retryArming(ctx, func() error {
		n, s, events, err := c.conn.ChildrenW(c.full(path))
		if err == nil {
			names, w = n, c.arm(key, events, s.Czxid)
		}
		return err
	})
	return names, w, err
}

// has says whether the event has come. A watch that could not be set counts as fired.
func (w *watch) has() bool {
	if w == nil {
		return true
	}
	select {
	case <-w.fired:
		return true
	default:
		return false
	}
}

// wait returns nil when one of the watches fires, after a reconnect (turn, taken before the state
// was read), when also is closed, or when it is time to look without any of these.
func (c *Client) wait(ctx context.Context, turn, also <-chan struct{}, first, second *watch) error {
	var a, b <-chan struct{}
	if first != nil {
		a = first.fired
	}
	if second != nil {
		b = second.fired
	}
	t := time.NewTimer(c.poll)
	defer t.Stop()
	select {
	case <-a:
	case <-b:
	case <-turn:
	case <-also:
	case <-t.C:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return c.check(ctx)
}

// WatchData calls fn, in this goroutine, with the state of path now and after each change of its
// data, its making and its end. It does so until ctx or the session ends, whose cause it returns.
// Changes that follow each other quickly may show as one. Whatever became of the watch, the state
// is read again after every reconnect and every PollInterval.
func (c *Client) WatchData(ctx context.Context, path string, fn func(data []byte, stat Stat, exists bool)) error {
	type state struct {
		data  []byte
		st    *zk.Stat
		found bool
		w     *watch
	}
	var last *state
	for {
		turn := c.reconnected()
		now, err := await(ctx, c, func() (s state, err error) {
			for {
				s.found = true
				s.data, s.st, s.w, err = c.getW(ctx, path)
				if !errors.Is(err, ErrNoNode) && !errors.Is(err, ErrNoAuth) {
					return s, err
				}
				hidden := errors.Is(err, ErrNoAuth)
				if s.st, s.found, s.w, err = c.existsW(ctx, path); err != nil || !s.found || hidden {
					return s, err
				}
			}
		}, nil)
		if err != nil {
			return c.fail("watch", path, err)
		}
		changed := last == nil || last.found != now.found ||
			now.found && (last.st.Mzxid != now.st.Mzxid || last.st.Czxid != now.st.Czxid)
		if changed {
			last = &now
			if now.found {
				fn(bytes.Clone(now.data), stat(now.st), true)
			} else {
				fn(nil, Stat{}, false)
			}
		}
		if err := c.wait(ctx, turn, nil, now.w, nil); err != nil {
			return c.fail("watch", path, err)
		}
	}
}

// WatchChildren calls fn, in this goroutine, with the names of the children of path now and after each
// change of these, also if they are the same again: one may have been made anew. There are none while there
// is no such node. For the rest as [Client.WatchData].
func (c *Client) WatchChildren(ctx context.Context, path string, fn func(names []string)) error {
	type state struct {
		names []string
		w     *watch
	}
	var last *watch
	for first, before := true, ""; ; first = false {
		turn := c.reconnected()
		now, err := await(ctx, c, func() (s state, err error) {
			for {
				s.names, s.w, err = c.childrenW(ctx, path)
				if !errors.Is(err, ErrNoNode) && !errors.Is(err, ErrNoAuth) {
					return s, err
				}
				hidden, found := errors.Is(err, ErrNoAuth), false
				if _, found, s.w, err = c.existsW(ctx, path); err != nil || !found || hidden {
					return s, err
				}
			}
		}, nil)
		if err != nil {
			return c.fail("watch", path, err)
		}
		slices.Sort(now.names)
		if names := strings.Join(now.names, "/"); first || names != before || now.w != last {
			last, before = now.w, names
			fn(now.names)
		}
		if err := c.wait(ctx, turn, nil, now.w, nil); err != nil {
			return c.fail("watch", path, err)
		}
	}
}
