// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/wire"
)

// What a walk or a cut leaves out as it is to be skipped is told of once, whichever finds it first.
func TestSkippedIsToldOf(t *testing.T) {
	dir := t.TempDir()
	mkdir := func(name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mkdir("a")
	mkdir("b")
	mkdir("c/deep")
	mkdir("c/other")
	mkdir("c/third")
	base, err := guard.NewBase(guard.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	survey := newSurvey(base, Config{Depth: 1}.withDefaults(), func() bool { return false }, time.Second, log)
	survey.skips = &skips{base: base, told: map[string]bool{}}
	base.Skip([]wire.Text{"b", "c/deep", "new"})
	values := func(tasks []wire.Task) (names []string) {
		for _, task := range tasks {
			names = append(names, string(task.Value[:2])+string(task.Value[min(len(dir)+3, len(task.Value)):]))
		}
		return names
	}
	expect := func(what string, tasks []wire.Task, wantKeep, wantOver []string) {
		t.Helper()
		keep, over := survey.skips.sort(tasks)
		if !slices.Equal(values(keep), wantKeep) || !slices.Equal(values(over), wantOver) {
			t.Errorf("%s: queues %q and skips %q, want %q and %q", what, values(keep), values(over), wantKeep, wantOver)
		}
	}
	cut := func() []wire.Task {
		t.Helper()
		c, err := newSplitter(&ledger{}, nil, survey, queues{}, wire.Tree{}, nil, true, log).prepare(t.Context(), "", []byte("1_"+dir+"/c"))
		if err != nil {
			t.Fatal(err)
		}
		return c.pieces
	}
	walk := func(r round) (tasks []wire.Task) {
		t.Helper()
		if err := survey.walk(t.Context(), r, func(task wire.Task) error { tasks = append(tasks, task); return nil }); err != nil {
			t.Fatal(err)
		}
		return tasks
	}
	expect("cut before it is told of", cut(), []string{"0_c", "1_c/other", "1_c/third"}, []string{"1_c/deep"})
	expect("cut after", cut(), []string{"0_c", "1_c/other", "1_c/third"}, nil)
	expect("walk that has to see all", walk(round{whole: true}), []string{"0_", "1_a"}, []string{"1_b"})
	mkdir("new")
	expect("later walk", walk(round{}), []string{"0_"}, []string{"1_new"})
	mkdir("new/er")
	mkdir("b/er")
	expect("last walk", walk(round{}), nil, nil)
}
