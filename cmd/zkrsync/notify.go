// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// supervisor is who has started this client and wants to hear how it is, systemd for example, in the
// environment variables NOTIFY_SOCKET and WATCHDOG_USEC.
type supervisor struct {
	said atomic.Pointer[string] // the last message that was logged and not passed on yet
}

// newSupervisor is nil if nobody wants to hear.
func newSupervisor() *supervisor {
	if heard, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil || !heard {
		return nil
	}
	return new(supervisor)
}

// Said takes each message from INFO on, whatever the log shows.
func (s *supervisor) Said(_ slog.Level, message string) { s.said.Store(&message) }

// ready tells that the client has joined the session.
func (s *supervisor) ready() { notify(daemon.SdNotifyReady) }

// run passes on what the client says, once a second at most, that it lives, and when it is asked to end (ctx),
// until it is over.
func (s *supervisor) run(ctx context.Context, over <-chan struct{}) {
	alive := make(<-chan time.Time)
	if limit, err := daemon.SdWatchdogEnabled(false); err == nil && limit > 0 {
		ticker := time.NewTicker(limit / 3)
		defer ticker.Stop()
		alive = ticker.C
	}
	look := time.NewTicker(time.Second)
	defer look.Stop()
	asked := ctx.Done()
	for ended := false; !ended; {
		select {
		case <-over:
			ended = true
		case <-asked:
			asked = nil
			notify(daemon.SdNotifyStopping)
		case <-alive:
			notify(daemon.SdNotifyWatchdog)
		case <-look.C:
		}
		if message := s.said.Swap(nil); message != nil {
			notify("STATUS=" + *message)
		}
	}
}

// notify tells the supervisor. One that does not listen any more is no reason to end.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
