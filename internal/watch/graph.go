// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"strings"
	"time"
)

// history is the rate of the last hours.
type history struct {
	samples []sample
}

type sample struct {
	at   time.Time
	rate float64
}

// maxSamples are those of two hours, with a look every two seconds.
const maxSamples = 3600

func (h *history) add(at time.Time, rate float64) {
	if h.samples = append(h.samples, sample{at, rate}); len(h.samples) > maxSamples {
		h.samples = append(h.samples[:0], h.samples[len(h.samples)-maxSamples*3/4:]...)
	}
}

// spans are how much time a column of the graph can be.
var spans = []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 2 * time.Minute}

// columns are the means of the last width spans, -1 where nothing was seen. The span is the smallest with which all
// that was seen fits.
func (h *history) columns(width int) (means []float64, span time.Duration) {
	means = make([]float64, width)
	for i := range means {
		means[i] = -1
	}
	if len(h.samples) == 0 {
		return means, spans[0]
	}
	last := h.samples[len(h.samples)-1].at
	age := last.Sub(h.samples[0].at)
	for _, span = range spans {
		if age < span*time.Duration(width) {
			break
		}
	}
	// Columns begin at multiples of the span, so that a mean does not change while it moves on.
	end := last.Truncate(span).Add(span)
	sums, counts := make([]float64, width), make([]int, width)
	for _, s := range h.samples {
		if i := width - 1 - int((end.Sub(s.at)-1)/span); i >= 0 && i < width { // the clock may have been set back
			sums[i] += s.rate
			counts[i]++
		}
	}
	known := -1
	for i := range means {
		switch {
		case counts[i] > 0:
			means[i], known = sums[i]/float64(counts[i]), i
		case known >= 0 && i-known <= int(missing/span): // a look that came a little late leaves no gap
			means[i] = means[known]
		}
	}
	return means, span
}

// missing is how long nothing has to be seen to leave a gap.
const missing = 6 * time.Second

const blocks = " ▁▂▃▄▅▆▇█"

// graph draws columns in so many lines, from the top.
func graph(means []float64, most float64, height int) []string {
	steps := []rune(blocks)
	rows := make([]string, height)
	for row := range rows {
		var b strings.Builder
		for _, mean := range means {
			eighths := 0
			if most > 0 && mean > 0 {
				eighths = max(1, int(mean/most*float64(8*height)+0.5))
			}
			b.WriteRune(steps[max(0, min(eighths-8*(height-1-row), 8))])
		}
		rows[row] = b.String()
	}
	return rows
}

// bar shows what is done of a whole: the low end of a range, the high one, and the rest.
func bar(width int, low, high float64) (done, perhaps, rest string) {
	a := int(float64(width) * low / 100)
	b := max(a, min(int(float64(width)*high/100+0.5), width))
	return strings.Repeat("█", a), strings.Repeat("▒", b-a), strings.Repeat("░", width-b)
}
