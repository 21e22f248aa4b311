// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Reader takes snapshots of one session.
type Reader struct {
	zk   *zkclient.Client
	tree wire.Tree

	all, sources, dests, ext *zkclient.Party // which keep what they have read
	lock                     *zkclient.Lock
}

// NewReader fails if a session cannot have this name.
func NewReader(zk *zkclient.Client, session string) (*Reader, error) {
	tree, err := wire.NewTree(session)
	if err != nil {
		return nil, err
	}
	party := func(kind string) *zkclient.Party { return zk.Party(tree.Party(kind), "") }
	return &Reader{
		zk: zk, tree: tree, all: party(wire.PartyAll), sources: party(wire.PartySources), dests: party(wire.PartyDests), ext: party(wire.PartyExt),
		lock: zk.Lock(tree.Lock(), ""),
	}, nil
}

// Read takes one snapshot.
func Read(ctx context.Context, zk *zkclient.Client, session string) (*Snapshot, error) {
	r, err := NewReader(zk, session)
	if err != nil {
		return nil, err
	}
	return r.Read(ctx)
}

// sessions are the names of the sessions of which there is a run; zkclient.ErrNoAuth if this user may not list them.
func sessions(ctx context.Context, zk *zkclient.Client) (names []string, err error) {
	all, err := zk.Children(ctx, wire.Base)
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return nil, err
	}
	there := make([]bool, len(all))
	if err := each(ctx, atOnce, all, func(ctx context.Context, i int, name string) error {
		tree, err := wire.NewTree(name)
		if err == nil {
			_, there[i], err = zk.Exists(ctx, tree.Ready())
		}
		return err
	}); err != nil {
		return nil, err
	}
	for i, name := range all {
		if there[i] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Readers takes snapshots of many sessions. Its methods are for one goroutine at a time.
type Readers struct {
	zk  *zkclient.Client
	all map[string]*Reader // by the names of their sessions
}

// NewReaders has read nothing yet.
func NewReaders(zk *zkclient.Client) *Readers { return &Readers{zk: zk} }

// sessionsAtOnce is how many sessions are read at the same time.
const sessionsAtOnce = 4

// Read takes a snapshot of one session; or, if that is "", of each of which there is a run, by name, but for those that
// this user may not read. It is zkclient.ErrNoAuth if he may not list them.
func (r *Readers) Read(ctx context.Context, session string) ([]*Snapshot, error) {
	names := []string{session}
	if session == "" {
		var err error
		if names, err = sessions(ctx, r.zk); err != nil {
			return nil, fmt.Errorf("cannot look for sessions: %w", err)
		}
	}
	before := r.all
	r.all = map[string]*Reader{}
	for _, name := range names {
		reader, known := before[name]
		if !known {
			var err error
			if reader, err = NewReader(r.zk, name); err != nil {
				return nil, err
			}
		}
		r.all[name] = reader
	}
	seen := make([]*Snapshot, len(names))
	err := each(ctx, sessionsAtOnce, names, func(ctx context.Context, i int, name string) (err error) {
		seen[i], err = r.all[name].Read(ctx)
		if session == "" && errors.Is(err, zkclient.ErrNoAuth) { // it is another user's
			return nil
		}
		return err
	})
	return slices.DeleteFunc(seen, func(s *Snapshot) bool { return s == nil }), err
}

// Follow gives a snapshot to show now, and again every so often, until ctx ends, whose cause it returns, or a look fails.
func (r *Reader) Follow(ctx context.Context, every time.Duration, show func(*Snapshot)) error {
	for {
		snapshot, err := r.Read(ctx)
		if err != nil {
			return err
		}
		show(snapshot)
		if err := zkclient.Sleep(ctx, every); err != nil {
			return err
		}
	}
}

// atOnce is how many znodes are read at the same time.
const atOnce = 32

// facts are what one look has found.
type facts struct {
	now     time.Time
	epoch   int64 // 0: there is no run
	meta    *wire.Meta
	queued  [3]int // in S/pathQueue, S/extQueue and S/split
	working [2]int // of the first two, in work
	failed  int    // in S/failedQueue, which a leader of this program empties
	done    int    // in S/completedQueue
	stats   map[string]int64
	master  int64            // the ZooKeeper session that has the lock
	all     map[int64]string // clients by their ZooKeeper sessions
	said    map[string]wire.Status
	control Control

	// Of clients that say nothing of themselves:
	sources, dests, ext map[string]bool
	states              map[string]string // of destinations
	runs                []Run

	failures []Failure
	more     int
}

// Read takes one snapshot.
func (r *Reader) Read(ctx context.Context) (*Snapshot, error) {
	f := &facts{now: time.Now()}
	ready, found, err := r.zk.Exists(ctx, r.tree.Ready())
	if err != nil {
		return nil, fmt.Errorf("cannot look at session %q: %w", r.tree.Name(), err)
	}
	if err := r.readQueues(ctx, f); err != nil {
		return nil, fmt.Errorf("cannot look at session %q: %w", r.tree.Name(), err)
	}
	if found {
		f.epoch = ready.Czxid
	} else if f.queued[0] == 0 {
		return f.snapshot(r.tree.Name()), nil
	}
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, look := range []func(context.Context, *facts) error{
		r.readMeta, r.readStats, r.readStatuses, r.readFailures, r.readControl,
		func(ctx context.Context, f *facts) (err error) { f.all, err = r.all.Sessions(ctx); return err },
		func(ctx context.Context, f *facts) (err error) { f.master, err = r.lock.Holder(ctx); return err },
	} {
		group.Go(func() error { return look(limited, f) })
	}
	if err = group.Wait(); err == nil {
		err = r.readSilent(ctx, f)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look at session %q: %w", r.tree.Name(), err)
	}
	return f.snapshot(r.tree.Name()), nil
}

// get reads a node; ok is false if there is none, or this user may not read it.
func (r *Reader) get(ctx context.Context, node string) (data []byte, stat zkclient.Stat, ok bool, err error) {
	data, stat, err = r.zk.Get(ctx, node)
	if errors.Is(err, zkclient.ErrNoNode) || errors.Is(err, zkclient.ErrNoAuth) {
		return nil, stat, false, nil
	}
	return data, stat, err == nil, err
}

// children are the names of the nodes below one, in order.
func (r *Reader) children(ctx context.Context, node string) ([]string, error) {
	names, err := r.zk.Children(ctx, node)
	if errors.Is(err, zkclient.ErrNoNode) || errors.Is(err, zkclient.ErrNoAuth) {
		return nil, nil
	}
	slices.Sort(names)
	return names, err
}

// each does something with names, with so many of them at a time.
func each(ctx context.Context, most int, names []string, do func(ctx context.Context, i int, name string) error) error {
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(most)
	for i, name := range names {
		group.Go(func() error { return do(limited, i, name) })
	}
	return group.Wait()
}

func (r *Reader) readMeta(ctx context.Context, f *facts) error {
	data, stat, ok, err := r.get(ctx, r.tree.Meta())
	if meta, of := wire.MetaOf(data, stat.Czxid, f.epoch); ok && of {
		f.meta = &meta
	}
	return err
}

func (r *Reader) readQueues(ctx context.Context, f *facts) error {
	nodes := []string{
		r.tree.PathQueue() + "/entries", r.tree.ExtQueue() + "/entries", r.tree.Split(), r.tree.PathQueue() + "/taken", r.tree.ExtQueue() + "/taken",
		r.tree.FailedQueue() + "/entries", r.tree.CompletedQueue() + "/entries",
	}
	counts := []*int{&f.queued[0], &f.queued[1], &f.queued[2], &f.working[0], &f.working[1], &f.failed, &f.done}
	return each(ctx, atOnce, nodes, func(ctx context.Context, i int, node string) error {
		stat, _, err := r.zk.Exists(ctx, node)
		*counts[i] = int(stat.NumChildren)
		return err
	})
}

// readStats reads the counters. Those that cannot be read hold nothing up.
func (r *Reader) readStats(ctx context.Context, f *facts) (err error) {
	f.stats, err = r.zk.Counters(ctx, r.tree.Stats(), rsyncrunner.StatNames[:])
	if errors.Is(err, zkclient.ErrNotCounter) || errors.Is(err, zkclient.ErrNoAuth) {
		return nil
	}
	return err
}

// readStatuses reads what the clients say of themselves.
func (r *Reader) readStatuses(ctx context.Context, f *facts) error {
	names, err := r.children(ctx, r.tree.Statuses())
	if err != nil {
		return err
	}
	said := make([]*wire.Status, len(names))
	err = each(ctx, atOnce, names, func(ctx context.Context, i int, name string) error {
		data, stat, ok, err := r.get(ctx, r.tree.Status(name))
		if s, bad := wire.DecodeStatus(data); ok && bad == nil && stat.EphemeralOwner != 0 { // else it is no client's
			said[i] = &s
		}
		return err
	})
	f.said = make(map[string]wire.Status, len(names))
	for i, name := range names {
		if said[i] != nil {
			f.said[name] = *said[i]
		}
	}
	return err
}

// readFailures reads some of what has failed.
func (r *Reader) readFailures(ctx context.Context, f *facts) error {
	parent := r.tree.Failures()
	names, err := r.children(ctx, parent)
	if err != nil {
		return err
	}
	if len(names) == 0 { // under a Python leader
		parent = r.tree.FailedQueue() + "/entries"
		if names, err = r.children(ctx, parent); err != nil {
			return err
		}
	}
	some := names[:min(len(names), MaxFailures)]
	found := make([]*Failure, len(some))
	err = each(ctx, atOnce, some, func(ctx context.Context, i int, name string) error {
		node := path.Join(parent, name)
		data, _, ok, err := r.get(ctx, node)
		if !ok || err != nil {
			return err
		}
		if parent != r.tree.Failures() {
			found[i] = &Failure{Path: wire.Text(data)}
		} else if failure, err := wire.DecodeFailure(data); err == nil {
			found[i] = &Failure{Path: failure.Path}
			for _, line := range failure.Errors {
				found[i].Errors = append(found[i].Errors, wire.Text(line))
			}
		}
		return nil
	})
	for _, failure := range found {
		if failure != nil {
			f.failures = append(f.failures, *failure)
		}
	}
	slices.SortFunc(f.failures, func(a, b Failure) int { return cmp.Compare(a.Path, b.Path) })
	f.more = len(names) - len(some)
	return err
}

// maxTaken is how many taken entries are looked at for those of Python sources.
const maxTaken = 1000

// readSilent finds out what is known of clients that say nothing of themselves: those of the Python program, and those
// that have just come.
func (r *Reader) readSilent(ctx context.Context, f *facts) error {
	silent := map[int64]string{}
	for session, who := range f.all {
		if _, says := f.said[who]; !says {
			silent[session] = who
		}
	}
	if len(silent) == 0 {
		return nil
	}
	for party, members := range map[*zkclient.Party]*map[string]bool{r.sources: &f.sources, r.dests: &f.dests, r.ext: &f.ext} {
		names, err := party.Members(ctx)
		if err != nil {
			return err
		}
		*members = map[string]bool{}
		for _, name := range names {
			(*members)[name] = true
		}
	}
	f.states = map[string]string{}
	python := map[int64]string{} // sources
	for session, who := range silent {
		if f.dests[who] {
			data, _, _, err := r.get(ctx, r.tree.Dest(who))
			if err != nil {
				return err
			}
			f.states[who] = string(data)
		}
		if f.sources[who] && !f.ext[who] {
			python[session] = who
		}
	}
	if len(python) == 0 {
		return nil
	}
	dests, err := r.taken(ctx, r.tree.DestQueue(), python)
	if err != nil {
		return err
	}
	receiver := map[string]string{}
	for _, t := range dests {
		if dest, err := wire.DecodeDest(t.value); err == nil {
			receiver[t.who] = dest.Whoami
		}
	}
	paths, err := r.taken(ctx, r.tree.PathQueue(), python)
	for _, t := range paths {
		f.runs = append(f.runs, Run{Path: wire.Text(t.value), Paths: 1, Source: t.who, Destination: receiver[t.who], Began: t.since})
	}
	return err
}

// taken is an entry of a queue that somebody has taken.
type taken struct {
	who   string
	value []byte
	since time.Time
}

// taken gives the entries that some clients have taken.
func (r *Reader) taken(ctx context.Context, queue string, by map[int64]string) (all []taken, err error) {
	names, err := r.children(ctx, queue+"/taken")
	if err != nil {
		return nil, err
	}
	names = names[:min(len(names), maxTaken)]
	found := make([]taken, len(names))
	err = each(ctx, atOnce, names, func(ctx context.Context, i int, name string) error {
		stat, _, err := r.zk.Exists(ctx, path.Join(queue, "taken", name))
		who := by[stat.EphemeralOwner]
		if err != nil || who == "" {
			return err
		}
		value, _, ok, err := r.get(ctx, path.Join(queue, "entries", name))
		if ok {
			found[i] = taken{who, value, moment(stat.Made / 1000)}
		}
		return err
	})
	return slices.DeleteFunc(found, func(t taken) bool { return t.who == "" }), err
}
