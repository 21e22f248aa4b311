// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"strings"
	"testing"
	"time"
)

func TestFormatLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59*time.Second + 400*time.Millisecond: "59s", 59*time.Second + 600*time.Millisecond: "1m00s",
		2*time.Hour + 5*time.Minute + 59*time.Second: "2h05m", 98*time.Hour + time.Minute: "4d02h",
	} {
		if got := FormatLength(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

func TestFormatDecimal(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.04: "0.0", 9.94: "9.9", 10: "10", 1234.9: "1,234"} {
		if got := FormatDecimal(n); got != want {
			t.Errorf("%v is %s, want %s", n, got, want)
		}
	}
}

// A guess has a range, and what is not known is not said. Nothing is rounded up to all.
func TestFormatEstimate(t *testing.T) {
	for _, c := range []struct {
		e          Estimate
		done, left string
	}{
		{Estimate{Guess: true}, "", ""},
		{Estimate{By: ByPaths, Guess: true, Percent: Range{38.2, 47}, Seconds: &Range{3600, 7500}}, "~42 % (38 to 47)", "~1h32m (1h00m to 2h05m)"},
		{Estimate{By: ByPaths, Guess: true, Percent: Range{99.9, 99.9}, Seconds: &Range{1, 1.2}}, "~99 %", "~1s"},
		{Estimate{By: ByWalk, Guess: true, Percent: Range{0.1, 0.4}, Seconds: &Range{60, 1e12}}, "<1 %", "~1000d00h (1m00s to 1000d00h)"},
		{Estimate{By: ByPaths, Percent: Range{100, 100}}, "100 %", ""},
	} {
		if done, left := c.e.Done(), c.e.Left(); done != c.done || left != c.left {
			t.Errorf("%+v: %q and %q, want %q and %q", c.e, done, left, c.done, c.left)
		}
	}
}

func TestLine(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	s := &Snapshot{
		Time: now, State: Running, Began: now.Add(-time.Hour), Paths: Paths{Queued: 4000, Remaining: 2500, Failed: 3},
		Totals: Totals{Files: 123456, Sent: 8_600_000_000}, Rates: Rates{Now: 340_000_000},
		Estimate: Estimate{By: ByPaths, Guess: true, Percent: Range{38, 47}, Seconds: &Range{3600, 3600}},
		Clients: []Client{
			{Who: "m:1", Master: true}, {Who: "a:1", Source: &Source{Jobs: 4, Busy: 3}},
			{Who: "b:1", Dest: &Destination{Slots: 8, Busy: 3}}, {Who: "b:2", Dest: &Destination{Slots: 1}},
		},
	}
	want := "~42 % (38 to 47), 1,500 of 4,000 paths, 123,456 files, 8.6 GB, 340 MB/s, 1h00m, ~1h00m left, 1 source, 3 of 9 slots, 3 failed"
	if got := s.Line(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	s.State, s.Waits = Still, []Wait{{For: "bytes", Since: now.Add(-48 * time.Hour)}, {For: "an \x1b[31mescape"}}
	s.Estimate = Estimate{Guess: true}
	got := s.Line()
	if !strings.HasPrefix(got, "1,500 of 4,000 paths, ") || !strings.Contains(got, "standing still: nothing moves since 2026-05-0") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}
