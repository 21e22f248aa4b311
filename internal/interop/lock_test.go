// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
)

// contenders waits until n clients hold or wait for the lock.
func contenders(t *testing.T, c *zkclient.Client, lock string, n int) {
	t.Helper()
	until(t, "the contenders are in", func() bool {
		names, err := c.Children(t.Context(), lock)
		if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
			t.Fatal(err)
		}
		return len(names) == n
	})
}

// acquire waits for a lock in the background.
func acquire(ctx context.Context, l *zkclient.Lock) <-chan error {
	done := make(chan error, 1)
	go func() { done <- l.Acquire(ctx) }()
	return done
}

func TestLockHeldByPythonKeepsGoOut(t *testing.T) {
	t.Parallel()
	ctx, c, py, path := limited(t), connect(t), stepped(t), own(t)
	py.Do("lock acquire", Fields{"path": path, "data": "python"})

	lock := c.Lock(path, "go")
	if got, err := lock.TryAcquire(ctx); got || err != nil {
		t.Fatalf("TryAcquire beside a Python holder: %v, %v", got, err)
	}
	contenders(t, c, path, 1)

	done := acquire(ctx, lock)
	contenders(t, c, path, 2)
	select {
	case err := <-done:
		t.Fatalf("Acquire beside a Python holder returned: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	py.Do("lock release", Fields{"path": path})
	ok(t, <-done)
	ok(t, lock.Release(ctx))
	contenders(t, c, path, 0)
}

func TestLockHeldByGoKeepsPythonOut(t *testing.T) {
	t.Parallel()
	ctx, c, py, path := limited(t), connect(t), stepped(t), own(t)
	lock := c.Lock(path, "go")
	ok(t, lock.Acquire(ctx))

	if got := py.Do("lock try", Fields{"path": path, "name": "tried"}); string(got) != "false" {
		t.Fatalf("lock try beside a Go holder: %s", got)
	}
	contenders(t, c, path, 1)

	waiting := py.Begin("lock acquire", Fields{"path": path, "data": "python"})
	contenders(t, c, path, 2)
	if got := string(py.Do("lock contenders", Fields{"path": path})); got != `["go", "python"]` {
		t.Errorf("kazoo sees the contenders %s", got)
	}
	time.Sleep(200 * time.Millisecond)
	if waiting.Answered() {
		t.Fatal("lock acquire beside a Go holder was answered")
	}
	ok(t, lock.Release(ctx))
	if got := waiting.Wait(); string(got) != "true" {
		t.Errorf("lock acquire: %s", got)
	}
	py.Do("lock release", Fields{"path": path})
}

// Two clients of each kind pass the lock round, so that some of either kind wait all the time. The
// judge is a file that is there while the lock is held, and that cannot be made twice.
func TestLockExcludesEachOther(t *testing.T) {
	t.Parallel()
	ctx, path := limited(t), own(t)
	witness := filepath.Join(t.TempDir(), "held")
	const turns = 25
	var calls []*Call
	for range 2 {
		calls = append(calls, stepped(t).Begin("lock cycle",
			Fields{"path": path, "witness": witness, "times": turns, "hold": 0.01}))
	}
	var wait sync.WaitGroup
	for range 2 {
		c := connect(t)
		wait.Go(func() {
			lock := c.Lock(path, "go")
			for turn := range turns {
				if err := lock.Acquire(ctx); err != nil {
					t.Errorf("turn %d: %v", turn, err)
					return
				}
				file, err := os.OpenFile(witness, os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					t.Errorf("turn %d: not alone: %v", turn, err)
				}
				file.Close()
				time.Sleep(5 * time.Millisecond)
				if err := os.Remove(witness); err != nil {
					t.Errorf("turn %d: not alone: %v", turn, err)
				}
				if err := lock.Release(ctx); err != nil {
					t.Errorf("turn %d: %v", turn, err)
					return
				}
			}
		})
	}
	wait.Wait()
	for _, call := range calls {
		call.Wait()
	}
}

// The holder is Python and so is the last in the line, and the Go client between them dies. The
// last one is woken, and must not take that for its turn.
func TestLockWaiterDiesBetweenPythons(t *testing.T) {
	t.Parallel()
	c, path := connect(t), own(t)
	first, last := stepped(t), stepped(t)
	first.Do("lock acquire", Fields{"path": path})
	middle := startHolder(t, holding{Lock: path})
	contenders(t, c, path, 2)
	waiting := last.Begin("lock acquire", Fields{"path": path})
	contenders(t, c, path, 3)

	ok(t, middle.Kill())
	contenders(t, c, path, 2)
	time.Sleep(200 * time.Millisecond)
	if waiting.Answered() {
		t.Fatal("the last in the line holds the lock together with the first")
	}
	first.Do("lock release", Fields{"path": path})
	waiting.Wait()
}

// The same with the kinds exchanged.
func TestLockWaiterDiesBetweenGos(t *testing.T) {
	t.Parallel()
	ctx, c, path := limited(t), connect(t), own(t)
	first, last := c.Lock(path, "first"), connect(t).Lock(path, "last")
	ok(t, first.Acquire(ctx))
	middle := stepped(t, mortalOption)
	middle.Begin("lock acquire", Fields{"path": path})
	contenders(t, c, path, 2)
	done := acquire(ctx, last)
	contenders(t, c, path, 3)

	middle.Kill()
	contenders(t, c, path, 2)
	select {
	case err := <-done:
		t.Fatalf("the last in the line was let in together with the first: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	ok(t, first.Release(ctx))
	ok(t, <-done)
	ok(t, last.Release(ctx))
}
