// SPDX-License-Identifier: LGPL-2.1-or-later

package slowfs

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if err := Isolate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if dir := os.Getenv(killedIn); dir != "" {
		mountAndWait(dir)
	}
	goleak.VerifyTestMain(m)
}
