// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"testing"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// Of all sessions those are shown that the user may read.
func TestOthers(t *testing.T) {
	zktest.Foreign(t, server.Addr(), "/others/admin/rsync/mine/watch/ready", "/others/admin/rsync/theirs/watch/ready", "/others/admin/rsync/theirs/lock")
	l := &looker{cfg: zkclient.Config{Servers: []string{server.Addr() + "/others"}, User: "root", Password: "admin"}}
	defer l.close()
	if seen, err := l.look(t.Context()); err != nil || len(seen) != 1 || seen[0].Session != "mine" {
		t.Errorf("%+v, %v", seen, err)
	}
}
