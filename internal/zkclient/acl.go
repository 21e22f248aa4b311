// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"slices"

	"github.com/go-zookeeper/zk"
)

// Perms is a set of rights on a znode.
type Perms int32

// The rights, as ZooKeeper numbers them.
const (
	PermRead   Perms = zk.PermRead
	PermWrite  Perms = zk.PermWrite
	PermCreate Perms = zk.PermCreate
	PermDelete Perms = zk.PermDelete
	PermAdmin  Perms = zk.PermAdmin
	PermAll    Perms = zk.PermAll
)

// ACL gives Perms to whom Scheme and ID name.
type ACL struct {
	Scheme, ID string
	Perms      Perms
}

// DigestACL gives perms to the user with this password; the ID holds only the password's digest.
func DigestACL(user, password string, perms Perms) ACL {
	a := zk.DigestACL(int32(perms), user, password)[0]
	return ACL{Scheme: a.Scheme, ID: a.ID, Perms: perms}
}

// ACL is that of every node which this client makes.
func (c *Client) ACL() []ACL { return fromWire(c.acl) }

// sameACL says whether two ACLs have the same entries, whatever their order.
func sameACL(a, b []zk.ACL) bool {
	within := func(a, b []zk.ACL) bool {
		return !slices.ContainsFunc(a, func(entry zk.ACL) bool { return !slices.Contains(b, entry) })
	}
	return within(a, b) && within(b, a)
}

func toWire(acl []ACL) []zk.ACL {
	out := make([]zk.ACL, len(acl))
	for i, a := range acl {
		out[i] = zk.ACL{Perms: int32(a.Perms), Scheme: a.Scheme, ID: a.ID}
	}
	return out
}

func fromWire(acl []zk.ACL) []ACL {
	out := make([]ACL, len(acl))
	for i, a := range acl {
		out[i] = ACL{Scheme: a.Scheme, ID: a.ID, Perms: Perms(a.Perms)}
	}
	return out
}
