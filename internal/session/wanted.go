// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/zkclient"
)

// errAsked ends a run whose paths others should have a share of.
var errAsked = errors.New("idle jobs wait for a share of this run's paths")

// wanted is the content of S/wanted: entries in work that the master would like
// to give to idle jobs, by the path of their taken node and its czxid, as an entry
// that is given back keeps its name. Their holders look at it when a run takes long.
// Python slaves do not, and are not asked. It is empty when no job is idle.
type wanted struct {
	Split []string `json:"split,omitempty"` // can be cut into smaller ones
	Share []string `json:"share,omitempty"` // cannot, but may be one of several in a run
}

func (w wanted) encode() []byte {
	data, err := json.Marshal(w)
	if err != nil {
		panic(err) // strings
	}
	return data
}

func (w wanted) empty() bool { return len(w.Split)+len(w.Share) == 0 }

// wantedName is what wanted says of an entry.
func wantedName(taken string, czxid int64) string { return fmt.Sprintf("%s@%x", taken, czxid) }

// heed calls stop when the master wants what is in hand: any of several paths, to
// spread them, or the only one, to cut it. It returns when ctx ends.
func (w *worker) heed(ctx context.Context, b batch, dest *heldDest, stop func()) {
	if w.bounded() || !w.extended() { // what a run that is stopped has deleted is not known
		return
	}
	if !sleep(ctx, w.cfg.Timing.SplitAfter) {
		return
	}
	if w.cfg.Rsync.Delete {
		// A receiver that has lost its source goes on deleting until it is ended, which
		// a Go destination does.
		if ends, err := w.m.parties[partyExt].Has(ctx, dest.whoami); err != nil || !ends {
			return
		}
	}
	names, err := w.wantedNames(ctx, b)
	if err == nil {
		mine := func(name string) bool { return names[name] }
		err = w.m.WatchData(ctx, w.tree.wanted(), func(data []byte, _ zkclient.Stat, exists bool) {
			var now wanted
			if !exists || json.Unmarshal(data, &now) != nil {
				return
			}
			if slices.ContainsFunc(now.Split, mine) || len(b.entries) > 1 && slices.ContainsFunc(now.Share, mine) {
				stop()
			}
		})
	}
	if err != nil && ctx.Err() == nil {
		w.log.Debug(err.Error()) // the run goes on by itself
	}
}

// wantedNames are those of a batch.
func (w *worker) wantedNames(ctx context.Context, b batch) (map[string]bool, error) {
	names := make([]string, len(b.entries))
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, entry := range b.entries {
		group.Go(func() error {
			taken := path.Join(b.queue.Path(), "taken", entry.Name)
			stat, _, err := w.m.Exists(limited, taken)
			names[i] = wantedName(taken, stat.Czxid)
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
