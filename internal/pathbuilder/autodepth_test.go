// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestAutoDepth(t *testing.T) {
	base := tree(t, "a/b/c/d/e/f/", "a/b2/", "g/", "file", "link -> a", ".snapshots/x/y/z/", "h/.snapshots/x/")
	for want, depth := range map[int]int{
		-1: 1, 0: 1, 1: 1, 4: 1, // base, a, g, h
		5: 2, 6: 2, // b, b2
		7: 3, 8: 4, 9: 5, 10: 6,
		11: 6, 1000: 6,
	} {
		got, err := AutoDepth(t.Context(), Options{Base: base, Exclude: snapshots, Depth: 9, Subpaths: []string{"none"}}, want)
		if err != nil || got != depth {
			t.Errorf("AutoDepth of %d: %d, %v; want %d", want, got, err, depth)
		}
	}
	for _, base := range []string{base + "/g", base + "/.snapshots"} {
		if got, err := AutoDepth(t.Context(), Options{Base: base, Exclude: snapshots}, 10); err != nil || got != 1 {
			t.Errorf("AutoDepth of %s: %d, %v", base, got, err)
		}
	}
	if _, err := AutoDepth(t.Context(), Options{Base: base + "/file"}, 1); err == nil || !strings.HasPrefix(err.Error(), "cannot ") {
		t.Errorf("a base that is a file: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	cancel(stop)
	if _, err := AutoDepth(ctx, Options{Base: base}, 10); err != stop {
		t.Errorf("ended context: %v", err)
	}
}

func TestAutoDepthOfChain(t *testing.T) {
	base := tree(t, strings.Repeat("d/", 70))
	for want, depth := range map[int]int{50: 49, 65: 64, 66: 64, 1000: 64} {
		if got, err := AutoDepth(t.Context(), Options{Base: base}, want); err != nil || got != depth {
			t.Errorf("AutoDepth of %d: %d, %v; want %d", want, got, err, depth)
		}
	}
}

// The walk says what the depth should have been.
func TestAutoDepthAgainstWalk(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		opts := Options{Base: oddTree(t, rnd, rnd.IntN(100))[0], Exclude: snapshots, Walkers: 1 + rnd.IntN(9)}
		if rnd.IntN(2) == 0 {
			opts.ExcludeUser = "daemon"
		}
		want := 1 + rnd.IntN(80)
		got, err := AutoDepth(t.Context(), opts, want)
		if err != nil {
			t.Fatal(err)
		}
		entries := func(depth int) int {
			opts.Depth = depth
			return len(found(t, opts))
		}
		switch n := entries(got); {
		case got > 1 && entries(got-1) >= want:
			t.Errorf("seed %d: depth %d, but %d is enough for %d", seed, got, got-1, want)
		case n < want && entries(got+1) != n:
			t.Errorf("seed %d: depth %d has %d entries, and there are more below", seed, got, n)
		}
	}
}
