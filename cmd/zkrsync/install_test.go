// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// make install puts programs, man pages, completions and examples where packages and shells look
// for them.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	cmd := exec.CommandContext(t.Context(), "make", "-C", "../..", "install",
		"BIN="+filepath.Join(dir, "bin"), "DESTDIR="+root, "PREFIX=/usr", "VERSION=v1.2.3")
	// Neither a make that runs this test nor options in the environment may get in the way.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") }),
		"ZKRSYNC_DEPTH=garbage")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	var installed []string
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			installed = append(installed, info.Mode().String()+" "+strings.TrimPrefix(path, root))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-rwxr-xr-x /usr/bin/zkinitree",
		"-rwxr-xr-x /usr/bin/zkrsync",
		"-rw-r--r-- /usr/share/bash-completion/completions/zkinitree",
		"-rw-r--r-- /usr/share/bash-completion/completions/zkrsync",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/grafana-dashboard.json",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/nodes/nodes.sh",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/packaging/Containerfile",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/packaging/package.py",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/packaging/zkrsync-3.0.eb",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/prometheus-alerts.yml",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/slurm/zkrsync.sbatch",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/state.schema.json",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/systemd/zkrsync-destination@.service",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/systemd/zkrsync-source@.service",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/systemd/zkrsync.logrotate",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/zkinitree.cfg",
		"-rw-r--r-- /usr/share/doc/zkrsync/examples/zkrs.conf",
		"-rw-r--r-- /usr/share/fish/vendor_completions.d/zkinitree.fish",
		"-rw-r--r-- /usr/share/fish/vendor_completions.d/zkrsync.fish",
		"-rw-r--r-- /usr/share/man/man1/zkinitree.1",
		"-rw-r--r-- /usr/share/man/man1/zkrsync.1",
		"-rw-r--r-- /usr/share/man/man7/zkrsync.7",
		"-rw-r--r-- /usr/share/zsh/site-functions/_zkinitree",
		"-rw-r--r-- /usr/share/zsh/site-functions/_zkrsync",
	}
	if diff := cmp.Diff(want, installed); diff != "" {
		t.Fatalf("want -, got +:\n%s", diff)
	}

	for page, heading := range map[string]string{
		"man1/zkrsync.1":   `.TH ZKRSYNC 1 "" "zkrsync v1.2.3"`,
		"man1/zkinitree.1": `.TH ZKINITREE 1 "" "zkinitree v1.2.3"`,
		"man7/zkrsync.7":   `.TH ZKRSYNC 7 "" "zkrsync v1.2.3"`,
	} {
		text, err := os.ReadFile(filepath.Join(root, "usr/share/man", page))
		if err != nil || !strings.HasPrefix(string(text), "'\\\" t\n"+heading+"\n") {
			t.Errorf("%s begins with %.60q, not %q (%v)", page, text, heading, err)
		}
	}
	for _, program := range []string{"zkrsync", "zkinitree"} {
		path := filepath.Join(root, "usr/bin", program)
		binary, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		libraries, err := binary.ImportedLibraries()
		binary.Close()
		if err != nil || len(libraries) > 0 {
			t.Errorf("%s is not static: it needs %q (%v)", program, libraries, err)
		}
		if out, err := exec.CommandContext(t.Context(), path, "--version").Output(); !strings.HasPrefix(string(out), program+" v1.2.3\n") {
			t.Errorf("%s --version: %q, %v", program, out, err)
		}
		script := filepath.Join(root, "usr/share/bash-completion/completions", program)
		out, err := exec.CommandContext(t.Context(), "bash", "-uec", `. "$0"; complete -p "$1"`, script, program).CombinedOutput()
		if err != nil || string(out) != "complete -F _"+program+" "+program+"\n" {
			t.Errorf("completion of %s in bash: %v, %s", program, err, out)
		}
		zsh, err := os.ReadFile(filepath.Join(root, "usr/share/zsh/site-functions/_"+program))
		if err != nil || !strings.HasPrefix(string(zsh), "#compdef "+program+"\n") {
			t.Errorf("_%s begins with %.60q (%v)", program, zsh, err)
		}
	}
}
