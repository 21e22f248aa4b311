// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"log/slog"
	"runtime"
	"testing"

	"vsc-zk/internal/pathbuilder"
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
