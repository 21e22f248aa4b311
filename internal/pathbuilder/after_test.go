// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"os"
	"slices"
	"testing"
)

// A walk that begins after an entry gives what the whole walk gives after it.
func TestAfter(t *testing.T) {
	base := tree(t, "a/b/c/", "a/b-/", "a-b/x/y/z/", "a.b/", "b/", "b/\n/", "c/1/2/3/4/", "f", "z/a/", "z/b/", "z/b0/", "link -> a")
	for _, opts := range []Options{
		{Base: base, Depth: 0}, {Base: base, Depth: 1}, {Base: base, Depth: 2}, {Base: base, Depth: 9},
		{Base: base, Depth: 1, Subpaths: []string{"1_a", "2_c"}},
		{Base: base, Depth: 1, Deeper: func(path string) bool { return path == base+"/z" || path == base+"/a" }},
	} {
		var all []Entry
		if err := Walk(t.Context(), opts, func(e Entry) error { all = append(all, e); return nil }); err != nil {
			t.Fatal(err)
		}
		for i, e := range all {
			opts.After = e
			var rest []Entry
			if err := Walk(t.Context(), opts, func(e Entry) error { rest = append(rest, e); return nil }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(rest, all[i+1:]) {
				t.Errorf("depth %d, after %q: %v, want %v", opts.Depth, e.Path, rest, all[i+1:])
			}
		}
	}
}

// What the walk was at may be gone when it goes on, or be unreadable.
func TestAfterWhatIsGone(t *testing.T) {
	base := tree(t, "a/x/", "b/x/", "b/y/", "c/x/")
	after := func(e Entry) (rest []Entry) {
		if err := Walk(t.Context(), Options{Base: base, Depth: 2, After: e}, func(e Entry) error { rest = append(rest, e); return nil }); err != nil {
			t.Fatal(err)
		}
		return rest
	}
	if err := os.RemoveAll(base + "/b/x"); err != nil {
		t.Fatal(err)
	}
	want := []Entry{{base + "/b/y", true}, {base + "/c", false}, {base + "/c/x", true}}
	if got := after(Entry{base + "/b/x", true}); !slices.Equal(got, want) {
		t.Errorf("the entry is gone: %v, want %v", got, want)
	}
	if err := os.RemoveAll(base + "/b"); err != nil {
		t.Fatal(err)
	}
	if got := after(Entry{base + "/b/x", true}); !slices.Equal(got, want[1:]) {
		t.Errorf("its parent is gone: %v, want %v", got, want[1:])
	}
	if err := Walk(t.Context(), Options{Base: base, Depth: 1, After: Entry{Path: "/elsewhere"}}, func(Entry) error { return nil }); err == nil {
		t.Error("no error for an entry outside of the base")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Walk(ctx, Options{Base: base, Depth: 1, After: Entry{base + "/a", true}}, func(Entry) error { return nil }); err == nil {
		t.Error("no error for a walk that was ended")
	}
}
