// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"fmt"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// Lines is the transport of the netcat test, which tries a session without rsync and without a file
// system: each task is a line to the destination.
type Lines struct {
	Whoami string // says whose lines these are
	// Send sends a line to an address; nil: rsyncrunner.SendLine.
	Send func(ctx context.Context, addr, line string) error
}

func (l Lines) problem() error { return nil }

// kind is the same for all tasks, whose content means nothing.
func (l Lines) kind(wire.Task) wire.Kind { return wire.Shallow }

func (l Lines) look(_ context.Context, h held) (part, error) { return part{held: h}, nil }

func (l Lines) send(ctx context.Context, r *run, _ *wire.Result) (rsyncrunner.Result, error) {
	send := l.Send
	if send == nil {
		send = rsyncrunner.SendLine
	}
	for _, p := range r.parts {
		if err := send(ctx, r.dest.Addr(), fmt.Sprintf("%s is sending %s", l.Whoami, string(p.held.task.Value))); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return rsyncrunner.Result{}, err
		}
	}
	return rsyncrunner.Result{}, nil
}

func (l Lines) again([]part) error { return nil }

func (l Lines) gone(part) wire.Outcome { return wire.Unended }

func (l Lines) note(context.Context, *member.Member, []part) error { return nil }
