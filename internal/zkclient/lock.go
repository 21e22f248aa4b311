// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"sync"
)

const lockName = "__lock__"

// contender matches the names that take part in a lock, as kazoo matches them.
var contender = regexp.MustCompile(lockName + `(-?\d{10})$`)

// Lock is kazoo's Lock. It excludes the Locks of kazoo and of this package at the same path, and
// other goroutines with the same Lock. It is held until it is released or the session ends: watch
// the client's Context while relying on it.
type Lock struct {
	c    *Client
	path string
	data string

	mu   sync.Mutex
	node string // the node that holds it, "" if it is not held
}

// Lock returns the lock at path, not acquired. data tells others who holds it or waits for it.
func (c *Client) Lock(path, data string) *Lock {
	return &Lock{c: c, path: path, data: data}
}

// TryAcquire takes the lock if it is free, and says whether it did.
//
// Lost reply: settled.
func (l *Lock) TryAcquire(ctx context.Context) (bool, error) {
	node, err := l.acquire(ctx, false)
	return node != "", err
}

// Acquire waits for the lock. When it returns an error nothing is left behind: the place in the
// line is given up, in the background if need be.
//
// Lost reply: settled.
func (l *Lock) Acquire(ctx context.Context) error {
	_, err := l.acquire(ctx, true)
	return err
}

func (l *Lock) acquire(ctx context.Context, wait bool) (string, error) {
	node, err := await(ctx, l.c, func() (string, error) { return l.contend(ctx, wait) }, func(node string) {
		if node != "" {
			l.c.discard(node)
		}
	})
	if err != nil {
		return "", l.c.fail("acquire the lock", l.path, err)
	}
	if node != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.node = node
	}
	return node, nil
}

// contend returns the node that holds the lock, or "" if it is taken and wait is false.
func (l *Lock) contend(ctx context.Context, wait bool) (string, error) {
	for {
		node, err := l.enter(ctx)
		if err != nil {
			return "", err
		}
		held, err := l.queue(ctx, node, wait)
		if held {
			return node, nil
		}
		l.c.discard(node)
		if !errors.Is(err, errGone) { // else stand in line again, as kazoo does
			return "", err
		}
	}
}

// enter makes the contender's node. Its prefix is its own, and tells it when the reply is lost.
func (l *Lock) enter(ctx context.Context) (node string, err error) {
	c := l.c
	if err := c.ensure(ctx, l.path, c.acl); err != nil {
		return "", err
	}
	prefix := randomHex() + lockName
	err = c.settle(ctx, c.ctx, func() (err error) {
		node, err = c.createOnce(ctx, join(l.path, prefix), []byte(l.data), EphemeralSequential, c.acl)
		return err
	}, func(ctx context.Context) (bool, error) {
		since, err := c.since(ctx, l.path, prefix, math.MinInt64)
		for _, name := range since {
			node = join(l.path, name)
		}
		return len(since) > 0, err
	})
	return node, err
}

var errGone = errors.New("own lock node is gone")

// queue waits until nobody is before node. Without wait it only looks.
func (l *Lock) queue(ctx context.Context, node string, wait bool) (bool, error) {
	c := l.c
	for {
		names, err := c.children(ctx, l.path)
		if errors.Is(err, ErrNoNode) {
			return false, errGone
		}
		if err != nil {
			return false, err
		}
		before, err := predecessor(names, node[len(l.path)+1:])
		if err != nil {
			return false, err
		}
		if before == "" {
			return true, nil
		}
		turn := c.reconnected()
		found := true
		_, st, w, err := c.getW(ctx, join(l.path, before))
		if errors.Is(err, ErrNoAuth) {
			st, found, w, err = c.existsW(ctx, join(l.path, before))
		}
		if errors.Is(err, ErrNoNode) || !found {
			continue
		}
		if err != nil {
			return false, err
		}
		if st.EphemeralOwner == 0 { // nobody's: it would never leave
			if err := l.remove(ctx, before); err != nil {
				return false, err
			}
			continue
		}
		if !wait {
			return false, nil
		}
		if err := c.wait(ctx, turn, nil, w, nil); err != nil {
			return false, err
		}
	}
}

// remove deletes a contender that is no client's.
func (l *Lock) remove(ctx context.Context, name string) error {
	node := join(l.path, name)
	l.c.log.Warn(fmt.Sprintf("Set aside %s, which is no client's: it is not ephemeral", l.c.full(node)), "event", "foreign", "znode", node)
	err := l.c.deleteTree(ctx, node)
	if err != nil {
		return fmt.Errorf("%w: it keeps everybody from the lock; have it deleted by an administrator of ZooKeeper", err)
	}
	return nil
}

// predecessor is the contender with the highest number below that of own, "" if there is none.
func predecessor(names []string, own string) (string, error) {
	mine, ok := lockNumber(own)
	if !ok {
		return "", fmt.Errorf("cannot read the number of the lock node %s", own)
	}
	before, best, found := "", int64(0), false
	for _, name := range names {
		if name == own {
			found = true
		}
		n, ok := lockNumber(name)
		if ok && n < mine && (before == "" || n > best) {
			before, best = name, n
		}
	}
	if !found {
		return "", errGone
	}
	return before, nil
}

func lockNumber(name string) (int64, bool) {
	m := contender.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil
}

// Release gives the lock up. Once it is called the node is deleted as soon as a connection stands,
// even if ctx ends before. Releasing a lock that is not held does nothing.
//
// Lost reply: settled.
func (l *Lock) Release(ctx context.Context) error {
	l.mu.Lock()
	node := l.node
	l.node = ""
	l.mu.Unlock()
	if node == "" {
		return nil
	}
	return l.c.fail("release the lock", l.path, l.c.giveBack(ctx, node))
}

// Holder is the ZooKeeper session that has the lock, of whichever client; 0: nobody has.
func (l *Lock) Holder(ctx context.Context) (session int64, err error) {
	session, err = await(ctx, l.c, func() (int64, error) {
		for {
			names, err := l.c.children(ctx, l.path)
			if err != nil && !errors.Is(err, ErrNoNode) {
				return 0, err
			}
			first, lowest := "", int64(0)
			for _, name := range names {
				if n, ok := lockNumber(name); ok && (first == "" || n < lowest) {
					first, lowest = name, n
				}
			}
			if first == "" {
				return 0, nil
			}
			st, found, err := l.c.exists(ctx, join(l.path, first))
			if err != nil {
				return 0, err
			}
			if found {
				return st.EphemeralOwner, nil
			}
		}
	}, nil)
	return session, l.c.fail("look who has the lock", l.path, err)
}
