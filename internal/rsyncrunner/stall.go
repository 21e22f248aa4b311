// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Far is what is known of the other end of a connection.
type Far interface {
	Moved() time.Time       // when bytes have gone either way last
	Untaken() time.Duration // for how long bytes have waited that it does not take
}

// errFarStalled is the end of an rsync whose other end has taken nothing for too long.
var errFarStalled = errors.New("the other end takes nothing")

// ErrStalled is the end of an rsync in which nothing has moved for too long: it was stopped, or hangs
// below a file server that does not answer.
var ErrStalled = errors.New("nothing has moved in rsync")

// watchStall returns a context that ends with ErrStalled when no process of the group has moved for
// so long: none has read or written a byte, made a system call, or was given the processor, and nothing has
// gone over its connection. One that waits for its other end wakes up every minute at least. If bytes wait that
// the other end does not take, it is that which stands still: errFarStalled. Whether a destination that takes
// nothing works, as one that deletes, is seen at the destination. 0: no bound.
func (p *process) watchStall(ctx context.Context, stall time.Duration, far Far) (context.Context, func()) {
	if stall <= 0 {
		return ctx, func() {}
	}
	watched, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		look := time.NewTicker(max(stall/10, 10*time.Millisecond))
		defer look.Stop()
		last, since := "", time.Now()
		for {
			select {
			case <-watched.Done():
				return
			case <-p.done:
				return
			case <-look.C:
			}
			now, states := movement(p.cmd.Process.Pid)
			if far != nil {
				now += far.Moved().String()
			}
			switch {
			case now != last:
				last, since = now, time.Now()
			case time.Since(since) < stall:
			case far != nil && far.Untaken() >= stall/2:
				cancel(fmt.Errorf("%w for %v", errFarStalled, stall))
				return
			default:
				cancel(fmt.Errorf("%w for %v (state %s)", ErrStalled, stall, states))
				return
			}
		}
	}()
	return watched, func() {
		cancel(nil)
		<-ended
	}
}

// movement is a text that changes whenever a process of a group does something, and their states as
// the kernel has them: D waits for a disk or a file server, T is stopped.
func movement(group int) (moved, states string) {
	var all strings.Builder
	for _, pid := range members(group) {
		io, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		all.Write(io)
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(status)) {
			if strings.Contains(line, "ctxt_switches:") {
				all.WriteString(line)
			}
			if state, ok := strings.CutPrefix(line, "State:"); ok {
				states += strings.Fields(state)[0]
			}
		}
	}
	return all.String(), states
}
