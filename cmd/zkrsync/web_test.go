// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"strings"
	"sync"
	"testing"

	"vsc-zk/internal/session"
)

// Several may steer from the page at once, each the session that he means: they share nothing, as the race detector knows.
func TestSteerAtOnce(t *testing.T) {
	t.Parallel()
	steer := steerFor(session.Config{})
	var all sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		all.Go(func() {
			if _, err := steer(t.Context(), name, "set", "bwlimit=fast"); err == nil || !strings.Contains(err.Error(), "a rate is a number") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
}
