// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// What is changed for one child stays with a thread that ends: the main thread does not, and what mounts it has is what
// /proc/self, and who looks at the process from outside, take for the process's own.
func TestMainThreadStaysAsItIs(t *testing.T) {
	const many = 100
	var all, changed sync.WaitGroup
	changed.Add(many)
	for range many {
		all.Go(func() {
			p, err := startSetUp(t.Context(), exec.Command("true"), func() error {
				if unix.Gettid() == unix.Getpid() {
					t.Error("the main thread is changed")
				}
				changed.Done()
				// A thread that is held up in the kernel runs no other goroutine, so that all have to be used.
				return unix.Nanosleep(&unix.Timespec{Nsec: 200e6}, nil)
			}, ending{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := p.wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	changed.Wait()
	all.Wait()
}

// Who gives up a start, or is told that it has begun, may close what the child would have got.
func TestStartThatIsGivenUp(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.Command("true")
		setUp := make(chan struct{})
		go func() {
			<-setUp
			cancel()
		}()
		p, err := startSetUp(ctx, cmd, func() error { close(setUp); return nil }, ending{})
		cmd.Env = []string{"changed=1"} // which the race detector watches
		switch {
		case err == nil:
			_ = p.wait(t.Context())
		case !errors.Is(err, context.Canceled):
			t.Error(err)
		}
	}
}

// A start that is held up, as below a file server that does not answer, ends with its context, and nothing is started
// when it goes on.
func TestStartThatIsHeldUp(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	begun, goOn, started := make(chan struct{}), make(chan struct{}), filepath.Join(t.TempDir(), "started")
	given := make(chan error, 1)
	go func() {
		_, err := startSetUp(ctx, exec.Command("touch", started), func() error { close(begun); <-goOn; return nil }, ending{})
		given <- err
	}()
	t.Cleanup(func() { close(goOn) })
	<-begun
	cancel(why)
	eventually(t, "the start is given up", func() bool { return len(given) > 0 })
	if err := <-given; !errors.Is(err, why) {
		t.Errorf("error %v, want the cause of the context", err)
	}
	goOn <- struct{}{}
	eventually(t, "what was held up has ended", func() bool { return goleak.Find(before) == nil })
	if _, err := os.Stat(started); err == nil {
		t.Error("the program was started")
	}
}
