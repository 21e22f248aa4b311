// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// features counts the ways in which a session has spread its work, the faults by their names, and the rounds in which
// nothing was to be said.
type features map[string]int

const (
	cut       = "paths cut"
	handed    = "runs stopped for a cut"
	shared    = "runs shared"
	ranges    = "ranges sent"
	leftovers = "deletions after ranges"
	batches   = "paths sent with others"
	beside    = "paths sent by the master"
	beyond    = "paths beyond the window"
	chosen    = "depths chosen"
	quiet     = "rounds without an alarm"
	unheard   = "faults that came too late"
)

// features reads the counts from the log and the report.
func (r *run) features() features {
	r.t.Helper()
	log := r.text()
	used := features{}
	for feature, message := range map[string]string{
		cut: ` event=cut `, handed: ` event=handed-back `, shared: ` event=shared\b`, chosen: ` event=depth `,
		ranges: ` is sending .* path="?r_`, leftovers: ` is sending .* path="?d_`,
	} {
		used[feature] = len(regexp.MustCompile(message).FindAllString(log, -1))
	}
	file, err := os.Open(r.report)
	r.must(err)
	defer file.Close()
	for lines := json.NewDecoder(file); lines.More(); {
		var line struct {
			Type, Who     string
			Batch, Queued int
		}
		r.must(lines.Decode(&line))
		switch line.Type {
		case "path":
			if line.Batch > 1 {
				used[batches]++
			}
			if r.options.Leads > 0 && strings.HasPrefix(line.Who, "127.0.0.1:") {
				used[beside]++
			}
		case "total":
			if r.options.Window > 0 {
				used[beyond] = max(0, line.Queued-r.options.Window)
			}
		}
	}
	return used
}

// TestSpread has rounds in which each way to spread the work is taken, whatever else the machine
// does: what has to be slow is bounded by itself.
func TestSpread(t *testing.T) {
	slowly := func(o *options) {
		o.Auto, o.Flat, o.Window, o.Slow, o.MaxDelete, o.Exclude = false, 0, 0, 50, 0, ""
		o.Idle, o.After, o.Settle = 30*time.Millisecond, 150*time.Millisecond, 100*time.Millisecond
	}
	for _, c := range []struct {
		name  string
		seed  uint64
		force func(*options)
		want  []string
	}{
		{"one source and one destination, paths in work", 8, func(o *options) {
			slowly(o)
			o.Depth, o.Batch, o.Leads, o.Jobs, o.Slots = 1, 1, 4, nil, []int{4}
		}, []string{cut, handed, beside}},
		{"changes while paths are cut", 13, func(o *options) {
			slowly(o)
			o.Depth, o.Batch, o.Leads, o.Jobs, o.Slots = 1, 1, 2, []int{4}, []int{4, 2}
		}, []string{cut, handed}},
		{"lists that are shared", 4, func(o *options) {
			slowly(o)
			o.Slow, o.Late, o.Prefetch = 100, true, 0
			o.Depth, o.Batch, o.Leads, o.Jobs, o.Slots = 4, 0, 0, []int{2, 2}, []int{1, 3}
		}, []string{shared, batches}},
		{"ranges, deletions, a narrow window", 18, func(o *options) {
			o.Auto, o.Depth, o.Delete, o.Batch, o.Window, o.Flat, o.Leads = false, 4, true, 5, 4, 6, 2
		}, []string{ranges, leftovers, beyond, batches, beside}},
		{"changes, ranges, a depth that is found", 3, func(o *options) {
			o.Auto, o.Batch, o.Window, o.Flat, o.Leads, o.Jobs = true, 2, 5, 5, 0, []int{3}
		}, []string{chosen, ranges, beyond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// What a session does at once depends on the machine, too: one of a few rounds has to show it.
			const rounds = 6
			for i := range uint64(rounds) {
				var missing []string
				t.Run(fmt.Sprint("round ", i), func(t *testing.T) {
					used := round(t, c.seed+100*i, func(o *options) {
						c.force(o)
						o.Extra, o.DryRun = nil, false // where there are rules nothing is sent in ranges
					}, noFault)
					missing = slices.DeleteFunc(slices.Clone(c.want), func(feature string) bool { return used[feature] > 0 })
				})
				if len(missing) == 0 {
					return
				}
				if i == rounds-1 {
					t.Errorf("%s: in none of the rounds, so they tested something else", missing)
				}
			}
		})
	}
}
