// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Member is a client in one ZooKeeper session.
type Member struct {
	ZK     *zkclient.Client
	Client *Client
	Tree   wire.Tree    // of the client
	Log    *slog.Logger // of the client

	parties  map[string]*zkclient.Party // those joined, by kind
	mu       sync.Mutex                 // guards what follows
	others   map[string]*zkclient.Party // that are only looked at, by kind
	steering *Steering                  // nil: nobody has asked
	role     context.Context            // of the role that is played
	group    sync.WaitGroup             // background work of the role, which ends with its context
	fail     func(error)                // ends the role's context
}

// Play plays the role in a context that ends with the ZooKeeper session, and waits for all that it
// has started in the background.
func (m *Member) Play(ctx context.Context, role func(context.Context, *Member) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	m.role, m.fail = ctx, cancel
	unhook := context.AfterFunc(m.ZK.Context(), func() { cancel(context.Cause(m.ZK.Context())) })
	defer m.group.Wait()
	defer cancel(nil)
	defer unhook()
	return role(ctx, m)
}

// Context is the role's, for what has to be brought to its end whoever waits for it.
func (m *Member) Context() context.Context { return m.role }

// Background runs work, which ends at the latest with the role's context; Play waits for it.
func (m *Member) Background(work func()) { m.group.Go(work) }

// Fail ends the role, for background work that cannot go on.
func (m *Member) Fail(err error) { m.fail(err) }

// Enter joins a party, unless this member is in it. In the first one of its life the client makes sure that nobody
// else has its name: in containers hosts may have the same name, and processes the same number.
func (m *Member) Enter(ctx context.Context, kind string) error {
	if m.parties[kind] != nil {
		return nil
	}
	c := m.Client
	for {
		p := m.ZK.Party(m.Tree.Party(kind), c.Whoami)
		if err := p.Join(ctx); err != nil {
			return err
		}
		if !c.named {
			taken, err := m.nameTaken(ctx, kind, p.Node())
			if err != nil {
				return err
			}
			if taken {
				if err := m.ZK.Delete(ctx, p.Node()); err != nil {
					return err
				}
				was := c.Whoami
				c.number += numbers
				c.Whoami = wire.Whoami(wire.HostOf(was), c.number)
				m.Log.Info(fmt.Sprintf("There is a client %s in this session already: this one is known as %s", was, c.Whoami), "event", "renamed", "source", c.Whoami)
				continue
			}
			c.named = true
		}
		m.parties[kind] = p
		if kind == wire.PartyAll {
			m.ZK.SetFence(p.Node())
		}
		return nil
	}
}

// Leave leaves parties. Out of the party of all clients a member makes no transactions.
func (m *Member) Leave(ctx context.Context, kinds ...string) error {
	for _, kind := range kinds {
		p := m.parties[kind]
		if p == nil {
			continue
		}
		if err := m.ZK.Delete(ctx, p.Node()); err != nil && !errors.Is(err, zkclient.ErrNoNode) {
			return fmt.Errorf("cannot leave the session: %w", err)
		}
		delete(m.parties, kind)
	}
	return nil
}

// numbers is beyond all numbers of processes that Linux gives.
const numbers = 1 << 22

// nameTaken tells whether somebody with this client's name has joined a party before its own node was made.
func (m *Member) nameTaken(ctx context.Context, kind, own string) (bool, error) {
	party := m.Tree.Party(kind)
	names, err := m.Children(ctx, party)
	if err != nil {
		return false, err
	}
	since, found, err := m.ZK.Exists(ctx, own)
	if err != nil || !found {
		return false, err
	}
	for _, name := range names {
		data, stat, ok, err := m.Read(ctx, party+"/"+name)
		if err != nil {
			return false, err
		}
		if ok && stat.EphemeralOwner != 0 && stat.Czxid < since.Czxid && string(data) == m.Client.Whoami {
			return true, nil
		}
	}
	return false, nil
}

// Party is one of the session's parties, joined by this member or not.
func (m *Member) Party(kind string) *zkclient.Party {
	if p := m.parties[kind]; p != nil {
		return p
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.others[kind] == nil {
		m.others[kind] = m.ZK.Party(m.Tree.Party(kind), "")
	}
	return m.others[kind]
}

// Children are the names of a node's children, none if there is no such node.
func (m *Member) Children(ctx context.Context, path string) ([]string, error) {
	names, err := m.ZK.Children(ctx, path)
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil, nil
	}
	return names, err
}

// Read reads a node; ok is false if there is none, or this user may not read it.
func (m *Member) Read(ctx context.Context, path string) (data []byte, stat zkclient.Stat, ok bool, err error) {
	data, stat, err = m.ZK.Get(ctx, path)
	if errors.Is(err, zkclient.ErrNoNode) || errors.Is(err, zkclient.ErrNoAuth) {
		return nil, stat, false, nil
	}
	return data, stat, err == nil, err
}

// Contents reads all children of a node, as ReadAll does.
func (m *Member) Contents(ctx context.Context, parent string) ([][]byte, error) {
	names, err := m.Children(ctx, parent)
	if err != nil {
		return nil, fmt.Errorf("cannot look through %s: %w", parent, err)
	}
	return m.ReadAll(ctx, parent, names)
}

