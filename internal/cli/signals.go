// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// SignalError is the cause of a context that a signal has ended.
type SignalError struct{ Signal syscall.Signal }

func (e *SignalError) Error() string {
	return fmt.Sprintf("ended by signal %d (%s)", int(e.Signal), e.Signal)
}

// ExitStatus is what a shell reports for a program that died of the signal.
func (e *SignalError) ExitStatus() int { return 128 + int(e.Signal) }

// EndedBy returns the signal that has ended the context of WithSignals, nil if none has.
func EndedBy(ctx context.Context) *SignalError {
	var ended *SignalError
	errors.As(context.Cause(ctx), &ended)
	return ended
}

// WithSignals gives a context that the first SIGTERM, SIGINT or SIGHUP ends; the next one ends the
// process the hard way. A signal that the process was started to ignore stays ignored: SIGHUP by
// nohup, SIGINT by a script that starts it in the background. What on has a function for ends
// nothing: that is called, once for each signal or for several that come together.
func WithSignals(ctx context.Context, on map[syscall.Signal]func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ending, others := make(chan os.Signal, 1), make(chan os.Signal, 8)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if on[s] == nil && (s == syscall.SIGTERM || !signal.Ignored(s)) {
			signal.Notify(ending, s)
		}
	}
	for s := range on {
		signal.Notify(others, s)
	}
	var both sync.WaitGroup
	both.Go(func() {
		defer signal.Stop(ending)
		select {
		case s := <-ending:
			cancel(&SignalError{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	})
	released := make(chan struct{})
	both.Go(func() {
		defer signal.Stop(others)
		for {
			select {
			case s := <-others:
				on[s.(syscall.Signal)]()
			case <-released:
				return
			}
		}
	})
	return ctx, sync.OnceFunc(func() {
		cancel(nil)
		close(released)
		both.Wait()
	})
}
