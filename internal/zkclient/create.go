// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/go-zookeeper/zk"
)

// Create makes a znode with the ACL of the client's user, and returns its path. The parent must
// exist. An ephemeral node whose Create was abandoned is deleted again.
//
// Lost reply: settled. A node of that name with this data and ACL, of this session if it is
// ephemeral, counts as made by this call. A sequential one is looked for among the children that
// are younger than the call.
func (c *Client) Create(ctx context.Context, path string, data []byte, mode Mode) (string, error) {
	return c.createACL(ctx, path, data, mode, c.acl)
}

// CreateACL is Create with another ACL. When that ACL does not let the client read the node, a lost
// reply is open.
func (c *Client) CreateACL(ctx context.Context, path string, data []byte, mode Mode, acl []ACL) (string, error) {
	return c.createACL(ctx, path, data, mode, toWire(acl))
}

// CreatePath is Create that also makes the parents that are missing, persistent and empty, with the
// same ACL.
func (c *Client) CreatePath(ctx context.Context, path string, data []byte, mode Mode) (string, error) {
	return c.awaitCreate(ctx, path, data, mode, c.acl, c.makePath)
}

func (c *Client) createACL(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (string, error) {
	return c.awaitCreate(ctx, path, data, mode, acl, c.create)
}

type createFunc func(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (string, error)

func (c *Client) awaitCreate(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL, create createFunc) (string, error) {
	if err := c.fits("create", path, c.createSize(path, data, acl)); err != nil {
		return "", err
	}
	made, err := await(ctx, c, func() (string, error) { return create(ctx, path, data, mode, acl) }, func(made string) {
		if mode.ephemeral() {
			c.discard(made)
		}
	})
	if err != nil {
		return "", c.fail("create", path, err)
	}
	return made, nil
}

// create makes one node, in this goroutine. An ephemeral node is never left in doubt: even when ctx
// ends, create returns without an error if the node was made.
func (c *Client) create(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (made string, err error) {
	if mode.sequential() {
		return c.createSequential(ctx, path, data, mode, acl)
	}
	err = c.settle(ctx, c.looking(ctx, mode), func() (err error) {
		made, err = c.createOnce(ctx, path, data, mode, acl)
		return err
	}, func(ctx context.Context) (bool, error) {
		made = path
		return c.isMine(ctx, path, data, mode, acl)
	})
	return made, err
}

// looking is the context in which to look for a node when the reply is lost. An ephemeral one must
// be found even when nobody waits for it any more.
func (c *Client) looking(ctx context.Context, mode Mode) context.Context {
	if mode.ephemeral() {
		return c.ctx
	}
	return ctx
}

func (c *Client) createOnce(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (made string, err error) {
	err = c.once(ctx, func() (err error) {
		made, err = c.conn.Create(c.full(path), bytesOf(data), int32(mode), acl)
		return err
	})
	return c.own(made), err
}

// isMine looks whether path is what this session makes of these arguments.
func (c *Client) isMine(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (bool, error) {
	if err := c.sync(ctx, path); err != nil {
		return false, err
	}
	return c.equals(ctx, path, data, mode, acl)
}

// equals is isMine without the sync.
func (c *Client) equals(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (bool, error) {
	now, st, err := c.get(ctx, path)
	if err == nil && c.owned(st, mode) && string(now) == string(data) {
		var has []zk.ACL
		has, err = c.getACL(ctx, path)
		if err == nil {
			return sameACL(has, acl), nil
		}
	}
	if errors.Is(err, ErrNoNode) {
		err = nil
	}
	return false, err
}

func (c *Client) owned(st *zk.Stat, mode Mode) bool {
	if mode.ephemeral() {
		return st.EphemeralOwner == c.SessionID()
	}
	return st.EphemeralOwner == 0
}

// createSequential makes a sequential node.
func (c *Client) createSequential(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (made string, err error) {
	parent, prefix := split(path)
	first, err := c.nextSequence(ctx, parent)
	if err != nil {
		return "", err
	}
	err = c.settle(ctx, c.looking(ctx, mode), func() (err error) {
		made, err = c.createOnce(ctx, path, data, mode, acl)
		return err
	}, func(ctx context.Context) (bool, error) {
		since, err := c.since(ctx, parent, prefix, first)
		if err != nil {
			return false, err
		}
		for _, name := range since {
			made = join(parent, name)
			if yes, err := c.equals(ctx, made, data, mode, acl); yes || err != nil {
				return yes, err
			}
		}
		return false, nil
	})
	return made, err
}

// nextSequence is the number that the next sequential child of parent gets, if nobody else is
// faster. ZooKeeper numbers them by how many children were ever made there. Cversion, which counts
// their coming and going, and the number of children tell that.
func (c *Client) nextSequence(ctx context.Context, parent string) (int64, error) {
	st, found, err := c.exists(ctx, parent)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, ErrNoNode
	}
	return (int64(st.Cversion) + int64(st.NumChildren)) / 2, nil
}

// since returns the children of parent whose names are prefix and a number, from first on, in
// order.
func (c *Client) since(ctx context.Context, parent, prefix string, first int64) ([]string, error) {
	if err := c.sync(ctx, parent); err != nil {
		return nil, err
	}
	names, err := c.children(ctx, parent)
	names = slices.DeleteFunc(names, func(name string) bool {
		number, ok := sequence(name, prefix)
		return !ok || number < first
	})
	slices.Sort(names)
	return names, err
}

// sequence is the number after prefix in the name of a sequential node.
func sequence(name, prefix string) (int64, bool) {
	if len(name) < len(prefix)+10 || name[:len(prefix)] != prefix {
		return 0, false
	}
	n, err := strconv.ParseInt(name[len(prefix):], 10, 64)
	return n, err == nil
}
