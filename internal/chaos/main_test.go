// SPDX-License-Identifier: LGPL-2.1-or-later

package chaos

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vsc-zk/internal/slowfs"
	"vsc-zk/internal/zktest"
)

var (
	ensemble *zktest.Ensemble // for all rounds; each has a session of its own
	program  string           // zkrsync, as it is built

	rounds  = flag.Int("rounds", 1, "how many rounds to run")
	seed    = flag.Uint64("seed", 1, "seed of the first round, 0: a new one")
	seconds = flag.Int("seconds", 0, "begin no round after so many seconds, 0: whenever")
)

func TestMain(m *testing.M) {
	if err := slowfs.Isolate(); err != nil { // nobody else sees the mounts of the rounds
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "zkrsync")
	if out, err := exec.Command("go", "build", "-o", program, "vsc-zk/cmd/zkrsync").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build zkrsync: %v: %s\n", err, out)
		return 1
	}
	return zktest.MainEnsemble(m, &ensemble)
}
