// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"vsc-zk/internal/slowfs"
	"vsc-zk/internal/zktest"
)

var (
	server *zktest.Server // for all rounds; each has a session of its own

	rounds = flag.Int("rounds", 4, "how many rounds to run")
	seed   = flag.Uint64("seed", 0, "seed of the first round, 0: a new one")
)

func TestMain(m *testing.M) {
	if told := os.Getenv(clientOrder); told != "" {
		runClient(told)
		return
	}
	if err := slowfs.Isolate(); err != nil { // nobody else sees the mounts of the rounds
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))) // rounds mostly wait
	}
	os.Exit(zktest.Main(m, &server))
}
