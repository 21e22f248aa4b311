// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The examples for many nodes work, with network namespaces as nodes.
func TestNodes(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../zkrsync", "../zkinitree")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tool := range []string{"clush", "pdsh", "slurm"} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "../../.ci/nodes-test", filepath.Join(bin, "zkrsync"), filepath.Join(bin, "zkinitree"), tool)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The recipes of other packagers are at least Python.
func TestRecipes(t *testing.T) {
	for _, recipe := range []string{"zkrsync-3.0.eb", "package.py"} {
		cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", filepath.Join("../../examples/packaging", recipe))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", recipe, err, out)
		}
	}
}
