// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"os"
	"path/filepath"
	"testing"
)

// steer runs a command that steers the run.
func (r *rig) steer(status int, arg string) {
	r.t.Helper()
	p := startProgram(r.t, arg, "", "--servers="+server.Addr(), "-u", user, "-p", password, "--session="+r.session, arg)
	wantExit(r.t, p, status)
}

// A Python source follows nobody: it goes on while the run is paused. What is skipped it does not get all the same.
func TestPythonSourceIsNotSteered(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2))
	m := r.begin(golang, "--info")
	r.steer(0, "--pause")
	r.steer(0, "--skip=dir001")
	dest, slave := r.destination(golang), r.slave(python, nil)
	until(t, "the Python source has sent all but what is skipped", func() bool { return r.completed(golang) == len(r.queued)-1 })
	if _, found, err := r.zk.Exists(t.Context(), r.at("watch", "ready")); !found || err != nil {
		t.Errorf("the run is over though it is paused (%v)", err)
	}
	r.steer(0, "--unpause")
	wantExit(t, m, 23)
	wantExit(t, slave, 0)
	wantExit(t, dest, 0)
	if files, err := os.ReadDir(filepath.Join(r.dst, "dir001")); err == nil && len(files) > 0 {
		t.Errorf("%v was sent", files)
	}
	r.cleanedUp()
}

// A run with a Python master cannot be steered.
func TestPythonMasterIsNotSteered(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1))
	m := r.begin(python)
	r.steer(1, "--pause")
	r.end(m, r.destination(golang), r.slave(golang, nil))
}
