// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/wire"
)

// What is newly mounted in the source is no part of it where rsync may delete: neither a walk nor a cut makes paths of it.
func TestNewMountsAreNotQueued(t *testing.T) {
	for _, del := range []bool{true, false} {
		dir := t.TempDir()
		for _, name := range []string{"a/x", "b/x", "b2", "c"} {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		base, err := guard.NewBase(guard.Config{Path: dir, Delete: del})
		if err == nil {
			_, err = guard.NewSource(t.Context(), base)
		}
		if err == nil {
			err = syscall.Mount("none", dir+"/b", "tmpfs", 0, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Unmount(dir+"/b", syscall.MNT_DETACH) })
		if err := os.Mkdir(dir+"/b/mounted", 0o755); err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.DiscardHandler)
		survey := newSurvey(base, Config{Depth: 1}.withDefaults(), func() bool { return false }, time.Second, log)
		var walked []string
		err = survey.walk(t.Context(), round{first: true}, func(task wire.Task) error {
			walked = append(walked, string(task.Value))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		cut, err := newSplitter(&ledger{}, nil, survey, queues{}, wire.Tree{}, nil, true, log).prepare(context.Background(), "", []byte("1_"+dir))
		if err != nil {
			t.Fatal(err)
		}
		var pieces []string
		for _, task := range cut.pieces {
			pieces = append(pieces, string(task.Value))
		}
		want := []string{"0_" + dir, "1_" + dir + "/a", "1_" + dir + "/b", "1_" + dir + "/b2", "1_" + dir + "/c"}
		if del {
			want = slices.Delete(want, 2, 3)
		}
		if !slices.Equal(walked, want) || !slices.Equal(pieces, want) {
			t.Errorf("delete %v: walked %q, cut into %q, want %q", del, walked, pieces, want)
		}
	}
}
