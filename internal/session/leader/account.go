// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/level"
	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/guard"
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
	queues  queues // of the paths that are sent again
	base    *guard.Base
	verify  bool // the session only compares
	log     *slog.Logger

	// told holds the records that were told but may not be removed yet, as their transaction can have
	// been lost with the ZooKeeper session.
	told map[string]told
	// ended holds hashes of what has ended in this phase, once there is a Python source: one that dies
	// between its two steps makes a path end twice.
	ended map[uint64]bool
	seed  maphash.Seed
	mixed bool
	// durable knows which results have to wait.
	durable *durable
	// lacks knows what destinations have not preserved.
	lacks lacks
	// aside holds the nodes that are set aside, told of, and cannot be removed.
	aside map[string]bool
	// failed holds what has failed so far: a later walk may queue it again, and then its later end is
	// what counts.
	failed map[wire.Text]bool
	// doubted counts how often a worker has not found a path that the leader sees.
	doubted map[wire.Text]int
}

// told is what a record meant when it was read for the first time.
type told struct {
	results []wire.Result // without the paths that had ended before
	again   int           // earlier failures that they replace
	back    []wire.Task   // that are queued again
	foreign int           // what it tells of that is not the run's
}

// maxDoubts is how often a path may not be found that the leader sees.
const maxDoubts = 3

func newAccount(l *ledger, r *report, c *clients, q queues, base *guard.Base, verify bool, log *slog.Logger) *account {
	a := &account{
		ledger: l, report: r, clients: c, queues: q, base: base, verify: verify, log: log, durable: newDurable(log), lacks: lacks{map[string]wire.Lack{}, log}, aside: map[string]bool{},
		told: map[string]told{}, ended: map[uint64]bool{}, seed: maphash.MakeSeed(), failed: map[wire.Text]bool{}, doubted: map[wire.Text]int{},
	}
	a.durable.aside = a.aside
	return a
}

// nextPhase forgets what ended in the last phase, as paths may come again.
func (a *account) nextPhase() { clear(a.ended) }

// anew forgets that paths have ended in this phase: they come again.
func (a *account) anew(tasks []wire.Task) {
	for _, task := range tasks {
		delete(a.ended, maphash.String(a.seed, string(task.Value)))
	}
}

// sort parts the paths of a result from those that nobody has queued.
func (a *account) sort(r wire.Result) (paths, foreign []wire.Text) {
	a.mixed = a.mixed || a.clients.met || r.Who == wire.UnknownWorker
	for i, path := range r.Paths {
		twice := a.mixed && a.ended[maphash.String(a.seed, string(path))]
		if twice || a.ledger.isOpen(path) && (a.mixed || !slices.Contains(r.Paths[:i], path)) {
			paths = append(paths, path)
		} else {
			foreign = append(foreign, path)
		}
	}
	return paths, foreign
}

// first gives those paths of a result that end for the first time in this phase.
func (a *account) first(r wire.Result) (paths []wire.Text) {
	for _, path := range r.Paths {
		key := maphash.String(a.seed, string(path))
		if (!a.mixed || !a.ended[key]) && a.ledger.ends(path) {
			paths = append(paths, path)
		}
		if a.mixed {
			a.ended[key] = true
		}
	}
	return paths
}

// setAside tells of something that is not of the run: in the log, and as a failure in the report. The
// caller counts it.
func (a *account) setAside(node string, what wire.Text, why string) {
	a.log.Warn(fmt.Sprintf("Set aside %q in %s, which is not of this run: %s", shorten(what), node, why),
		"event", "foreign", "znode", node, "path", shorten(what), "error", why)
	a.report.add(wire.Result{Paths: []wire.Text{shorten(what)}, Outcome: wire.Failed, Who: wire.UnknownWorker, Errors: []string{why}})
}

// countForeign counts one thing that was set aside.
func (a *account) countForeign(ctx context.Context, m *member.Member) error {
	return a.ledger.update(ctx, m, func(meta *wire.Meta) {
		meta.Foreign++
		meta.Ended.Failed++
	})
}

