// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// heed calls stop when the leader wants what is in hand: any of several paths, to spread them, or the
// only one, to cut it. It returns when ctx ends.
func (j *job) heed(ctx context.Context, b batch, dest *pool.Held, stop func()) {
	m := j.shift.m
	if j.shift.worker.cfg.MaxDelete >= 0 || !j.shift.knowsExtensions() { // what a run that is stopped has deleted is not known
		return
	}
	if zkclient.Sleep(ctx, j.timing().SplitAfter) != nil {
		return
	}
	if !j.stops(ctx, dest) {
		return
	}
	names, err := j.wantedNames(ctx, b)
	if err == nil {
		mine := func(name string) bool { return names[name] }
		err = m.ZK.WatchData(ctx, m.Tree.Wanted(), func(data []byte, _ zkclient.Stat, exists bool) {
			wanted := wire.DecodeWanted(data)
			if slices.ContainsFunc(wanted.Split, mine) || b.several() && slices.ContainsFunc(wanted.Share, mine) {
				stop()
			}
		})
	}
	if err != nil && ctx.Err() == nil {
		m.Log.Debug(err.Error(), "error", err) // the run goes on by itself
	}
}

// stops tells whether a run to a destination ends when its rsync does: a receiver that has lost its source goes
// on deleting until it is ended, which a Go destination does.
func (j *job) stops(ctx context.Context, dest *pool.Held) bool {
	if !j.shift.worker.cfg.Deletes {
		return true
	}
	ends, err := j.shift.m.Party(wire.PartyExt).Has(ctx, dest.Dest.Whoami)
	return err == nil && ends
}

// heedSkips calls stop when something of a run is not to be sent any more. It returns when ctx ends. Where a run
// cannot be stopped it goes on to its end.
func (j *job) heedSkips(ctx context.Context, r *run, stop func()) {
	for {
		_, _, changed := j.shift.steering.Now()
		if j.shift.worker.transport.skips(r.parts) && j.stops(ctx, r.dest) {
			stop()
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// wantedNames are those of a batch.
func (j *job) wantedNames(ctx context.Context, b batch) (map[string]bool, error) {
	names := make([]string, len(b.tasks))
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, t := range b.tasks {
		group.Go(func() error {
			taken := path.Join(b.queue.Path(), "taken", t.entry.Name)
			stat, _, err := j.shift.m.ZK.Exists(limited, taken)
			names[i] = wire.WantedName(taken, stat.Czxid)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set, nil
}
