// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/zkclient"
)

// drainAtOnce is how many results the master takes out in one transaction.
const drainAtOnce = 200

// account is the master's book on the paths of a run: it drains what slaves
// have recorded, tells it to the log and the report, and counts it in the
// transaction that removes the record.
type account struct {
	*client
	ledger *ledger
	report *report

	// told holds the records that were told but may not be removed yet, as their
	// transaction can have been lost with the ZooKeeper session.
	told map[string]told
	// ended holds hashes of what has ended in this pass, once there is a Python
	// source: one that dies between its two steps makes a path end twice.
	ended map[uint64]bool
	seed  maphash.Seed
	mixed bool
	// python are the sources that looked like Python ones at the last look;
	// warned: it was said what they do not know.
	python []string
	warned bool

	who string // the znodes of the parties at the last look

	goSources atomic.Bool // at the last look there was one that works

	// failed holds what has failed so far: a later walk may queue it again, and
	// then its later end is what counts.
	failed map[text]bool
}

// told is what a record meant when it was read for the first time.
type told struct {
	result     // without the paths that had ended before
	again  int // earlier failures it replaces
}

func newAccount(c *client, l *ledger, r *report) *account {
	return &account{client: c, ledger: l, report: r, told: map[string]told{}, ended: map[uint64]bool{}, seed: maphash.MakeSeed(), failed: map[text]bool{}}
}

// nextPass forgets what ended in the last pass, as paths may come again.
func (a *account) nextPass() { clear(a.ended) }

// first gives those paths of a result that end for the first time in this pass.
func (a *account) first(r result) []text {
	a.mixed = a.mixed || r.Who == unknownSlave
	if !a.mixed {
		return r.Paths
	}
	var paths []text
	for _, path := range r.Paths {
		key := maphash.String(a.seed, string(path))
		if !a.ended[key] {
			paths = append(paths, path)
		}
		a.ended[key] = true
	}
	return paths
}

// look notes whether there is a Python source in the session, and says what that
// one does not know. Who is seen only once may be joining or leaving: the two
// parties are not read at the same time.
func (a *account) look(ctx context.Context, m *member) error {
	changed, err := a.whoChanged(ctx, m)
	if err != nil || !changed {
		return err
	}
	sources, err := m.parties[partySources].Members(ctx)
	if err != nil {
		return err
	}
	ext, err := m.parties[partyExt].Members(ctx)
	if err != nil {
		return err
	}
	a.goSources.Store(slices.ContainsFunc(sources, func(name string) bool {
		return slices.Contains(ext, name) && (name != a.whoami || a.cfg.Jobs > 0)
	}))
	before := a.python
	a.python = slices.DeleteFunc(sources, func(name string) bool { return slices.Contains(ext, name) })
	a.mixed = a.mixed || len(a.python) > 0
	for _, name := range a.python {
		if !a.warned && slices.Contains(before, name) {
			a.warned = true
			if unknown := a.unknownToPython(); len(unknown) > 0 {
				a.log.Warn(fmt.Sprintf("%s is a Python source, which does not know %s", name, strings.Join(unknown, ", ")))
			}
		}
	}
	return nil
}

// whoChanged tells whether clients have come or gone since the last look, without
// asking each who it is; true while somebody was seen only once.
func (a *account) whoChanged(ctx context.Context, m *member) (bool, error) {
	now := ""
	for _, party := range []string{partySources, partyExt} {
		names, err := m.Children(ctx, m.tree.party(party))
		if err != nil {
			return false, fmt.Errorf("cannot read the clients of the session: %w", err)
		}
		slices.Sort(names)
		now += strings.Join(names, " ") + "\n"
	}
	again := now != a.who || len(a.python) > 0 && !a.warned
	a.who = now
	return again, nil
}

// unknownToPython is what a Python source leaves out of what it was asked for.
func (c *client) unknownToPython() []string {
	var unknown []string
	for _, u := range []struct {
		asked bool
		what  string
	}{
		{c.cfg.Rsync.Verify, "--verify: it transfers"},
		{c.cfg.Rsync.Delete, "the guards of --delete (unmounted or empty sources)"},
		{c.bounded(), "--max-delete"},
		{c.cfg.Sentinel != "", "--sentinel"},
		{c.cfg.ExcludeBelow, "--exclude-below"},
		{c.cfg.Rsync.HardLinks, "hard links between paths"},
	} {
		if u.asked {
			unknown = append(unknown, u.what)
		}
	}
	return unknown
}

