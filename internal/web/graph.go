// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// graph is a line over time, in a box of width by height.
type graph struct {
	Title, Now, Max string
	Span            string // how far it goes back
	Line, Area      string // SVG paths
	Width, Height   int
}

// spans are how far graphs go back.
var spans = []time.Duration{5 * time.Minute, 15 * time.Minute, longest}

// draw makes the graph of a history up to now. Where nobody has looked there is a gap.
func draw(title string, history []point, now time.Time, value func(point) float64, format func(float64) string) graph {
	g := graph{Title: title, Width: 600, Height: 100}
	span := longest
	top := 0.0
	for i := len(spans) - 1; i >= 0 && len(history) > 0 && now.Sub(history[0].at) < spans[i]; i-- {
		span = spans[i]
	}
	for _, p := range history {
		top = max(top, value(p))
	}
	top = nice(top)
	g.Max, g.Span = format(top), fmt.Sprintf("%d min", int(span.Minutes()))
	g.Now = format(0)
	if n := len(history); n > 0 {
		g.Now = format(value(history[n-1]))
	}
	x := func(t time.Time) float64 { return float64(g.Width) * (1 - float64(now.Sub(t))/float64(span)) }
	y := func(v float64) float64 { return float64(g.Height) * (1 - v/top) }
	var line, area strings.Builder
	for i := 0; i < len(history); {
		begin := i
		for i++; i < len(history) && history[i].at.Sub(history[i-1].at) < 4*grain; i++ {
		}
		var points strings.Builder
		for _, p := range history[begin:i] {
			fmt.Fprintf(&points, "L%.1f %.1f", x(p.at), y(value(p)))
		}
		first, last := x(history[begin].at), x(history[i-1].at)
		if i == len(history) { // up to now it is as it was last
			last = float64(g.Width)
			fmt.Fprintf(&points, "L%.1f %.1f", last, y(value(history[i-1])))
		}
		fmt.Fprintf(&line, "M%s", points.String()[1:])
		fmt.Fprintf(&area, "M%.1f %d%sL%.1f %dZ", first, g.Height, points.String(), last, g.Height)
	}
	g.Line, g.Area = line.String(), area.String()
	return g
}

// nice is the next number of the form 1, 2 or 5 with noughts behind it.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if v <= n*unit {
			return n * unit
		}
	}
	return 10 * unit
}
