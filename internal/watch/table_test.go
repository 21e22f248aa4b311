// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// Text is cut between characters, wide ones too, and never longer than it may be.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		tail  bool
		want  string
	}{
		{"abc", 3, false, "abc"},
		{"abcd", 3, false, "ab…"},
		{"abcd", 3, true, "…cd"},
		{"データ結果", 5, false, "デー…"},
		{"データ結果", 6, false, "デー…"},
		{"データ結果", 5, true, "…結果"},
		{"データ結果", 6, true, "…結果"},
		{"ae\u0301e\u0301z", 2, true, "…z"},
		{"ab", 0, false, ""},
	} {
		if got := cut(c.text, c.width, c.tail); got != c.want {
			t.Errorf("%q in %d columns is %q, want %q", c.text, c.width, got, c.want)
		}
	}
	for width := range 12 {
		for _, text := range []string{"データab結果", "a\u0301データ", "🏔️mountains🏔️", `"\xff\n"`} {
			for _, tail := range []bool{false, true} {
				if got := cut(text, width, tail); ansi.StringWidth(got) > width {
					t.Errorf("%q has more than %d columns: %q", text, width, got)
				}
			}
		}
	}
}

// A column of the graph is the mean of its time; where nothing was seen there is a gap, but none between two looks.
func TestHistory(t *testing.T) {
	var h history
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	if means, _ := h.columns(3); fmt.Sprint(means) != "[-1 -1 -1]" {
		t.Errorf("of nothing: %v", means)
	}
	for i := range 5 {
		h.add(at.Add(time.Duration(2*i)*time.Second), float64(i))
	}
	means, span := h.columns(8)
	if want := "[-1 -1 -1 0 1 2 3 4]"; fmt.Sprint(means) != want || span != 2*time.Second {
		t.Errorf("%v of %v, want %s", means, span, want)
	}
	h.add(at.Add(12*time.Second), 6) // one look is missing
	h.add(at.Add(30*time.Second), 15)
	means, _ = h.columns(16)
	if want := "[0 1 2 3 4 4 6 6 6 6 -1 -1 -1 -1 -1 15]"; fmt.Sprint(means) != want {
		t.Errorf("%v, want %s", means, want)
	}
	h.add(at.Add(-time.Hour), 1) // the clock was set back
	h.columns(16)
	h.samples = h.samples[:1]
	for i := range 3 * maxSamples {
		h.add(at.Add(time.Duration(60+2*i)*time.Second), 8)
	}
	if means, span = h.columns(10); fmt.Sprint(means) != "[8 8 8 8 8 8 8 8 8 8]" || span != 2*time.Minute || len(h.samples) > maxSamples {
		t.Errorf("%v of %v, %d samples", means, span, len(h.samples))
	}
}

func TestGraph(t *testing.T) {
	got := strings.Join(graph([]float64{-1, 0, 1, 8, 12, 16}, 16, 2), "|")
	if want := "    ▄█|  ▁███"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := strings.Join(graph([]float64{0, -1}, 0, 1), "|"); got != "  " {
		t.Errorf("%q", got)
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{{0, 0, "░░░░░░░░░░"}, {38, 47, "███▒▒░░░░░"}, {100, 100, "██████████"}, {99.9, 99.9, "█████████▒"}} {
		done, perhaps, rest := bar(10, c.low, c.high)
		if got := done + perhaps + rest; got != c.want {
			t.Errorf("%v to %v is %s, want %s", c.low, c.high, got, c.want)
		}
	}
}
