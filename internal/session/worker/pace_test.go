// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
)

func TestPace(t *testing.T) {
	p := newPace(5*time.Second, 1000)
	run := func(kind wire.Kind, n int, start, each time.Duration) { p.ran(kind, n, start+time.Duration(n)*each) }
	check := func(what string, kind wire.Kind, waiting, jobs, want int) {
		t.Helper()
		if n := p.size(kind, waiting, jobs); n < want-want/20 || n > want+want/20 {
			t.Errorf("%s: %d of %d paths for one of %d jobs, want about %d", what, n, waiting, jobs, want)
		}
	}
	check("first run", wire.Recursive, 10_000, 10, firstBatch)
	check("first run, few", wire.Recursive, 20, 8, 2)
	check("others go alone", wire.Links, 10_000, 10, 1)

	const start, each = 50 * time.Millisecond, 10 * time.Millisecond
	run(wire.Recursive, 16, start, each)
	check("second run", wire.Recursive, 10_000, 10, 64)
	for range 20 {
		run(wire.Recursive, p.size(wire.Recursive, 1_000_000, 10), start, each)
	}
	check("as long as wanted", wire.Recursive, 1_000_000, 10, 495)
	check("fair share", wire.Recursive, 1000, 10, 67)
	for n := range 8 { // a few short ones at an end do not change what is known
		run(wire.Recursive, 8-n, start, each)
	}
	check("worth the start", wire.Recursive, 100, 10, 15)
	check("worth the start, last", wire.Recursive, 0, 1, 15)
	check("another kind", wire.Shallow, 10_000, 10, firstBatch)

	for range 5 {
		run(wire.Recursive, 1, start, time.Hour)
	}
	check("large ones", wire.Recursive, 10_000, 10, 1)
	p = newPace(5*time.Second, 3)
	check("bounded", wire.Shallow, 10_000, 1, 3)
}
