// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"vsc-zk/internal/testtree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOptions(t *testing.T) {
	o, err := parse([]string{"-rounds=5", "-quick", "-dir=/a/../b", "-bin=/c"})
	if err != nil || o.rounds != 5 || !o.quick || o.dir != "/b" || o.bin != "/c" || !filepath.IsAbs(o.examples) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"-rounds=0", "-rounds=101", "more"} {
		if _, err := parse([]string{bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// Whatever a program has started in its group ends with it.
func TestCommandEndsTheGroup(t *testing.T) {
	b := &bench{work: t.TempDir(), most: time.Minute, grace: 200 * time.Millisecond}
	for name, script := range map[string]string{
		"leaves at SIGTERM":   `sleep 60 & echo $! >PID; wait`,
		"ignores SIGTERM":     `trap "" TERM; sleep 60 & echo $! >PID; wait`,
		"leaves a child":      `(trap "" TERM; exec sleep 60) & echo $! >PID; wait`,
		"is a single sleeper": `echo $$ >PID; exec sleep 60`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			stopped := errors.New("stopped by the test")
			ctx, stop := context.WithCancelCause(t.Context())
			ended := make(chan error)
			go func() {
				_, err := b.command(ctx, "sh", "-c", strings.ReplaceAll(script, "PID", file))
				ended <- err
			}()
			pid := waitForNumber(t, file)
			stop(stopped)
			if err := <-ended; !errors.Is(err, stopped) {
				t.Errorf("the error is %v", err)
			}
			for range 100 {
				if gone(pid) {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Error("a process is left")
			syscall.Kill(pid, syscall.SIGKILL)
		})
	}
}

// gone says whether a process has ended, waited for or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestCommandTellsWhy(t *testing.T) {
	b := &bench{work: t.TempDir(), most: time.Minute, grace: time.Second}
	out, err := b.command(t.Context(), "sh", "-c", "echo one; echo two >&2")
	if out != "one\ntwo\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	_, err = b.command(t.Context(), "sh", "-c", "echo reason; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "reason") {
		t.Errorf("the error is %v", err)
	}
	b.most = 50 * time.Millisecond
	_, err = b.command(t.Context(), "sleep", "60")
	if err == nil || !strings.Contains(err.Error(), "did not end within") {
		t.Errorf("the error is %v", err)
	}
	if left, err := os.ReadDir(b.work); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// Both of this program's own walkers list what find does.
func TestList(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := testtree.MakeTree(dir, testtree.TreeOptions{Fanout: []int{2, 2}, Files: 1}); err != nil {
		t.Fatal(err)
	}
	want := []string{"", "/dir000", "/dir000/dir000", "/dir000/dir001", "/dir001", "/dir001/dir000", "/dir001/dir001", ""}
	for _, walker := range []string{"WalkDir", "Walk"} {
		var out strings.Builder
		if err := list(t.Context(), walker, dir, &out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, strings.Split(strings.ReplaceAll(out.String(), dir, ""), "\n")); diff != "" {
			t.Errorf("%s:\n%s", walker, diff)
		}
	}
}

func TestDifferentCopyIsSeen(t *testing.T) {
	var dirs [2]string
	for i := range dirs {
		dirs[i] = filepath.Join(t.TempDir(), "tree")
		if err := testtree.MakeTree(dirs[i], testtree.TreeOptions{Fanout: []int{2}, Files: 2, Size: 10}); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{work: t.TempDir(), most: time.Minute, grace: time.Second}
	same := func(part bool) bool { return b.same(t.Context(), dirs[0], dirs[1], part) == nil }
	if !same(false) || !same(true) {
		t.Error("two that are the same differ")
	}
	if err := os.Chmod(filepath.Join(dirs[1], "dir000"), 0o700); err != nil {
		t.Fatal(err)
	}
	if same(false) || !same(true) {
		t.Error("a mode is another: that counts unless it is not copied")
	}
	if err := os.Remove(filepath.Join(dirs[1], "dir001", "file001")); err != nil {
		t.Fatal(err)
	}
	if same(true) {
		t.Error("a file is missing, and nothing is said")
	}
}
