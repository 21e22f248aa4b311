// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// heed calls stop when the leader wants what is in hand: any of several paths, to spread them, or the
// only one, to cut it. Who is in the midst of a large file, which would be begun anew, comes to its end first. It
// returns when ctx ends.
func (j *job) heed(ctx context.Context, b batch, r *run, stop func()) {
	m, w := j.shift.m, j.shift.worker
	if w.cfg.MaxDelete >= 0 || !j.shift.knowsExtensions() { // what a run that is stopped has deleted is not known
		return
	}
	if zkclient.Sleep(ctx, j.timing().SplitAfter) != nil {
		return
	}
	if !j.stops(ctx, r.dest) {
		return
	}
	names, err := j.wantedNames(ctx, b)
	if err != nil {
		if ctx.Err() == nil {
			m.Log.Debug(err.Error(), "error", err) // the run goes on by itself
		}
		return
	}
	mine := func(name string) bool { return names[name] }
	asks := make(chan bool)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		err := m.ZK.WatchData(ctx, m.Tree.Wanted(), func(data []byte, _ zkclient.Stat, exists bool) {
			wanted := wire.DecodeWanted(data)
			select {
			case asks <- slices.ContainsFunc(wanted.Split, mine) || b.several() && slices.ContainsFunc(wanted.Share, mine):
			case <-ctx.Done():
			}
		})
		if err != nil && ctx.Err() == nil {
			m.Log.Debug(err.Error(), "error", err)
		}
	})
	said := false
	for asked := false; ; {
		var again <-chan time.Time
		if asked {
			if !w.transport.begun(r, w.cfg.Large) {
				stop()
				return
			}
			if !said {
				m.Log.Info(fmt.Sprintf("The rsync of %s goes on for now, although jobs are idle: it is in the midst of a large file, which would be begun anew (--partial would keep it)", r.name),
					append(b.fields(), "event", "large-file")...)
				said = true
			}
			again = time.After(j.timing().Idle)
		}
		select {
		case asked = <-asks:
		case <-again:
		case <-ctx.Done():
			return
		}
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
