// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"testing"

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
