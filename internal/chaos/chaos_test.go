// SPDX-License-Identifier: LGPL-2.1-or-later

package chaos

import (
	"fmt"
	"testing"
	"time"
)

// TestChaos runs rounds, one after the other.
func TestChaos(t *testing.T) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	began, came := time.Now(), map[kind]int{}
	defer func() { t.Logf("in all rounds: %v", came) }()
	for n := first; n < first+uint64(*rounds); n++ {
		if *seconds > 0 && time.Since(began) > time.Duration(*seconds)*time.Second {
			break
		}
		t.Run(fmt.Sprintf("seed=%d", n), func(t *testing.T) {
			r := newRound(t, n, newPlan(n))
			r.run()
			took := time.Since(r.began)
			wrong, summary := r.judge()
			for _, text := range wrong {
				t.Error(text)
			}
			for what, times := range r.came {
				came[what] += times
			}
			t.Logf("%.1f s; %s; came: %v; %v", took.Seconds(), summary, r.came, r.plan)
		})
	}
}
