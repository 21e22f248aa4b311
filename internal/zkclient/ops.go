// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
)

// maxRequest is how many bytes the server takes in one request. One more, and it drops the
// connection.
const maxRequest = 1<<20 - 1

// Stat is what ZooKeeper knows of a znode beside its data.
type Stat struct {
	Czxid, Mzxid   int64 // transactions that created it and last changed its data
	Made           int64 // when it was created, by the server's clock, in milliseconds since 1970
	Version        int32 // changes of its data
	EphemeralOwner int64 // session it goes with, 0: none
	NumChildren    int32
}

func stat(s *zk.Stat) Stat {
	if s == nil {
		return Stat{}
	}
	return Stat{Czxid: s.Czxid, Mzxid: s.Mzxid, Made: s.Ctime, Version: s.Version, EphemeralOwner: s.EphemeralOwner,
		NumChildren: s.NumChildren}
}

// Mode is the kind of znode to create.
type Mode int

// The kinds, as ZooKeeper numbers them.
const (
	Persistent          Mode = zk.FlagPersistent
	Ephemeral           Mode = zk.FlagEphemeral
	Sequential          Mode = zk.FlagSequence
	EphemeralSequential Mode = zk.FlagEphemeralSequential
)

func (m Mode) ephemeral() bool  { return m&Ephemeral != 0 }
func (m Mode) sequential() bool { return m&Sequential != 0 }

// The methods in lower case block in the goroutine they are called in. Those in upper case and the
// recipes use them. They repeat through reconnects and return bare errors.

func (c *Client) get(ctx context.Context, path string) (data []byte, st *zk.Stat, err error) {
	err = c.retry(ctx, func() (err error) {
		data, st, err = c.conn.Get(c.full(path))
		return err
	})
	return data, st, err
}

func (c *Client) exists(ctx context.Context, path string) (st *zk.Stat, found bool, err error) {
	err = c.retry(ctx, func() (err error) {
		found, st, err = c.conn.Exists(c.full(path))
		return err
	})
	return st, found, err
}

func (c *Client) children(ctx context.Context, path string) (names []string, err error) {
	err = c.retry(ctx, func() (err error) {
		names, _, err = c.conn.Children(c.full(path))
		return err
	})
	return names, err
}

func (c *Client) getACL(ctx context.Context, path string) (acl []zk.ACL, err error) {
	err = c.retry(ctx, func() (err error) {
		acl, _, err = c.conn.GetACL(c.full(path))
		return err
	})
	return acl, err
}

// sync makes the server that we are on catch up with the leader. After a reconnect it may be
// another one, which has not yet seen what the one before did for us.
func (c *Client) sync(ctx context.Context, path string) error {
	return c.retry(ctx, func() error {
		_, err := c.conn.Sync(c.full(path))
		return err
	})
}

// remove deletes path. A node there that is younger than all that this client has seen is not the
// one that it meant, but another client's in its place.
func (c *Client) remove(ctx context.Context, path string) error {
	seen := c.seen()
	return c.settle(ctx, ctx, func() error {
		return c.once(ctx, func() error { return c.conn.Delete(c.full(path), -1) })
	}, func(ctx context.Context) (bool, error) {
		if err := c.sync(ctx, path); err != nil {
			return false, err
		}
		st, found, err := c.exists(ctx, path)
		return err == nil && (!found || st.Czxid > seen), err
	})
}

// discard deletes path, which is ours and which nobody waits for. The end of the session would do
// the same.
func (c *Client) discard(path string) {
	if err := c.remove(c.ctx, path); err != nil && !errors.Is(err, ErrNoNode) && !c.over() {
		c.log.Debug(fmt.Sprintf("Cannot delete %s: %v", c.full(path), err), "znode", c.full(path), "error", err)
	}
}

