// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// drainAtOnce is how many results the leader takes out in one transaction.
const drainAtOnce = 200

// account is the leader's book on the paths of a session: it drains what workers have recorded, tells it
// to the log and the report, and counts it in the transaction that removes the record.
type account struct {
	ledger  *ledger
	report  *report
	clients *clients
	verify  bool // the session only compares
	log     *slog.Logger

	// told holds the records that were told but may not be removed yet, as their transaction can have
	// been lost with the ZooKeeper session.
	told map[string]told
	// ended holds hashes of what has ended in this pass, once there is a Python source: one that dies
	// between its two steps makes a path end twice.
	ended map[uint64]bool
	seed  maphash.Seed
	mixed bool
	// failed holds what has failed so far: a later walk may queue it again, and then its later end is
	// what counts.
	failed map[wire.Text]bool
}

// told is what a record meant when it was read for the first time.
type told struct {
	result wire.Result // without the paths that had ended before
	again  int         // earlier failures that it replaces
}

func newAccount(l *ledger, r *report, c *clients, verify bool, log *slog.Logger) *account {
	return &account{
		ledger: l, report: r, clients: c, verify: verify, log: log,
		told: map[string]told{}, ended: map[uint64]bool{}, seed: maphash.MakeSeed(), failed: map[wire.Text]bool{},
	}
}

// nextPass forgets what ended in the last pass, as paths may come again.
func (a *account) nextPass() { clear(a.ended) }

// first gives those paths of a result that end for the first time in this pass.
func (a *account) first(r wire.Result) []wire.Text {
	a.mixed = a.mixed || a.clients.met || r.Who == wire.UnknownWorker
	if !a.mixed {
		return r.Paths
	}
	var paths []wire.Text
	for _, path := range r.Paths {
		key := maphash.String(a.seed, string(path))
		if !a.ended[key] {
			paths = append(paths, path)
		}
		a.ended[key] = true
	}
	return paths
}

// hasFailed tells whether a path has failed, and was not queued again since.
func (a *account) hasFailed(path wire.Text) bool { return a.failed[path] }

// forget takes back that a path has failed: something else takes the place of that end.
func (a *account) forget(path wire.Text) { delete(a.failed, path) }

// failures are the paths that have failed, in order.
func (a *account) failures() []wire.Text { return slices.Sorted(maps.Keys(a.failed)) }

// drain takes out all that is recorded now.
func (a *account) drain(ctx context.Context, m *member.Member) error {
	if err := a.clients.look(ctx, m); err != nil {
		return err
	}
	for _, source := range []struct {
		path string
		read func(data []byte) wire.Result
	}{
		// Of two ends of one path the worse counts.
		{m.Tree.FailedQueue() + "/entries", func(data []byte) wire.Result { return fromQueue(data, wire.Failed) }},
		{m.Tree.CompletedQueue() + "/entries", a.completed},
		{m.Tree.Results(), wire.DecodeResult},
	} {
		stat, ok, err := m.ZK.Exists(ctx, source.path)
		if err != nil {
			return fmt.Errorf("cannot look for results: %w", err)
		}
		if !ok || stat.NumChildren == 0 {
			continue
		}
		names, err := m.ZK.Children(ctx, source.path)
		if err != nil {
			return fmt.Errorf("cannot read the results: %w", err)
		}
		slices.Sort(names)
		for chunk := range slices.Chunk(names, drainAtOnce) {
			if err := a.take(ctx, m, source.path, chunk, source.read); err != nil {
				return err
			}
		}
	}
	return nil
}

// fromQueue is what a Python worker, which knows no results, has recorded.
func fromQueue(data []byte, o wire.Outcome) wire.Result {
	return wire.Result{Paths: []wire.Text{wire.Text(data)}, Outcome: o, Who: wire.UnknownWorker}
}

// completed is a path that a Python worker has sent, which is not what --verify asks for.
func (a *account) completed(data []byte) wire.Result {
	if a.verify {
		r := fromQueue(data, wire.Failed)
		r.Errors = []string{"a Python source has sent this path instead of comparing it"}
		return r
	}
	return fromQueue(data, wire.Completed)
}

// take tells, counts and removes the named records of parent.
func (a *account) take(ctx context.Context, m *member.Member, parent string, names []string, read func([]byte) wire.Result) error {
	records := make([][]byte, len(names))
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, name := range names {
		group.Go(func() error {
			data, _, err := m.ZK.Get(limited, parent+"/"+name)
			if errors.Is(err, zkclient.ErrNoNode) {
				return nil
			}
			records[i] = append([]byte{}, data...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("cannot read the results: %w", err)
	}
	var counts wire.Counts
	again := 0 // failures that are replaced
	var ops []zkclient.Op
	var nodes []string
	for i, data := range records {
		if data == nil {
			continue
		}
		node := parent + "/" + names[i]
		t, known := a.told[node]
		if !known {
			t.result = read(data)
			all := len(t.result.Paths)
			t.result.Paths = a.first(t.result)
			if len(t.result.Paths) > 0 || all == 0 {
				t.again = a.replace(t.result)
				a.tell(t.result)
			} else {
				t.result = wire.Result{}
			}
			a.told[node] = t
		}
		counts.Add(t.result)
		again += t.again
		nodes = append(nodes, node)
		ops = append(ops, zkclient.OpDelete(node))
	}
	if len(ops) == 0 {
		return nil
	}
	if err := a.ledger.update(ctx, m, func(meta *wire.Meta) {
		meta.Ended = meta.Ended.Plus(counts)
		meta.Ended.Failed -= again
		meta.Again += again
	}, ops...); err != nil {
		return fmt.Errorf("cannot count the results: %w", err)
	}
	for _, node := range nodes {
		delete(a.told, node)
	}
	return nil
}

// replace notes the failures of a result, and returns how many earlier ones it replaces.
func (a *account) replace(r wire.Result) int {
	again := 0
	for _, path := range r.Paths {
		if a.failed[path] {
			delete(a.failed, path)
			again++
		}
		if r.Outcome == wire.Failed {
			a.failed[path] = true
		}
	}
	return again
}

// tell says what became of the paths of a run.
func (a *account) tell(r wire.Result) {
	for _, path := range r.Paths {
		fields := []any{"path", path, "outcome", r.Outcome, "source", r.Who, "attempt", r.Attempts, "seconds", r.Seconds, "bytes", r.Bytes}
		switch r.Outcome {
		case wire.Completed:
			a.log.Info("Completed Path "+path.String(), fields...)
		case wire.Vanished:
			a.log.Warn("Vanished Path "+path.String(), fields...)
		case wire.Changed:
			a.log.Warn("Changed Path "+path.String(), fields...)
		default:
			a.log.Error("Failed Path "+path.String(), fields...)
		}
	}
	about := []any{"source", r.Who}
	if len(r.Paths) > 0 {
		about = append(about, "path", r.Paths[0], "paths", len(r.Paths))
	}
	for _, line := range r.Errors {
		a.log.Warn("  "+line, append(about, "error", line)...)
	}
	for _, line := range r.Examples {
		a.log.Warn("Difference "+line, append(about, "difference", line)...)
	}
	a.report.add(r)
}
