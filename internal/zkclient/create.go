// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"strconv"

	"github.com/go-zookeeper/zk"
)

// Create makes a znode, whose parent must exist, with the ACL of the client's user, and returns its path.
//
// When the connection is lost on the way, Create finds out: a node of that name with this data, and of this session if
// ephemeral, counts as made by this call. A sequential one is looked for among the children younger than the call.
// An ephemeral node whose Create was abandoned is deleted again.
func (c *Client) Create(ctx context.Context, path string, data []byte, mode Mode) (string, error) {
	return c.createACL(ctx, path, data, mode, c.acl)
}

// CreateACL is Create with another ACL.
func (c *Client) CreateACL(ctx context.Context, path string, data []byte, mode Mode, acl []ACL) (string, error) {
	return c.createACL(ctx, path, data, mode, toWire(acl))
}

// CreatePath is Create that makes missing parents, persistent and empty, with the same ACL.
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

// create makes one node, in this goroutine. An ephemeral node is never left in doubt: even when ctx ends, it returns
// without an error if the node was made.
func (c *Client) create(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (string, error) {
	if mode.sequential() {
		return c.createSequential(ctx, path, data, mode, acl)
	}
	for {
		made, err := c.createOnce(ctx, path, data, mode, acl)
		if !lost(err) {
			return made, err
		}
		look, stop := c.doubt(ctx, mode)
		if look == nil {
			return "", stop
		}
		mine, found, err := c.isMine(look, path, data, mode)
		switch {
		case mine:
			return path, nil
		case stop != nil:
			return "", stop
		case err != nil:
			return "", err
		case found:
			return "", ErrNodeExists
		}
	}
}

// doubt is what to do after a lost connection: the context to look in, nil if it is no use, and why not to try again, nil if
// there is no reason. An ephemeral node is looked for even when nobody waits any more.
func (c *Client) doubt(ctx context.Context, mode Mode) (look context.Context, stop error) {
	stop = c.breathe(ctx)
	switch {
	case stop == nil:
		return ctx, nil
	case mode.ephemeral() && !c.over():
		return c.ctx, stop
	}
	return nil, stop
}

func (c *Client) createOnce(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (made string, err error) {
	err = c.once(ctx, func() (err error) {
		made, err = c.conn.Create(c.full(path), bytesOf(data), int32(mode), acl)
		return err
	})
	return c.own(made), err
}

// isMine looks whether path was made by this session with this data.
func (c *Client) isMine(ctx context.Context, path string, data []byte, mode Mode) (mine, found bool, err error) {
	if err := c.sync(ctx, path); err != nil {
		return false, false, err
	}
	now, st, err := c.get(ctx, path)
	if errors.Is(err, ErrNoNode) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	return c.owned(st, mode) && string(now) == string(data), true, nil
}

func (c *Client) owned(st *zk.Stat, mode Mode) bool {
	if mode.ephemeral() {
		return st.EphemeralOwner == c.SessionID()
	}
	return st.EphemeralOwner == 0
}

// createSequential makes a sequential node; after a lost connection it looks for it before it tries again.
func (c *Client) createSequential(ctx context.Context, path string, data []byte, mode Mode, acl []zk.ACL) (string, error) {
	parent, prefix := split(path)
	first, err := c.nextSequence(ctx, parent)
	if err != nil {
		return "", err
	}
	for {
		made, err := c.createOnce(ctx, path, data, mode, acl)
		if !lost(err) {
			return made, err
		}
		look, stop := c.doubt(ctx, mode)
		if look == nil {
			return "", stop
		}
		name, err := c.findSince(look, parent, prefix, first, mode, func(now []byte) bool { return string(now) == string(data) })
		switch {
		case name != "":
			return join(parent, name), nil
		case stop != nil:
			return "", stop
		case err != nil:
			return "", err
		}
	}
}

// nextSequence is the number the next sequential child of parent will get, if nobody else is faster: ZooKeeper numbers
// them by the creations under the parent, which Cversion (creations and deletions) and the number of children tell.
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

// findSince returns a child of parent whose name is prefix and a sequence number from first on, and that is one of this
// session's if mode is ephemeral, with data that match.
func (c *Client) findSince(ctx context.Context, parent, prefix string, first int64, mode Mode, match func([]byte) bool) (string, error) {
	if err := c.sync(ctx, parent); err != nil {
		return "", err
	}
	names, err := c.children(ctx, parent)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		seq, ok := sequence(name, prefix)
		if !ok || seq < first {
			continue
		}
		data, st, err := c.get(ctx, join(parent, name))
		if errors.Is(err, ErrNoNode) {
			continue
		}
		if err != nil {
			return "", err
		}
		if c.owned(st, mode) && match(data) {
			return name, nil
		}
	}
	return "", nil
}

// sequence is the number after prefix in the name of a sequential node.
func sequence(name, prefix string) (int64, bool) {
	if len(name) < len(prefix)+10 || name[:len(prefix)] != prefix {
		return 0, false
	}
	n, err := strconv.ParseInt(name[len(prefix):], 10, 64)
	return n, err == nil
}
