// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/wire"
)

// Nobody can work on a path before the clock of its stamp has gone on.
func TestPathsSettle(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var stamped time.Time
	f := &feed{life: t.Context(), ledger: &ledger{}, window: 100, source: func(_ context.Context, emit func(wire.Task) error) error {
		stamped = time.Now()
		return emit(wire.DirTask(pathbuilder.Entry{Path: dir + "/a", Recursive: true}))
	}}
	f.start()
	defer f.close()
	if more, err := f.next(t.Context()); !more || err != nil {
		t.Fatal(more, err)
	}
	if got := f.settled.Sub(stamped); got < pathbuilder.Settle {
		t.Errorf("a path may be queued %v after its stamp, want %v", got, pathbuilder.Settle)
	}
	f.settled = time.Now().Add(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.put(ctx, nil); !errors.Is(err, context.DeadlineExceeded) { // with no ZooKeeper it could not
		t.Errorf("a path was queued, %v", err)
	}

	base, err := guard.NewBase(guard.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	survey := newSurvey(base, Config{Depth: 1}.withDefaults(), func() bool { return false }, time.Second, log)
	s := newSplitter(&ledger{}, nil, survey, queues{}, wire.Tree{}, nil, true, log)
	began := time.Now()
	cut, err := s.prepare(t.Context(), "", []byte("1_"+dir))
	if err != nil || len(cut.pieces) != 4 {
		t.Fatalf("%+v, %v", cut, err)
	}
	if took := time.Since(began); took < pathbuilder.Settle {
		t.Errorf("pieces are ready %v after their stamps, want %v", took, pathbuilder.Settle)
	}
}
