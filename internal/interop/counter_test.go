// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCounterValues(t *testing.T) {
	t.Parallel()
	ctx, c, py, base := limited(t), connect(t), stepped(t), own(t, "stats")
	names := []string{"Number_of_files", "Literal_data", "never_touched"}
	both := func(want map[string]int64) {
		t.Helper()
		got, err := c.Counters(ctx, base, names)
		ok(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("counters that Go reads (-want +got):\n%s", diff)
		}
		for _, name := range names {
			if got := value[int64](t, py.Do("counter get", Fields{"path": base + "/" + name})); got != want[name] {
				t.Errorf("Python reads %s = %d, want %d", name, got, want[name])
			}
		}
	}
	// kazoo makes a counter, empty, when it reads it.
	both(map[string]int64{"Number_of_files": 0, "Literal_data": 0, "never_touched": 0})
	ok(t, c.AddCounters(ctx, base, map[string]int64{"Number_of_files": 7, "Literal_data": 1 << 40}))
	both(map[string]int64{"Number_of_files": 7, "Literal_data": 1 << 40, "never_touched": 0})
	py.Do("counter add", Fields{"path": base + "/Literal_data", "delta": 1 << 41})
	both(map[string]int64{"Number_of_files": 7, "Literal_data": 1<<40 + 1<<41, "never_touched": 0})
	py.Do("counter add", Fields{"path": base + "/Number_of_files", "delta": -9})
	ok(t, c.AddCounters(ctx, base, map[string]int64{"Number_of_files": 1}))
	both(map[string]int64{"Number_of_files": -1, "Literal_data": 1<<40 + 1<<41, "never_touched": 0})
}

// Two clients of each kind add at once. The Go ones rest in between, as short as no rsync run is.
// The sum is exact and neither kind is starved. Each step adds one, so the value after it is its
// place among all steps, and the places of Go's steps follow from those of Python's.
func TestCountersAddedByBoth(t *testing.T) {
	const times, each = 100, 2
	const share = times * each
	ctx, c, base := limited(t), connect(t), own(t, "stats")
	path := base + "/Number_of_files"

	var peers []*Peer
	var calls []*Call
	for range each {
		py := stepped(t)
		peers = append(peers, py)
		calls = append(calls, py.Begin("counter add", Fields{"path": path, "times": times}))
	}
	for _, py := range peers {
		py.Await("added")
	}
	var wait sync.WaitGroup
	for range each {
		mine := connect(t)
		wait.Go(func() {
			for range times {
				// Beside the contended counter one of Go's own: all or none of a
				// call is added.
				if err := mine.AddCounters(ctx, base, map[string]int64{"Number_of_files": 1, "go": 1}); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(rand.N(10 * time.Millisecond))
			}
		})
	}
	wait.Wait()
	for _, call := range calls {
		call.Wait()
	}

	got, err := c.Counters(ctx, base, []string{"Number_of_files", "go"})
	ok(t, err)
	if diff := cmp.Diff(map[string]int64{"Number_of_files": 2 * share, "go": share}, got); diff != "" {
		t.Fatalf("sums (-want +got):\n%s", diff)
	}

	byPython := map[int]bool{}
	for _, py := range peers {
		for _, e := range py.All("added") {
			byPython[e.Total] = true
		}
	}
	if len(byPython) != share {
		t.Fatalf("Python's %d steps have %d places", share, len(byPython))
	}
	// How far was each kind when the other had done its share?
	var python, golang int
	for place := 1; python < share && golang < share; place++ {
		if byPython[place] {
			python++
		} else {
			golang++
		}
	}
	t.Logf("when one kind had done its share of %d, Python had done %d and Go %d", share, python, golang)
	if python < share/20 || golang < share/20 { // a kind that is starved has done none or a few
		t.Errorf("one kind is starved: when the other had done its share of %d, it had done %d",
			share, min(python, golang))
	}
}
