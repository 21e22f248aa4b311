// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"vsc-zk/internal/zkclient"
)

// The scripts run zkinitree as a process of its own, as users do. $SERVERS is the real ZooKeeper,
// with a chroot of the script's own.
func TestScript(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	anyone := connect(t, server.Addr(), "", "")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			chroot, err := anyone.Create(t.Context(), "/"+filepath.Base(env.WorkDir)+"-", nil, zkclient.Sequential)
			if err != nil {
				return err
			}
			env.Setenv("SERVERS", server.Addr()+chroot)
			env.Setenv("EXAMPLES", examples)
			env.Setenv("COLUMNS", "80")
			env.Setenv("GORACE", "atexit_sleep_ms=10") // with -race each process would sleep for a second at its end
			return nil
		},
	})
}
