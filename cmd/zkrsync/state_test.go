// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"strings"
	"testing"

	"vsc-zk/internal/zktest"
)

// Without a name --state shows all sessions that the user may read.
func TestStateOfOthers(t *testing.T) {
	t.Parallel()
	chroot, err := makeChroot("others")
	if err != nil {
		t.Fatal(err)
	}
	zktest.Foreign(t, server.Addr(), chroot+"/admin/rsync/mine/watch/ready", chroot+"/admin/rsync/other/watch/ready", chroot+"/admin/rsync/other/lock")
	var stdout, stderr strings.Builder
	environ := []string{"ZKRSYNC_SERVERS=" + server.Addr() + chroot, "ZKRSYNC_LOGFILE="}
	if got := run(t.Context(), []string{"--state"}, environ, &stdout, &stderr); got != exitLeaderless || !strings.Contains(stdout.String(), "\nSession mine: no master") {
		t.Errorf("status %d:\n%s%s", got, &stdout, &stderr)
	}
	if got := run(t.Context(), []string{"--state", "-N", "other"}, environ, &stdout, &stderr); got != 1 || !strings.Contains(stderr.String(), "not authorised") {
		t.Errorf("one that nobody may read: status %d:\n%s%s", got, &stdout, &stderr)
	}
}
