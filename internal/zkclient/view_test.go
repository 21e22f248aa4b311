// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func idle(string) bool { return false }

// empty takes all names out of v, n at a time.
func empty(v *view, n int) [][]string {
	var out [][]string
	for names := v.pick(n, idle); len(names) > 0; names = v.pick(n, idle) {
		for _, name := range names {
			v.remove(name)
		}
		out = append(out, names)
	}
	return out
}

func numbered(priority, from, to int) []string {
	var names []string
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprintf("entry-%03d-%010d", priority, i))
	}
	return names
}

// What is free comes by priority. The number, which is one series for all priorities, does not
// order entries by itself.
func TestFree(t *testing.T) {
	v := view{buckets: free([]string{
		"entry-100-0000000000", "entry-050-0000000002", "entry-100-0000000001", "entry-999-0000000003", "entry-050-0000000004",
	}, []string{"entry-100-0000000000", "entry-100-0000000009"})}
	var order []string
	for _, names := range empty(&v, 1) {
		order = append(order, names[0][:len("entry-050")])
	}
	if got := strings.Join(order, " "); got != "entry-050 entry-050 entry-100 entry-999" {
		t.Errorf("order: %s", got)
	}
}

// Of equal ones a random one is first, or all consumers would fight for the same.
func TestPickIsRandom(t *testing.T) {
	names := numbered(100, 980, 1030)
	v := view{buckets: free(names, nil)}
	var order []string
	for _, one := range empty(&v, 1) {
		order = append(order, one...)
	}
	if slices.IsSorted(order) {
		t.Error("entries of equal priority come in order")
	}
	if slices.Sort(order); !slices.Equal(order, names) {
		t.Errorf("not each name once: %v", order)
	}
}

// A batch is full as long as there is enough of one priority, and has neighbours, except where it
// goes on at the beginning.
func TestPickNeighbours(t *testing.T) {
	const n = 70
	urgent, normal := numbered(50, 0, 100), numbered(100, 100, 3600)
	v := view{buckets: free(append(slices.Clone(normal), urgent...), nil)}
	var all []string
	for i, names := range empty(&v, n) {
		all = append(all, names...)
		if want := []int{70, 30}; i < 2 && len(names) != want[i] || i >= 2 && len(names) != n {
			t.Fatalf("batch %d has %d names", i, len(names))
		}
		breaks := 0
		for j := range names[1:] {
			if names[j] > names[j+1] {
				breaks++
			}
		}
		if breaks > 1 {
			t.Errorf("batch %d is out of order: %v", i, names)
		}
	}
	if slices.Sort(all); !slices.Equal(all, append(urgent, normal...)) {
		t.Errorf("%d names, not each once", len(all))
	}

	// The first batch of many names is one run of numbers.
	v = view{buckets: free(normal, nil)}
	names := v.pick(n, idle)
	at := slices.Index(normal, names[0])
	for i, name := range names {
		if name != normal[(at+i)%len(normal)] {
			t.Fatalf("name %d behind %s is %s", i, names[0], name)
		}
	}
}

// What is busy is left out, and left in.
func TestPickBusy(t *testing.T) {
	names := append(numbered(50, 0, 2), numbered(100, 2, 6)...)
	v := view{buckets: free(names, nil)}
	held := map[string]bool{names[0]: true, names[1]: true, names[4]: true}
	busy := func(name string) bool { return held[name] }
	got := v.pick(10, busy)
	if slices.Sort(got); !slices.Equal(got, []string{names[2], names[3], names[5]}) {
		t.Errorf("picked %v", got)
	}
	held = map[string]bool{names[1]: true}
	if got = v.pick(10, busy); !slices.Equal(got, names[:1]) {
		t.Errorf("then picked %v", got)
	}
	v.remove("entry-100-0000000099")
	v.remove("entry-999-0000000003")
	for _, name := range names {
		v.remove(name)
	}
	if len(v.buckets) > 0 || v.pick(1, idle) != nil {
		t.Errorf("left: %v", v.buckets)
	}
}
