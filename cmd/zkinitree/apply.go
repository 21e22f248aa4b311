// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"

	"vsc-zk/internal/zkclient"
)

// applier brings a tree into ZooKeeper.
type applier struct {
	zk   *zkclient.Client
	tree tree
	log  *slog.Logger

	found    map[string]bool           // nodes that exist already; filled in by check
	rights   map[string][]zkclient.ACL // of those among them that need looked at
	changed  bool                      // something was written
	locked   []string                  // existing nodes that root would have to change but may not
	mistakes []error
}

// check finds out whether the whole tree can be set up, before anything is written. Its error says
// why it could not look, or joins all mistakes, one line each.
func (a *applier) check(ctx context.Context) error {
	a.found, a.rights = make(map[string]bool), make(map[string][]zkclient.ACL)
	ours := make(map[string]bool) // where root will have all rights when the children are made
	for _, n := range a.tree.nodes {
		if err := a.checkNode(ctx, n, ours); err != nil {
			return err
		}
	}
	if len(a.locked) > 0 {
		a.mistakes = append(a.mistakes, fmt.Errorf("cannot change %s: user root with the password of [root] has no right to. "+
			"Such a node keeps the password it was made with: if that was changed in the file since, put the old one back",
			strings.Join(a.locked, ", ")))
	}
	return errors.Join(a.mistakes...)
}

// checkNode looks at one node, after those above it.
func (a *applier) checkNode(ctx context.Context, n node, ours map[string]bool) error {
	if !n.sequential {
		found, err := a.look(ctx, n, n.path)
		if err != nil {
			return err
		}
		a.found[n.path] = found
		ours[n.path] = !found || !n.implied
		switch {
		case found && n.implied:
			return nil
		case found:
			return a.need(ctx, n.path, zkclient.PermAdmin)
		}
	}

	parent := path.Dir(n.path)
	if ours[parent] {
		return nil
	}
	found, err := a.look(ctx, n, parent)
	if err != nil {
		return err
	}
	if !found {
		a.mistakes = append(a.mistakes, n.mistake(fmt.Sprintf("parent node(s) of znode %s missing: %s is neither in ZooKeeper nor in the file; "+
			"add a section [%s], or makepath=yes here", n.path, parent, parent)))
		return nil
	}
	return a.need(ctx, parent, zkclient.PermCreate)
}

// look tells whether p exists, on behalf of n.
func (a *applier) look(ctx context.Context, n node, p string) (bool, error) {
	stat, found, err := a.zk.Exists(ctx, p)
	if found && stat.EphemeralOwner != 0 {
		a.mistakes = append(a.mistakes, n.mistake(p+" is an ephemeral node, which belongs to a running client and vanishes with it"))
	}
	return found, err
}

// need notes an existing node if root lacks a right on it. It judges by the ACL, so that nothing
// has to be tried.
func (a *applier) need(ctx context.Context, p string, right zkclient.Perms) error {
	acl, err := a.zk.GetACL(ctx, p)
	refused := errors.Is(err, zkclient.ErrNoAuth)
	if err != nil && !refused {
		return err
	}
	a.rights[p] = acl
	if (refused || !grants(acl, a.tree.rootPassword, right)) && !slices.Contains(a.locked, p) {
		a.locked = append(a.locked, p)
	}
	return nil
}

// grants tells whether an ACL gives root a right. Entries of other schemes (ip, sasl) are taken to
// do so, because only the server knows what they mean for us.
func grants(acl []zkclient.ACL, rootPassword string, right zkclient.Perms) bool {
	root := zkclient.DigestACL(rootUser, rootPassword, right)
	return len(acl) == 0 || slices.ContainsFunc(acl, func(e zkclient.ACL) bool {
		return e.Perms&right != 0 && (e.Scheme != root.Scheme || e.ID == root.ID)
	})
}

// write makes the nodes that are missing, parents first, and replaces the ACLs of the others.
func (a *applier) write(ctx context.Context) error {
	for _, n := range a.tree.nodes {
		if err := a.writeNode(ctx, n); err != nil {
			return fmt.Errorf("%w; the tree is incomplete: run zkinitree again", err)
		}
	}
	if !a.changed {
		a.log.Warn("nothing to change: all nodes are there, with these rights")
	}
	return nil
}

func (a *applier) writeNode(ctx context.Context, n node) error {
	if n.sequential || !a.found[n.path] {
		mode := zkclient.Persistent
		if n.sequential {
			mode = zkclient.Sequential
		}
		made, err := a.zk.CreateACL(ctx, n.path, []byte(n.value), mode, n.acl)
		if err == nil {
			a.changed = true
			a.log.Info("created node "+made, "znode", made)
			return nil
		}
		if !errors.Is(err, zkclient.ErrNodeExists) { // else somebody was faster
			return err
		}
	}
	if n.implied {
		return nil
	}
	a.log.Warn(fmt.Sprintf("node %s already exists", n.path), "znode", n.path)
	if slices.Equal(a.rights[n.path], n.acl) {
		return nil
	}
	if err := a.zk.SetACL(ctx, n.path, n.acl); err != nil {
		return err
	}
	a.changed = true
	a.log.Info("replaced the ACL of node "+n.path, "znode", n.path)
	return nil
}
