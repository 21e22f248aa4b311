// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string {
	return fmt.Sprintf("ended by signal %d (%s)", int(e.signal), e.signal)
}

// withSignals gives a context that the first SIGINT, SIGTERM or SIGHUP ends. The
// next one ends the process the hard way.
func withSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endingSignals()...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case got := <-signals:
			signal.Stop(signals)
			cancel(&signalError{got.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		<-done
	}
}

// endingSignals are those that end a client. What the process was started to
// ignore stays ignored: SIGHUP by nohup, SIGINT by a script that runs it in the
// background.
func endingSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	return signals
}

// ignoreBrokenPipe lets the process live on when nobody reads its stdout or
// stderr any more: "zkrsync … | tee log" on Ctrl-C has to clean up, and there is
// a log file. Unlike signal.Ignore this is not inherited by children.
func ignoreBrokenPipe() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// keepFromChildren sees to it that what the starting shell has open, a lock
// maybe, stays with this process alone and does not go to every rsync.
func keepFromChildren() error {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot see what files are open (is /proc mounted?): %w", err)
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
