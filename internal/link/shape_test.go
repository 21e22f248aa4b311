// SPDX-License-Identifier: LGPL-2.1-or-later

package link

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A new bound counts at once for who waits for the old one, higher or lower.
func TestBoundChanges(t *testing.T) {
	s := newShaper()
	if err := s.wait(t.Context(), 1<<40); err != nil { // nothing bounds it
		t.Fatal(err)
	}
	s.set(1)
	done := make(chan error, 1)
	go func() { done <- s.wait(t.Context(), 1<<20) }()
	s.set(2) // so many bytes would take days
	s.set(1 << 30)
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.set(1)
	lost := errors.New("lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { done <- s.wait(ctx, 1<<20) }()
	eventually(t, "it waits", func() bool { cancel(lost); return true })
	if err := <-done; !errors.Is(err, lost) {
		t.Error(err)
	}
	if s.waited() == 0 || s.waited() != 0 {
		t.Error("how long it has waited is not told once")
	}
}

func TestBoundHolds(t *testing.T) {
	s := newShaper()
	s.set(1 << 20)
	began := time.Now()
	for range 8 {
		if err := s.wait(t.Context(), s.most()); err != nil {
			t.Fatal(err)
		}
	}
	// Eight tenths of a second's bytes, none of them for nothing.
	if took := time.Since(began); took < 700*time.Millisecond {
		t.Errorf("took %v", took)
	}
}