// giveBack deletes path, which is ours, even if ctx ends before that is done. A path that is not
// there is no error.
func (c *Client) giveBack(ctx context.Context, path string) error {
	done := make(chan error, 1)
	if err := c.start(func() { done <- c.remove(c.ctx, path) }); err != nil {
		return err
	}
	select {
	case err := <-done:
		if errors.Is(err, ErrNoNode) {
			return nil
		}
		return err
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return c.check(ctx)
}

// Get returns the data of path.
func (c *Client) Get(ctx context.Context, path string) ([]byte, Stat, error) {
	type result struct {
		data []byte
		st   *zk.Stat
	}
	r, err := await(ctx, c, func() (r result, err error) {
		r.data, r.st, err = c.get(ctx, path)
		return r, err
	}, nil)
	if err != nil {
		return nil, Stat{}, c.fail("read", path, err)
	}
	return r.data, stat(r.st), nil
}

// Exists looks whether there is a path.
func (c *Client) Exists(ctx context.Context, path string) (Stat, bool, error) {
	type result struct {
		st    *zk.Stat
		found bool
	}
	r, err := await(ctx, c, func() (r result, err error) {
		r.st, r.found, err = c.exists(ctx, path)
		return r, err
	}, nil)
	if err != nil || !r.found {
		return Stat{}, false, c.fail("look for", path, err)
	}
	return stat(r.st), true, nil
}

// Children returns the names of the children of path, in no particular order.
func (c *Client) Children(ctx context.Context, path string) ([]string, error) {
	names, err := await(ctx, c, func() ([]string, error) { return c.children(ctx, path) }, nil)
	return names, c.fail("list", path, err)
}

// Set writes the data of path if its version is the given one; -1: whatever it is.
//
// Lost reply: settled. It is open when others have written since, so that the version does not
// tell, or when path is gone.
func (c *Client) Set(ctx context.Context, path string, data []byte, version int32) (Stat, error) {
	if err := c.fits("write", path, 4*4+len(c.full(path))+len(data)); err != nil {
		return Stat{}, err
	}
	st, err := await(ctx, c, func() (*zk.Stat, error) { return c.set(ctx, path, data, version) }, nil)
	if err != nil {
		return Stat{}, c.fail("write", path, err)
	}
	return stat(st), nil
}

func (c *Client) set(ctx context.Context, path string, data []byte, version int32) (st *zk.Stat, err error) {
	err = c.settle(ctx, ctx, func() error {
		return c.once(ctx, func() (err error) {
			st, err = c.conn.Set(c.full(path), bytesOf(data), version)
			return err
		})
	}, func(ctx context.Context) (bool, error) {
		if err := c.sync(ctx, path); err != nil {
			return false, err
		}
		now, is, err := c.get(ctx, path)
		if err != nil {
			return false, err
		}
		if st = is; version >= 0 && (st.Version < version || st.Version > version+1) {
			return false, ErrBadVersion
		}
		return (version < 0 || st.Version == version+1) && string(now) == string(data), nil
	})
	return st, err
}

// SetACL replaces the ACL of path.
//
// Lost reply: settled. It is open when the client has no right to read the ACL any more.
func (c *Client) SetACL(ctx context.Context, path string, acl []ACL) error {
	err := c.do(ctx, func() error {
		return c.settle(ctx, ctx, func() error {
			return c.once(ctx, func() error {
				_, err := c.conn.SetACL(c.full(path), toWire(acl), -1)
				return err
			})
		}, func(ctx context.Context) (bool, error) {
			if err := c.sync(ctx, path); err != nil {
				return false, err
			}
			has, err := c.getACL(ctx, path)
			return sameACL(has, toWire(acl)), err
		})
	})
	return c.fail("set the ACL of", path, err)
}

// GetACL returns the ACL of path.
func (c *Client) GetACL(ctx context.Context, path string) ([]ACL, error) {
	acl, err := await(ctx, c, func() ([]zk.ACL, error) { return c.getACL(ctx, path) }, nil)
	if err != nil {
		return nil, c.fail("read the ACL of", path, err)
	}
	return fromWire(acl), nil
}

// Delete deletes path, which must have no children. [ErrNoNode]: it was not there.
//
// Lost reply: settled. A node that another client makes in its place meanwhile is left alone; it is
// told by being younger than all that this client has seen.
func (c *Client) Delete(ctx context.Context, path string) error {
	return c.fail("delete", path, c.do(ctx, func() error { return c.remove(ctx, path) }))
}

// fits refuses a request that the server would drop the connection for.
func (c *Client) fits(what, path string, size int) error {
	if size+8 <= maxRequest {
		return nil
	}
	return fmt.Errorf("cannot %s %s: the request would have %d bytes, ZooKeeper takes %d", what, c.full(path), size+8, maxRequest)
}

// bytesOf is data as it is written, never null.
func bytesOf(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
