// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"fmt"
	"slices"
)

// key says what was measured.
type key struct {
	tree  string
	tool  string
	jobs  int
	again bool // nothing was left to do
	warm  bool // and the kernel knew all names
}

// sample is one measurement.
type sample struct{ seconds, cpu, operations float64 }

type samples map[key][]sample

func (s samples) add(k key, one sample) { s[k] = append(s[k], one) }

// seconds are those of all rounds, sorted.
func (s samples) seconds(k key) []float64 {
	return s.sorted(k, func(one sample) float64 { return one.seconds })
}

func (s samples) cpu(k key) float64 {
	return median(s.sorted(k, func(one sample) float64 { return one.cpu }))
}

func (s samples) operations(k key) float64 {
	return median(s.sorted(k, func(one sample) float64 { return one.operations }))
}

func (s samples) sorted(k key, figure func(sample) float64) []float64 {
	var all []float64
	for _, one := range s[k] {
		all = append(all, figure(one))
	}
	slices.Sort(all)
	return all
}

// median of sorted values, of which there is at least one.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread is the median with the least and the most: "1.42 (1.30–1.60)".
func spread(sorted []float64) string {
	if len(sorted) == 1 {
		return short(sorted[0])
	}
	return fmt.Sprintf("%s (%s–%s)", short(median(sorted)), short(sorted[0]), short(sorted[len(sorted)-1]))
}

// short shows three digits or all before the point.
func short(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return grouped(v)
}

// grouped shows a whole number, "12,345".
func grouped(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
