// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"log/slog"
	"runtime"
	"testing"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/guard"
)

// What a leader remembers of a million directories for the next walk.
func TestMemoryOfStamps(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := newSurvey(nil, Config{}, nil, 0, slog.New(slog.DiscardHandler))
	for i := range uint64(1_000_000) {
		s.fresh(pathbuilder.Found{Stamp: i * 0x9e3779b97f4a7c15})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 40<<20 {
		t.Errorf("%d bytes for a million directories", grown)
	}
	runtime.KeepAlive(s)
}

// What has another inode and the time that it had may have been exchanged, unless most directories have.
func TestOtherInodes(t *testing.T) {
	base, err := guard.NewBase(guard.Config{Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		same, other, want int // directories; how many of them are to be sent again
		inodeless         bool
	}{
		"at rest":      {100, 0, 0, false},
		"one":          {100, 1, 1, false},
		"a half":       {50, 50, 50, false},
		"all":          {0, 100, 0, true},
		"but the base": {1, 3, 0, true},
		"nearly all":   {10, 90, 0, true},
		"very many":    {1, 2 * enoughHeld, 0, true},
		"the base":     {0, 1, 0, true},
	} {
		s := newSurvey(base, Config{}, nil, 0, slog.New(slog.DiscardHandler))
		sent := 0
		r := &renumbered{survey: s, open: true, emit: func(pathbuilder.Found) error { sent++; return nil }}
		for i := range uint64(c.same + c.other) {
			s.fresh(pathbuilder.Found{Stamp: i, Inode: 7})
		}
		for i := range uint64(c.same + c.other) {
			found := pathbuilder.Found{Stamp: i, Inode: 7}
			if int(i) >= c.same {
				found.Inode = 8
			}
			if err := r.take(found); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.take(pathbuilder.Found{Stamp: 1 << 40}); err != nil { // a new one
			t.Fatal(err)
		}
		if err := r.decide(); err != nil {
			t.Fatal(err)
		}
		if sent != c.want+1 || s.inodeless != c.inodeless {
			t.Errorf("%s: %d sent, want %d; %v", what, sent, c.want+1, s.inodeless)
		}
	}
}