// shorten bounds what others have written.
func shorten(text wire.Text) wire.Text {
	const most = 200
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// hasFailed tells whether a path has failed, and was not queued again since.
func (a *account) hasFailed(path wire.Text) bool { return a.failed[path] }

// forget takes back that a path has failed: something else takes the place of that end.
func (a *account) forget(path wire.Text) { delete(a.failed, path) }

// failures are the paths that have failed, in order.
func (a *account) failures() []wire.Text { return slices.Sorted(maps.Keys(a.failed)) }

// drain takes out all that is recorded now, and counts; what waits for its destination stays. It is settled
// if nothing else was left behind, and nothing queued again; at the last time nothing is left behind.
func (a *account) drain(ctx context.Context, m *member.Member, last bool) (settled bool, err error) {
	others, err := a.clients.look(ctx, m)
	if err != nil {
		return false, err
	}
	if others && !last {
		// Who stands by as another leader knows from this that there is one.
		if err := a.ledger.update(ctx, m, func(*wire.Meta) {}); err != nil {
			return false, err
		}
	}
	if err := a.durable.look(ctx, m); err != nil {
		return false, err
	}
	if err := a.lacks.look(ctx, m); err != nil {
		return false, err
	}
	settled = true
	for _, source := range []struct {
		path string
		read func(data []byte) wire.Result
	}{
		// Of two ends of one path the worse counts.
		{m.Tree.FailedQueue() + "/entries", func(data []byte) wire.Result { return fromQueue(data, wire.Failed) }},
		{m.Tree.CompletedQueue() + "/entries", a.completed},
	} {
		names, err := recorded(ctx, m, source.path, 0)
		if err != nil {
			return false, err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return a.aside[source.path+"/"+name] })
		for chunk := range slices.Chunk(names, drainAtOnce) {
			all, err := a.take(ctx, m, source.path, chunk, func(node string, data []byte) (told, bool) { return a.judge(node, source.read(data), last) })
			if err != nil {
				return false, err
			}
			settled = settled && all
		}
	}
	all, err := a.drainResults(ctx, m, last)
	return settled && all, err
}

