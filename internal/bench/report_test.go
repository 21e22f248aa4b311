// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// waitForNumber waits until a file holds a number and gives it back.
func waitForNumber(t *testing.T, file string) int {
	t.Helper()
	for range 500 {
		text, _ := os.ReadFile(file)
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("nothing in %s", file)
	return 0
}

func TestSpread(t *testing.T) {
	for want, values := range map[string][]float64{
		"1.42":                  {1.423},
		"1.50 (1.00–2.00)":      {1, 2},
		"15.2 (9.99–1,234)":     {9.99, 15.16, 1234},
		"16.0 (1.00–1,234,568)": {1, 15, 17, 1234567.8},
	} {
		if got := spread(values); got != want {
			t.Errorf("%v: %s, want %s", values, got, want)
		}
	}
}

func TestQueueRates(t *testing.T) {
	got := queueRates(`goos: linux
BenchmarkQueue/jobs=8/batch=1-2         	    1000	   1021031 ns/op	       979.4 paths/s
BenchmarkQueue/batch=100         	    9000	     21031 ns/op	     47000 paths/s
BenchmarkQueue/batch=broken
PASS
`)
	want := []queueRate{
		{"jobs=8, batch=1", []string{"1021031", "ns/op", "979.4", "paths/s"}},
		{"batch=100", []string{"21031", "ns/op", "47000", "paths/s"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(queueRate{})); diff != "" {
		t.Error(diff)
	}
}

// The tables show medians, ratios the right way round, and rates.
func TestReport(t *testing.T) {
	b := &bench{options: options{rounds: 3, depth: "3"}, samples: samples{}}
	three := func(k key, operations float64, seconds ...float64) {
		for _, s := range seconds {
			b.samples.add(k, sample{s, s / 4, operations})
		}
	}
	three(key{"T1", "rsync", 1, false, false}, 0, 0.5, 0.4, 0.6)
	three(key{"T1", "fpsync", 2, false, false}, 0, 17, 17, 17)
	three(key{"T1", "zkrsync", 2, false, false}, 0, 1.25, 1.5, 1)
	three(key{"T2", "rsync", 1, false, false}, 16000, 20, 21, 19)
	three(key{"T2", "rsync", 1, true, false}, 6000, 8, 8, 8)
	three(key{"T2", "fpsync", 8, false, false}, 17000, 16, 16, 16)
	three(key{"T2", "fpsync", 8, true, false}, 12000, 16, 16, 16)
	three(key{"T2", "zkrsync", 1, false, false}, 16500, 24, 24, 24)
	three(key{"T2", "zkrsync", 8, false, false}, 16700, 4, 4, 4)
	three(key{"T2", "zkrsync", 8, true, false}, 6100, 2, 2, 2)
	for _, k := range []key{{"T1", "rclone", 2, false, false}, {"T2", "rclone", 8, false, false}, {"T2", "rclone", 8, true, false}} {
		three(k, 0, 5)
	}
	for _, other := range []string{"fpsync", "rclone"} {
		for _, k := range []key{{"T3", other, 2, false, false}, {"T3", other, 2, true, false}, {"T3", other, 2, true, true}} {
			three(k, 0, 60)
		}
	}
	three(key{"T3", "rsync", 1, false, false}, 0, 30, 30, 30)
	three(key{"T3", "rsync", 1, true, false}, 0, 10, 10, 10)
	three(key{"T3", "rsync", 1, true, true}, 0, 4, 4, 4)
	three(key{"T3", "zkrsync", 2, false, false}, 0, 15, 15, 15)
	three(key{"T3", "zkrsync", 2, true, false}, 0, 8, 8, 8)
	three(key{"T3", "zkrsync", 2, true, true}, 0, 6, 6, 6)
	for i, walker := range walkers {
		three(key{tree: "wide", tool: walker}, 0, float64(i+1))
		three(key{tree: "T2", tool: walker}, 1200, 0.5/float64(i+1))
	}
	r := report{
		bench: b, machine: "2 cores", loads: "0.10 and 1.90", jobs: []int{1, 8},
		disk: &tree{name: "T1", dirs: 611, files: 4888}, slow: &tree{name: "T2", at: "/t2", dirs: 611, files: 4888},
		more: []*tree{{name: "T3", dirs: 20000, files: 1000000}},
		wide: &tree{name: "wide", dirs: 5220}, queue: queueRates("BenchmarkQueue/batch=10-2 5 20 ns/op 8000 paths/s"), took: 400 * time.Second,
	}
	got := r.String()
	for _, want := range []string{
		"Machine: 2 cores. Load before and after: 0.10 and 1.90.",
		"T1: 4,888 files of 1 kB in 611 directories",
		"All of it took 6m40s.",
		"\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
		"| one `rsync -a`, local | 0.50 (0.40–0.60) | 1.00 | 0.12 | 20.0 (19.0–21.0) | 1.00 | 5.00 | 8.00 (8.00–8.00) | 1.00 | 2.00 |",
		"| fpsync, 100 files each, 2 / 8 | 17.0 (17.0–17.0) | 34.0 | 4.25 | 16.0 (16.0–16.0) | 0.80 | 4.00 | 16.0 (16.0–16.0) | 2.00 | 4.00 |",
		"| **zkrsync, 2 / 8** | 1.25 (1.00–1.50) | 2.50 | 0.31 | 4.00 (4.00–4.00) | 0.20 | 1.00 | 2.00 (2.00–2.00) | 0.25 | 0.50 |",
		"| T3: 1,000,000 files, 20,000 directories; zkrsync, 2 | 15.0 (15.0–15.0) | 0.50 | 3.75 | 8.00 (8.00–8.00) | 0.80 | 2.00 | 6.00 (6.00–6.00) | 1.50 | 1.50 |",
		"| rclone, 2 / 8 | 5.00 | 10.0 | 1.25 |",
		"; fpsync, 2 | 60.0 | 2.00 | 15.0 |",
		"| zkrsync, 8 | 4.00 (4.00–4.00) | 6.00 | 5.00 | 1.00 | 16,700 |",
		"| one rsync | 20.0 (19.0–21.0) |  | 1.00 | 5.00 | 16,000 |",
		"| `find -type d` | 5,220 | 1.00 | 1,222 | 1.00 | 1,200 |",
		"| **zkrsync's walk** | 1,740 | 0.33 | 3,666 | 3.00 | 1,200 |",
		"| Queue: jobs at once, most paths a batch | ns/op | paths/s |",
		"| batch=10 | 20 | 8000 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}
