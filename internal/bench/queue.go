// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"errors"
	"strings"
)

// queueRate is one line of the benchmark of the queue.
type queueRate struct {
	name    string   // "jobs=8, batch=10"
	figures []string // value and unit by turns
}

// queue runs the benchmark that package zkclient has of its queue. It needs the source: the current directory is its root.
func (b *bench) queue(ctx context.Context) ([]queueRate, error) {
	text, err := b.command(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkQueue$", "./internal/zkclient")
	if err != nil {
		return nil, err
	}
	rates := queueRates(text)
	if len(rates) == 0 {
		return nil, errors.New("cannot find the figures of BenchmarkQueue in what go test prints")
	}
	return rates, nil
}

// queueRates reads lines such as "BenchmarkQueue/jobs=8/batch=10-2   4000   123 ns/op   8100 paths/s".
func queueRates(text string) []queueRate {
	var rates []queueRate
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		name, found := strings.CutPrefix(fields[0], "BenchmarkQueue/")
		if !found {
			continue
		}
		name, _, _ = strings.Cut(name, "-") // the number of cores
		rates = append(rates, queueRate{name: strings.ReplaceAll(name, "/", ", "), figures: fields[2:]})
	}
	return rates
}