// ReadAll reads the named children of a node, many at once. What is gone, or may not be read, is nil.
func (m *Member) ReadAll(ctx context.Context, parent string, names []string) ([][]byte, error) {
	contents := make([][]byte, len(names))
	err := Each(ctx, names, func(ctx context.Context, i int, name string) error {
		data, _, ok, err := m.Read(ctx, parent+"/"+name)
		if ok {
			contents[i] = data
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", parent, err)
	}
	return contents, nil
}

// Each does something with nodes, with many at a time: each has to wait for the server's disk.
func Each(ctx context.Context, nodes []string, do func(ctx context.Context, i int, node string) error) error {
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, node := range nodes {
		group.Go(func() error { return do(limited, i, node) })
	}
	return group.Wait()
}

// Publish sets the content of an ephemeral node of this ZooKeeper session. One of the client's lost
// session is replaced in one transaction: a Python worker crashes when it finds no port.
func (m *Member) Publish(ctx context.Context, path string, data []byte) error {
	for {
		stat, found, err := m.ZK.Exists(ctx, path)
		switch {
		case err != nil:
			return err
		case found && stat.EphemeralOwner == m.ZK.SessionID():
			_, err = m.ZK.Set(ctx, path, data, -1)
		case found:
			ours := func(ctx context.Context) (bool, error) {
				stat, found, err := m.ZK.Exists(ctx, path)
				return found && stat.EphemeralOwner == m.ZK.SessionID(), err
			}
			err = m.ZK.Settle(ctx, ours, zkclient.OpDelete(path), zkclient.OpCreate(path, data, zkclient.Ephemeral))
		default:
			_, err = m.ZK.CreatePath(ctx, path, data, zkclient.Ephemeral)
		}
		if !errors.Is(err, zkclient.ErrNoNode) && !errors.Is(err, zkclient.ErrNodeExists) {
			return err
		}
	}
}

// PublishKey says by what this client is known at the other end of a link.
func (m *Member) PublishKey(ctx context.Context, key wire.Key) error {
	if err := m.Publish(ctx, m.Tree.Key(m.Client.Whoami), key.Encode()); err != nil {
		return fmt.Errorf("cannot publish the key of this client: %w", err)
	}
	return nil
}

// Unlock releases a lock, also when ctx has just ended: others wait for it.
func (m *Member) Unlock(ctx context.Context, lock *zkclient.Lock) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := lock.Release(ctx); err != nil && !errors.Is(err, zkclient.ErrSessionLost) {
		return fmt.Errorf("cannot release a lock: %w", err)
	}
	return nil
}

// Meta reads S/meta of this epoch, with its version; ok is false if there is none, or it is another
// session's.
func (m *Member) Meta(ctx context.Context) (meta wire.Meta, version int32, ok bool, err error) {
	data, stat, ok, err := m.Read(ctx, m.Tree.Meta())
	if err != nil {
		return wire.Meta{}, 0, false, fmt.Errorf("cannot read the session's state: %w", err)
	}
	meta, ok = m.Own(data, stat, ok)
	return meta, stat.Version, ok, nil
}

// Own decodes S/meta if it is this session's.
func (m *Member) Own(data []byte, stat zkclient.Stat, exists bool) (wire.Meta, bool) {
	meta, ok := wire.MetaOf(data, stat.Czxid, m.Client.Epoch())
	return meta, ok && exists
}

// Terms are what the leader of this session asks all sources to agree on; nil if it asks nothing: a Python one.
func (m *Member) Terms(ctx context.Context) (wire.Terms, error) {
	data, stat, ok, err := m.Read(ctx, m.Tree.Meta())
	if err != nil {
		return nil, fmt.Errorf("cannot read the session's state: %w", err)
	}
	if meta, ok := m.Own(data, stat, ok); ok {
		return meta.Terms, nil
	}
	if format, other := wire.OtherFormat(data); other && stat.Czxid == m.Client.Epoch() {
		return nil, fmt.Errorf("cannot take part in session %q: its master writes format %d of %s, which this version of zkrsync does not know; use the same version",
			m.Tree.Name(), format, m.Tree.Meta())
	}
	return nil, nil
}

// Backlog is what has not ended.
type Backlog struct {
	Paths int // for every source
	Ext   int // for Go sources only
	Split int // with the leader, to be cut
}

// Total is the number of entries.
func (b Backlog) Total() int { return b.Paths + b.Ext + b.Split }

// Backlog counts the entries of the path queues. What is cut meanwhile is counted twice rather than
// not at all.
func (m *Member) Backlog(ctx context.Context) (left Backlog, err error) {
	if left.Paths, err = m.ZK.Queue(m.Tree.PathQueue()).Len(ctx); err != nil {
		return left, err
	}
	if left.Ext, err = m.ZK.Queue(m.Tree.ExtQueue()).Len(ctx); err != nil {
		return left, err
	}
	stat, _, err := m.ZK.Exists(ctx, m.Tree.Split())
	left.Split = int(stat.NumChildren)
	return left, err
}
