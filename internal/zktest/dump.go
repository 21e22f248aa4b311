// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
)

// Node is a znode as Dump found it.
type Node struct {
	Path  string
	Data  string
	Owner int64 // session of an ephemeral node, 0: persistent
	ACL   []string
}

// Ephemeral says whether the node goes with a session.
func (n Node) Ephemeral() bool { return n.Owner != 0 }

// String is the node without what differs from run to run, for comparisons and messages.
func (n Node) String() string {
	kind := "persistent"
	if n.Ephemeral() {
		kind = "ephemeral"
	}
	return fmt.Sprintf("%s %s %q %s", n.Path, kind, n.Data, strings.Join(n.ACL, ","))
}

// Dump reads path and everything below it, sorted by path. A path that is not there gives nothing,
// and nodes that go while it reads are left out. An entry of an ACL is scheme:id:rights, with
// zkinitree's letters (rwcda).
func Dump(t testing.TB, addr, user, password, path string) []Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := zkclient.Connect(ctx, zkclient.Config{
		Servers: []string{addr}, User: user, Password: password,
		SessionTimeout: 30 * time.Second, ConnectTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nodes, err := dump(ctx, c, path)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Path, b.Path) })
	return nodes
}

func dump(ctx context.Context, c *zkclient.Client, path string) ([]Node, error) {
	data, stat, err := c.Get(ctx, path)
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	acl, err := c.GetACL(ctx, path)
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	node := Node{Path: path, Data: string(data), Owner: stat.EphemeralOwner}
	for _, a := range acl {
		node.ACL = append(node.ACL, a.Scheme+":"+a.ID+":"+letters(a.Perms))
	}
	nodes := []Node{node}
	names, err := c.Children(ctx, path)
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return nil, err
	}
	for _, name := range names {
		below, err := dump(ctx, c, strings.TrimSuffix(path, "/")+"/"+name)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, below...)
	}
	return nodes, nil
}

func letters(perms zkclient.Perms) string {
	var b strings.Builder
	for _, p := range []struct {
		perm   zkclient.Perms
		letter byte
	}{
		{zkclient.PermRead, 'r'}, {zkclient.PermWrite, 'w'}, {zkclient.PermCreate, 'c'},
		{zkclient.PermDelete, 'd'}, {zkclient.PermAdmin, 'a'},
	} {
		if perms&p.perm != 0 {
			b.WriteByte(p.letter)
		}
	}
	return b.String()
}

// Foreign makes nodes that only a user whom nobody knows may read. Those above them everybody may.
func Foreign(t testing.TB, addr string, paths ...string) {
	t.Helper()
	c, err := zkclient.Connect(t.Context(), zkclient.Config{Servers: []string{addr}, ConnectTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, path := range paths {
		if err := c.EnsurePath(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if err := c.SetACL(t.Context(), path, []zkclient.ACL{zkclient.DigestACL("nobody", "unknown", zkclient.PermAll)}); err != nil {
			t.Fatal(err)
		}
	}
}