// drain takes out all that is recorded now.
func (a *account) drain(ctx context.Context, m *member) error {
	if err := a.look(ctx, m); err != nil {
		return err
	}
	for _, source := range []struct {
		path string
		read func(data []byte) result
	}{
		// Of two ends of one path the worse counts.
		{m.tree.failedQueue() + "/entries", func(data []byte) result { return fromQueue(data, outcomeFailed) }},
		{m.tree.completedQueue() + "/entries", a.completed},
		{m.tree.results(), readResult},
	} {
		stat, ok, err := m.Exists(ctx, source.path)
		if err != nil {
			return fmt.Errorf("cannot look for results: %w", err)
		}
		if !ok || stat.NumChildren == 0 {
			continue
		}
		names, err := m.Children(ctx, source.path)
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

// readResult reads a node of S/results. One that cannot be read is an account
// that cannot be right: it is told as a failure.
func readResult(data []byte) result {
	var r result
	if err := json.Unmarshal(data, &r); err != nil {
		return result{Outcome: outcomeFailed, Errors: []string{fmt.Sprintf("cannot read the result %q: %v", data, err)}}
	}
	return r
}

// fromQueue is what a Python slave, which knows no results, has recorded.
func fromQueue(data []byte, o outcome) result {
	return result{Paths: []text{text(data)}, Outcome: o, Who: unknownSlave}
}

// completed is a path that a Python slave has sent, which is not what --verify
// asks for.
func (a *account) completed(data []byte) result {
	if a.cfg.Rsync.Verify {
		r := fromQueue(data, outcomeFailed)
		r.Errors = []string{"a Python source has sent this path instead of comparing it"}
		return r
	}
	return fromQueue(data, outcomeCompleted)
}

const unknownSlave = "" // a Python slave does not say who it is

// take tells, counts and removes the named records of parent.
func (a *account) take(ctx context.Context, m *member, parent string, names []string, read func([]byte) result) error {
	records := make([][]byte, len(names))
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, name := range names {
		group.Go(func() error {
			data, _, err := m.Get(limited, parent+"/"+name)
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
	var counts Counts
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
			all := len(t.Paths)
			t.Paths = a.first(t.result)
			if len(t.Paths) > 0 || all == 0 {
				t.again = a.replace(t.result)
				a.tell(t.result)
			} else {
				t.result = result{}
			}
			a.told[node] = t
		}
		counts.add(t.result)
		again += t.again
		nodes = append(nodes, node)
		ops = append(ops, zkclient.OpDelete(node))
	}
	if len(ops) == 0 {
		return nil
	}
	if err := a.ledger.update(ctx, m, func(mt *meta) {
		mt.Ended = mt.Ended.plus(counts)
		mt.Ended.Failed -= again
		mt.Again += again
	}, ops...); err != nil {
		return fmt.Errorf("cannot count the results: %w", err)
	}
	for _, node := range nodes {
		delete(a.told, node)
	}
	return nil
}

// replace notes the failures of a result, and returns how many earlier ones it
// replaces.
func (a *account) replace(r result) int {
	again := 0
	for _, path := range r.Paths {
		if a.failed[path] {
			delete(a.failed, path)
			again++
		}
		if r.Outcome == outcomeFailed {
			a.failed[path] = true
		}
	}
	return again
}

// tell says what became of the paths of a run.
func (a *account) tell(r result) {
	for _, path := range r.Paths {
		name := printable(string(path))
		switch r.Outcome {
		case outcomeCompleted:
			a.log.Info("Completed Path " + name)
		case outcomeVanished:
			a.log.Warn("Vanished Path " + name)
		case outcomeChanged:
			a.log.Warn("Changed Path " + name)
		default:
			a.log.Error("Failed Path " + name)
		}
	}
	for _, line := range r.Errors {
		a.log.Warn("  " + line)
	}
	for _, line := range r.Examples {
		a.log.Warn("Difference " + line)
	}
	a.report.add(r)
}
