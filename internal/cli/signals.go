// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
// nohup, SIGINT by a script that starts it in the background.
func WithSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGTERM)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(arrived, s)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-arrived:
			signal.Stop(arrived)
			cancel(&SignalError{s.(syscall.Signal)})
		case <-ctx.Done():
			signal.Stop(arrived)
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}
