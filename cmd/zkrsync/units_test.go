// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vsc-zk/internal/cli"
)

// systemd takes the example units as they are, and they start the program with options that it has.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob("../../examples/systemd/*.service")
	if err != nil || len(units) != 2 {
		t.Fatalf("units: %q, %v", units, err)
	}
	dir := t.TempDir()
	program, err := os.Executable() // which is zkrsync in scripts
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=zkrsync (.*)$`)
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		found := start.FindStringSubmatch(string(text))
		if found == nil {
			t.Fatalf("%s does not start zkrsync", unit)
		}
		var o options
		args := strings.Fields(strings.ReplaceAll(found[1], "%i", "home"))
		if _, err := newProgram(&o).Parse(args, nil, os.Stdout, os.Stderr); err != nil {
			t.Errorf("%s: %q: %v", unit, args, err)
		}
		if !o.sysexits || o.source == o.destination || o.resume != o.source {
			t.Errorf("%s: %+v", unit, o)
		}
		if _, err := cli.Expand(o.logFile, o.templateKeys(1)); err != nil {
			t.Errorf("%s: %v", unit, err)
		}
		// systemd looks in /usr/local/bin and /usr/bin, where there need be none here.
		here := start.ReplaceAllString(string(text), "ExecStart="+program+" $1")
		file := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(file, []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
		instance := strings.Replace(file, "@.", "@home.", 1)
		if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", instance).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", instance, err, out)
		}
	}
}

// logrotate takes the example for it.
func TestLogrotate(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/usr/sbin/logrotate", "--debug", "--state", filepath.Join(t.TempDir(), "state"), "../../examples/systemd/zkrsync.logrotate")
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "error:") || !strings.Contains(string(out), "/var/log/zkrsync/*.log") {
		t.Errorf("%v\n%s", err, out)
	}
}
