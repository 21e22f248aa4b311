// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Somebody else can have made nodes of this session's name before it begins, or they are left from a
// time with another user or password. Who may write there could take part in the session, or keep it
// from its end. So nobody may have rights on a node of the session but its own user, and who has rights
// on the node of all sessions: there an administrator may give himself some.

// CheckNodes looks at the owners of all nodes of the session that are there.
func (m *Member) CheckNodes(ctx context.Context) error {
	if err := m.checkParents(ctx); err != nil {
		return err
	}
	above, err := m.ZK.GetACL(ctx, wire.Base)
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) && !errors.Is(err, zkclient.ErrNoAuth) {
		return fmt.Errorf("cannot look at who may use the sessions: %w", err)
	}
	nodes := m.Tree.Lasting()
	problems := make([]error, len(nodes))
	if err := Each(ctx, nodes, func(ctx context.Context, i int, node string) (err error) {
		problems[i], err = m.checkNode(ctx, node, above)
		return err
	}); err != nil {
		return err
	}
	for _, problem := range problems {
		if problem != nil {
			return problem
		}
	}
	return nil
}

// checkNode looks at one node; a problem is what is wrong with it.
func (m *Member) checkNode(ctx context.Context, node string, above []zkclient.ACL) (problem, err error) {
	acl, err := m.ZK.GetACL(ctx, node)
	const way = "have it deleted by an administrator of ZooKeeper (if the password of the session's user was changed, " +
		"who knows the old one can do it), or give another name with --session"
	switch {
	case errors.Is(err, zkclient.ErrNoNode):
		return nil, nil
	case errors.Is(err, zkclient.ErrNoAuth):
		return fmt.Errorf("cannot use session %q as user %q: %s is of another user or password: %w; %s", m.Tree.Name(), m.Client.zookeeper.User, node, zkclient.ErrNoAuth, way), nil
	case err != nil:
		return nil, fmt.Errorf("cannot look at who has made %s: %w", node, err)
	}
	own := m.ZK.ACL()
	for _, entry := range acl {
		known := func(e zkclient.ACL) bool {
			return e.Scheme == entry.Scheme && sameID(e.ID, entry.ID) && entry.Perms&^e.Perms == 0
		}
		if !slices.ContainsFunc(own, known) && !slices.ContainsFunc(above, known) && entry.Perms&^zkclient.PermRead != 0 {
			who, _, _ := strings.Cut(entry.ID, ":")
			return fmt.Errorf("cannot use session %q: somebody else (%s %q) has rights on %s, and could meddle; %s", m.Tree.Name(), entry.Scheme, who, node, way), nil
		}
	}
	return nil, nil
}

// sameID compares two names of an ACL. To who may not change a node's ACL the server shows an x for a
// password's digest.
func sameID(a, b string) bool {
	userA, digestA, _ := strings.Cut(a, ":")
	userB, digestB, _ := strings.Cut(b, ":")
	return userA == userB && (digestA == digestB || digestA == "x" || digestB == "x")
}

// checkParents warns of nodes above the session that anybody may change.
func (m *Member) checkParents(ctx context.Context) error {
	for node := wire.Base; node != "/"; node = path.Dir(node) {
		acl, err := m.ZK.GetACL(ctx, node)
		if errors.Is(err, zkclient.ErrNoNode) || errors.Is(err, zkclient.ErrNoAuth) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot look at who may use %s: %w", node, err)
		}
		open := func(e zkclient.ACL) bool { return e.Scheme == "world" && e.Perms&^zkclient.PermRead != 0 }
		if slices.ContainsFunc(acl, open) && !slices.ContainsFunc(m.ZK.ACL(), open) {
			m.Log.Warn(fmt.Sprintf("Everybody who reaches ZooKeeper may change %s: protect it with zkinitree", node), "event", "unprotected", "znode", node)
		}
	}
	return nil
}
