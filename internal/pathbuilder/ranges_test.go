// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

// oddFiles are names in their order.
func oddFiles() []string {
	names := []string{"\x01", "\n", "\n\n", " ", "-x", "1_x", "A", "a", "a\nb", "aa", "b", "é", "\xfe", "\xff", "\xff\xff", "#c", ";c", `back\`,
		strings.Repeat("a", 255), strings.Repeat("\xff", 255), "dead -> nowhere", "in -> dir", "up -> .."}
	for i := range 300 {
		names = append(names, fmt.Sprintf("file%d", i))
	}
	return names
}

func namesIn(t *testing.T, tree *Tree, rel string, r Range) []string {
	t.Helper()
	var got []string
	if err := tree.NamesIn(t.Context(), rel, r, func(name string) error { got = append(got, name); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

// Every name is in exactly one range, also one that comes later; the ranges are in order and differ
// by one name.
func TestRanges(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		files := oddFiles()
		base := tree(t, append(files, "dir/x", "\xfe\xfe/", "file/")...)
		for i, f := range files {
			files[i], _, _ = strings.Cut(f, " -> ")
		}
		slices.Sort(files)
		for _, names := range []int{1, 2, 7, 100, len(files) - 1, len(files), 1_000_000} {
			ranges, err := Ranges(t.Context(), base, names)
			if err != nil {
				t.Fatal(err)
			}
			if want := (len(files) + names - 1) / names; len(ranges) != want {
				t.Errorf("%d names in ranges of %d: %d ranges, want %d", len(files), names, len(ranges), want)
			}
			var all []string
			from := ""
			for i, r := range ranges {
				got := namesIn(t, open(base), "", r)
				if least := len(files) / len(ranges); len(got) != least && len(got) != least+1 {
					t.Errorf("range %d of %d has %d names", i, len(ranges), len(got))
				}
				if r.From != from || (r.To == "") != (i == len(ranges)-1) {
					t.Errorf("range %d of %d is %q after %q", i, len(ranges), r, from)
				}
				all, from = append(all, got...), r.To
			}
			equal(t, fmt.Sprint("names in ranges of ", names), all, files)
		}
	})
}

func TestRangesOfNothing(t *testing.T) {
	base := tree(t, "empty/", "dirs/a/", "dirs/b/", "one/\xff", "link -> one")
	for path, want := range map[string]int{"/empty": 1, "/dirs": 1, "/one": 1, "/link": 1} {
		for _, names := range []int{-1, 0, 1, 2} {
			ranges, err := Ranges(t.Context(), base+path, names)
			if err != nil || len(ranges) != want || ranges[0] != (Range{}) {
				t.Errorf("Ranges(%s, %d): %q, %v", path, names, ranges, err)
			}
		}
	}
	for path, want := range map[string]error{"/gone\n": fs.ErrNotExist, "/one/\xff": syscall.ENOTDIR} {
		_, err := Ranges(t.Context(), base+path, 1)
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "cannot ") || strings.Contains(err.Error(), "\n") || !utf8.ValidString(err.Error()) {
			t.Errorf("Ranges(%q): %v", path, err)
		}
	}
}

func TestNamesInRefuses(t *testing.T) {
	bothWays(t, func(t *testing.T, open func(string) *Tree) {
		base := tree(t, "a/f", "a/g", "file", "in -> a")
		top := open(base)
		emit := func(name string) error {
			t.Errorf("%q was emitted", name)
			return nil
		}
		for rel, want := range map[string]error{"gone": fs.ErrNotExist, "gone/x": fs.ErrNotExist, "file": syscall.ENOTDIR} {
			if err := top.NamesIn(t.Context(), rel, Range{}, emit); !errors.Is(err, want) {
				t.Errorf("NamesIn(%q): %v", rel, err)
			}
		}
		if err := top.NamesIn(t.Context(), "in", Range{}, emit); !errors.Is(err, syscall.ELOOP) && !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("a link was followed: %v", err)
		}
		stop := &fs.PathError{Op: "stat", Path: "of emit", Err: syscall.EIO}
		if err := top.NamesIn(t.Context(), "a", Range{}, func(string) error { return stop }); err != error(stop) {
			t.Errorf("error of emit: %v", err)
		}
		if err := os.RemoveAll(base); err != nil {
			t.Fatal(err)
		}
		for _, rel := range []string{"", "a"} {
			if err := top.NamesIn(t.Context(), rel, Range{}, emit); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a base that has gone makes %q look vanished: %v", rel, err)
			}
		}
	})
}

// With more names than a sample keeps the ranges are about as long as asked for.
func TestRangesOfSample(t *testing.T) {
	const total, names = 200_000, 2000
	s := sample{limit: 1 << 12}
	for i := range total {
		s.add(fmt.Appendf(nil, "%06d", i))
	}
	ranges := s.ranges(names)
	if len(s.names) != 1<<12 || len(ranges) != total/names {
		t.Fatalf("%d kept, %d ranges", len(s.names), len(ranges))
	}
	at := func(cut string) (n int) {
		fmt.Sscanf(cut, "%d", &n)
		return n
	}
	for i, r := range ranges {
		to := total
		if r.To != "" {
			to = at(r.To)
		}
		// 41 of the sample are in each: six deviations are 96 %.
		if got := to - at(r.From); got < 1 || got > 2*names {
			t.Errorf("range %d, %q, has %d names", i, r, got)
		}
	}
	if n := len(s.ranges(1)); n != 1<<12/perRange {
		t.Errorf("%d ranges of single names", n)
	}
}

func TestRangesStop(t *testing.T) {
	var names []string
	for i := range chunk + 10 {
		names = append(names, fmt.Sprint(i))
	}
	base := tree(t, names...)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	cancel(stop)
	if _, err := Ranges(ctx, base, 10); err != stop {
		t.Errorf("Ranges: %v", err)
	}
	tree, err := OpenTree(base)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.NamesIn(ctx, "", Range{}, func(string) error { return nil }); err != stop {
		t.Errorf("NamesIn: %v", err)
	}
}
