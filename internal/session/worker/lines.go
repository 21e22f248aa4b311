// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"errors"
	"strings"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
)

// Runner carries one job to its destination.
type Runner interface {
	Run(context.Context, rsyncrunner.Job) (rsyncrunner.Result, error)
}

// Lines is the transport of the netcat test, which tries a session without rsync and without a file
// system: each task is a line to the destination.
type Lines struct {
	Sender Runner
}

func (l Lines) publish(context.Context, *member.Member) error { return nil }

func (l Lines) shape(context.Context, *member.Member, func(int64)) {}

func (l Lines) skip([]wire.Text) {}

func (l Lines) skips([]part) bool { return false }

// judge is satisfied with any destination that can be reached.
func (l Lines) judge(*member.Member) pool.Judge {
	return pool.Judge{
		Unfit: func(*pool.Held) string { return "" },
		Probe: func(context.Context, *pool.Held) error { return nil },
	}
}

func (l Lines) problem() error { return nil }

func (l Lines) turns() (int, error) { return 0, nil }

func (l Lines) await(context.Context, time.Duration) error { return nil }

// kind is the same for all tasks, whose content means nothing.
func (l Lines) kind(wire.Task) wire.Kind { return wire.Shallow }

func (l Lines) look(_ context.Context, h held) (part, error) {
	return part{held: h, names: []string{string(h.task.Value)}}, nil
}

func (l Lines) send(ctx context.Context, r *run, _ *wire.Result) (rsyncrunner.Result, error) {
	job := rsyncrunner.Job{URL: rsyncrunner.URL(r.dest.Dest.Host(), r.dest.Dest.Port, "")}
	for _, p := range r.parts {
		job.Names = append(job.Names, p.names...)
	}
	result, err := l.Sender.Run(ctx, job)
	if err == nil && result.Class() != rsyncrunner.Fine {
		err = errors.New(strings.Join(result.Errors, "; ")) // there is no daemon that could be asked whose fault it is
	}
	return result, err
}

func (l Lines) begun(*run, int64) bool { return false }

func (l Lines) try(context.Context, *pool.Held) (bool, error) { return true, nil }

func (l Lines) again([]part) error { return nil }

func (l Lines) gone(part) wire.Outcome { return wire.Unended }

func (l Lines) hold(context.Context, *member.Member, *run) error { return nil }

func (l Lines) note(context.Context, *member.Member, *run) error { return nil }