// recorded gives the names of the records in a node, in order; none if there are no others than known.
func recorded(ctx context.Context, m *member.Member, path string, known int) ([]string, error) {
	stat, ok, err := m.ZK.Exists(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("cannot look for results: %w", err)
	}
	if !ok || int(stat.NumChildren) == known {
		return nil, nil
	}
	names, err := m.ZK.Children(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the results: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// backAtOnce is how many results whose paths are sent again go into one transaction, with all their paths.
const backAtOnce = 4

// drainResults takes out the results that count now, or whose paths are to be sent again. It is settled as
// drain is.
func (a *account) drainResults(ctx context.Context, m *member.Member, last bool) (settled bool, err error) {
	now, err := a.durable.sort(ctx, m)
	if err != nil {
		return false, err
	}
	settled = true
	take := func(names []string, use func(node string, r wire.Result) (told, bool)) error {
		defer a.durable.taken(names...)
		all, err := a.take(ctx, m, m.Tree.Results(), names, func(node string, data []byte) (told, bool) {
			r, err := wire.DecodeResult(data)
			if err != nil {
				a.setAside(node, wire.Text(data), err.Error())
				return told{foreign: 1}, true
			}
			return use(node, r)
		})
		settled = settled && all
		return err
	}
	for chunk := range slices.Chunk(now.counts, drainAtOnce) {
		if err := take(chunk, func(node string, r wire.Result) (told, bool) { return a.judge(node, r, last) }); err != nil {
			return false, err
		}
	}
	for _, f := range now.failed {
		use := func(node string, r wire.Result) (told, bool) { return a.judge(node, failedFlush(r, f.problem), last) }
		if err := take([]string{f.name}, use); err != nil {
			return false, err
		}
	}
	for chunk := range slices.Chunk(now.back, backAtOnce) {
		if err := take(chunk, a.sendAgain); err != nil {
			return false, err
		}
	}
	return settled, nil
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

// record is a node of S/results, or of a queue of results.
type record struct {
	data []byte
	why  string // it is not one of a worker's
	gone bool
	held bool // it cannot be removed
}

// readRecord reads one, and sees to it that it can be removed.
func readRecord(ctx context.Context, m *member.Member, node string) (r record, err error) {
	data, stat, err := m.ZK.Get(ctx, node)
	switch {
	case errors.Is(err, zkclient.ErrNoNode):
		return record{gone: true}, nil
	case errors.Is(err, zkclient.ErrNoAuth):
		if stat, _, err = m.ZK.Exists(ctx, node); err != nil {
			return r, err
		}
		r.why = "its ACL keeps this user from reading it"
	case err != nil:
		return r, err
	case stat.EphemeralOwner != 0:
		r.why = "it is ephemeral, so no worker has made it"
	}
	r.data = data
	if stat.NumChildren > 0 {
		if r.why == "" {
			r.why = "it has child nodes, which no worker makes"
		}
		if err := m.ZK.DeleteBelow(ctx, node); err != nil {
			if !refused(err) {
				return r, err
			}
			r.held = true
		}
	}
	return r, nil
}

// refused tells an error that is about a node from those of the connection.
func refused(err error) bool {
	return errors.Is(err, zkclient.ErrNoAuth) || errors.Is(err, zkclient.ErrNotEmpty) || errors.Is(err, zkclient.ErrNoNode)
}

// take tells, counts and removes the named records of parent, each by what read makes of it; false leaves it
// where it is. It is true unless one was left behind, or something was queued again.
func (a *account) take(ctx context.Context, m *member.Member, parent string, names []string, read func(node string, data []byte) (told, bool)) (bool, error) {
	records := make([]record, len(names))
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, name := range names {
		group.Go(func() (err error) {
			records[i], err = readRecord(limited, m, parent+"/"+name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return false, fmt.Errorf("cannot read the results: %w", err)
	}
	var counts wire.Counts
	var work wire.Work
	var ended []wire.Result
	again, foreign := 0, 0
	settled := true
	var ops []zkclient.Op
	var nodes []string
	for i, r := range records {
		if r.gone {
			continue
		}
		node := parent + "/" + names[i]
		t, known := a.told[node]
		switch {
		case known:
		case r.why != "":
			a.setAside(node, wire.Text(r.data), r.why)
			t = told{foreign: 1}
		default:
			if t, known = read(node, r.data); !known {
				settled = false
				continue
			}
		}
		a.told[node] = t
		for _, r := range t.results {
			counts.Add(r)
			work.Add(r, a.ledger.history.of(r.Paths...))
		}
		ended = append(ended, t.results...)
		again += t.again
		foreign += t.foreign
		settled = settled && len(t.back) == 0
		nodes = append(nodes, node)
		if a.aside[node] = r.held; !r.held {
			delete(a.aside, node)
			ops = append(ops, zkclient.OpDelete(node))
		}
		ops = append(ops, a.queues.putOps(m, t.back)...)
	}
	if len(nodes) == 0 {
		return settled, nil
	}
	if err := a.ledger.note(ctx, m, func(meta *wire.Meta) {
		meta.Ended = meta.Ended.Plus(counts)
		meta.Work = meta.Work.Plus(work)
		meta.Ended.Failed += foreign - again
		meta.Foreign += foreign
		meta.Again += again
	}, a.failedNow(m.Tree, ended), ops...); err != nil {
		return false, fmt.Errorf("cannot count the results: %w", err)
	}
	for _, node := range nodes {
		delete(a.told, node)
	}
	return settled, nil
}

// failedNow notes which of the paths of results have failed, as they ended last.
func (a *account) failedNow(tree wire.Tree, ended []wire.Result) (all []news) {
	seen := map[wire.Text]bool{}
	for _, r := range slices.Backward(ended) {
		for _, path := range r.Paths {
			if seen[path] {
				continue
			}
			seen[path] = true
			n := news{&a.ledger.failures, tree.Failure(path), nil}
			if a.failed[path] {
				n.data = wire.Failure{Path: path, Errors: r.Errors}.Encode()
			}
			all = append(all, n)
		}
	}
	return all
}

// inherit takes over the failures that another leader has noted.
func (a *account) inherit(ctx context.Context, m *member.Member) error {
	contents, err := a.ledger.failures.contents(ctx, m)
	if err != nil {
		return err
	}
	for _, data := range contents {
		if failure, err := wire.DecodeFailure(data); err == nil {
			a.failed[failure.Path] = true
		}
	}
	return nil
}

// judge tells what a record means. It is false if that cannot be said now.
func (a *account) judge(node string, r wire.Result, last bool) (t told, ok bool) {
	paths, foreign := a.sort(r)
	r.Paths = paths
	missed := wire.Result{Outcome: wire.Failed, Who: r.Who, Attempts: r.Attempts} // too often
	if r.Doubtful() {
		var gone []wire.Text
		for _, path := range r.Paths {
			task := wire.DecodeTask([]byte(path))
			there, err := a.sees(task)
			a.base.Tell(a.log, err)
			switch {
			case err != nil && !last:
				return told{}, false // until the base is back
			case err == nil && !there:
				gone = append(gone, path)
			case err == nil && a.doubted[path]+1 >= maxDoubts:
				missed.Paths = append(missed.Paths, path)
			default:
				t.back = append(t.back, task)
			}
		}
		r.Paths = gone
		for _, task := range t.back {
			a.doubted[task.Value]++
			a.log.Warn(fmt.Sprintf("Path %s is there, but %s says that it has %s: it is queued again", task.Value, r.Who, r.Outcome),
				"event", "not-believed", "path", task.Value, "source", r.Who, "outcome", r.Outcome)
		}
		if len(gone) == 0 {
			r.Outcome = wire.Unended
		}
	}
	if missed.Paths = a.first(missed); len(missed.Paths) > 0 {
		missed.Errors = []string{fmt.Sprintf("sources have not found the path %d times, last %s, but the master sees it: is the source mounted there as it is here?", maxDoubts, r.Who)}
		t.results = append(t.results, missed)
	}
	for _, path := range foreign {
		a.setAside(node, path, fmt.Sprintf("it is said to be %s, by %q, but the master has not queued it, or it had ended already", r.Outcome, shorten(wire.Text(r.Who))))
	}
	t.foreign = len(foreign)
	all := len(r.Paths) + len(foreign)
	if r.Paths = a.first(r); len(r.Paths) == 0 && all > 0 {
		r = wire.Result{}
	}
	t.results = append(t.results, r)
	for _, r := range t.results {
		t.again += a.replace(r)
		if len(r.Paths) > 0 || r.Outcome != wire.Unended {
			a.tell(r)
		}
	}
	return t, true
}

// sees tells whether the leader itself sees a path as it was queued; an error if its base is away.
func (a *account) sees(task wire.Task) (bool, error) {
	rel, err := task.Within(a.base.Dir)
	if task.Err != nil || err != nil {
		return false, nil
	}
	dirs := []string{rel}
	if task.Kind == wire.Listed {
		return true, nil // it says of each name what is to become of it
	}
	if task.Kind == wire.Links {
		dirs = nil
		for _, file := range task.Files {
			if _, err := os.Lstat(a.base.Dir + "/" + string(file)); err == nil {
				dirs = append(dirs, string(file)[:max(strings.LastIndexByte(string(file), '/'), 0)])
			}
		}
	}
	if err := a.base.Problem(); err != nil {
		return false, err
	}
	for _, dir := range dirs {
		state, err := a.base.Look(dir)
		if err == nil && state == pathbuilder.Present {
			return true, nil
		}
		if away := a.base.Problem(); away != nil {
			return false, away
		}
	}
	return false, nil
}

// sendAgain is what becomes of a result on which nobody can rely: only what was deleted stays so.
func (a *account) sendAgain(node string, r wire.Result) (t told, ok bool) {
	paths, foreign := a.sort(r)
	for _, path := range foreign {
		a.setAside(node, path, "it is said to be sent, but the master has not queued it, or it had ended already")
	}
	t.foreign = len(foreign)
	for _, path := range paths {
		a.log.Info(fmt.Sprintf("Path %s is sent again: it is not known to be on the disk of destination %s", path, r.Dest), "event", "sent-again", "path", path, "destination", r.Dest)
		t.back = append(t.back, wire.DecodeTask([]byte(path)))
	}
	t.results = []wire.Result{{Outcome: wire.Unended, Who: r.Who, Deleted: r.Deleted, Exhausted: r.Exhausted}}
	return t, true
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
			a.log.Log(context.Background(), level.Detail, "Completed Path "+path.String(), fields...)
		case wire.Vanished:
			a.log.Warn("Vanished Path "+path.String(), fields...)
		case wire.Changed:
			a.log.Warn("Changed Path "+path.String(), fields...)
		case wire.Skipped:
			a.log.Warn("Skipped Path "+path.String(), fields...)
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
