// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// A path that was completed counts when its data is on the destination's disk: a loss of power there would
// take what is only in memory. Destinations flush every few minutes and say in S/synced of which results
// that is true; until then these stay in S/results. When nothing else is left the leader asks for it.
// What a destination says is void, and what it has not flushed when it leaves, is sent again, which only
// compares what is there. A Python destination has no node in S/synced: its results count at once.

// maxWaiting is how many results may wait before the leader asks for them: a list of all has to fit into
// one reply.
const maxWaiting = 10_000

// durable knows which results wait for their destinations.
type durable struct {
	log    *slog.Logger
	m      *member.Member  // in whose ZooKeeper session S/sync was read
	on     bool            // results wait in this session
	ending bool            // nothing can be sent again
	aside  map[string]bool // nodes that the account has set aside

	waiting map[string]waits       // by name
	back    bool                   // the last look found some to be sent again
	said    map[string]wire.Synced // by destination
	version int64                  // of S/synced, when that was read
	gone    map[string]time.Time   // destinations that are not in the session, since when
	asked   int64                  // the transaction that has asked for the last flush
	since   time.Time              // when that was
	warned  bool
}

// waits is a result that waits.
type waits struct {
	since int64 // as in the result
	czxid int64
	dest  string
	paths int
}

// sorted is what can be done with results now.
type sorted struct {
	counts []string
	back   []string // their paths are to be sent again
	failed []failure
}

// failure is a result whose data could not be flushed.
type failure struct{ name, problem string }

func newDurable(log *slog.Logger) *durable {
	return &durable{log: log, waiting: map[string]waits{}, said: map[string]wire.Synced{}, gone: map[string]time.Time{}}
}

// syncMode is what S/sync says in a session with these settings.
func (l *Leader) syncMode() string {
	switch {
	case l.asked.Rsync.DryRun || l.asked.Rsync.Verify:
		return wire.SyncDry
	case l.cfg.NoSync || l.cfg.Lines > 0:
		return wire.SyncOff
	}
	return wire.SyncOn
}

// paths is how many have been sent and do not count yet.
func (d *durable) paths() int {
	n := 0
	for _, w := range d.waiting {
		n += w.paths
	}
	return n
}

// open tells whether something waits, or was just put back into a queue.
func (d *durable) open() bool { return len(d.waiting) > 0 || d.back }

// look finds out, once in each ZooKeeper session, whether results wait.
func (d *durable) look(ctx context.Context, m *member.Member) error {
	if d.m == m {
		return nil
	}
	data, stat, ok, err := m.Read(ctx, m.Tree.Sync())
	if err != nil {
		return fmt.Errorf("cannot read when results count: %w", err)
	}
	d.m = m
	d.on = d.on || ok && stat.Czxid == m.Client.Epoch() && string(data) == wire.SyncOn
	return nil
}

// sort reads the results that are new, and says which count now.
func (d *durable) sort(ctx context.Context, m *member.Member) (now sorted, err error) {
	names, err := recorded(ctx, m, m.Tree.Results(), len(d.waiting))
	names = slices.DeleteFunc(names, func(name string) bool { return d.aside[m.Tree.Results()+"/"+name] })
	if err != nil || !d.on {
		return sorted{counts: names}, err
	}
	fresh, others, err := d.read(ctx, m, names)
	if err != nil {
		return now, err
	}
	if len(fresh) > 0 || len(d.waiting) > 0 {
		if err := d.listen(ctx, m); err != nil {
			return now, err
		}
	}
	now.counts = others
	for name, w := range fresh {
		if _, ok := d.said[w.dest]; ok {
			d.waiting[name] = w
		} else {
			now.counts = append(now.counts, name)
		}
	}
	for name, w := range d.waiting {
		switch span, known := d.said[w.dest].Of(w.since, w.czxid); {
		case known && span == nil:
			now.counts = append(now.counts, name)
		case known && span.Error != "":
			now.failed = append(now.failed, failure{name, span.Error})
		case known, d.hasLeft(m, w.dest):
			if !d.ending {
				now.back = append(now.back, name)
			}
		}
	}
	slices.Sort(now.counts)
	slices.Sort(now.back)
	slices.SortFunc(now.failed, func(a, b failure) int { return strings.Compare(a.name, b.name) })
	d.back = len(now.back) > 0
	if len(d.waiting) >= maxWaiting {
		err = d.ask(ctx, m)
	}
	return now, err
}

// read reads those of the named results that are not known to wait, and tells those that may have to from the
// others.
func (d *durable) read(ctx context.Context, m *member.Member, names []string) (fresh map[string]waits, others []string, err error) {
	if len(names) > 0 {
		for name := range d.waiting {
			if _, there := slices.BinarySearch(names, name); !there {
				delete(d.waiting, name) // somebody has removed it
			}
		}
	}
	fresh = map[string]waits{}
	var mu sync.Mutex
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for _, name := range names {
		if _, known := d.waiting[name]; known {
			continue
		}
		group.Go(func() error {
			data, stat, err := m.ZK.Get(limited, m.Tree.Results()+"/"+name)
			if errors.Is(err, zkclient.ErrNoNode) {
				return nil
			}
			if err != nil && !refused(err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if r, bad := wire.DecodeResult(data); err == nil && bad == nil && r.Outcome == wire.Completed && r.Dest != "" {
				fresh[name] = waits{r.Since, stat.Czxid, r.Dest, len(r.Paths)}
			} else {
				others = append(others, name)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, fmt.Errorf("cannot read the results: %w", err)
	}
	return fresh, others, nil
}

// listen reads what destinations say, if that has changed, and who of them is there. What one says last, it says before
// it leaves; so they are counted first.
func (d *durable) listen(ctx context.Context, m *member.Member) error {
	there, err := m.Party(wire.PartyDests).Members(ctx)
	if err != nil {
		return err
	}
	stat, _, err := m.ZK.Exists(ctx, m.Tree.AllSynced())
	if err != nil {
		return fmt.Errorf("cannot look for what destinations have flushed: %w", err)
	}
	if stat.Mzxid != d.version {
		names, err := m.Children(ctx, m.Tree.AllSynced())
		if err != nil {
			return fmt.Errorf("cannot read what destinations have flushed: %w", err)
		}
		for _, whoami := range names {
			data, _, ok, err := m.Read(ctx, m.Tree.Synced(whoami))
			if err != nil {
				return fmt.Errorf("cannot read what destination %s has flushed: %w", whoami, err)
			}
			said, bad := wire.DecodeSynced(data)
			if bad != nil && ok {
				m.Log.Warn(fmt.Sprintf("%v: nothing of %s counts", bad, whoami), "destination", whoami, "error", bad)
			}
			d.said[whoami] = said
		}
		d.version = stat.Mzxid
	}
	for whoami := range d.said {
		if slices.Contains(there, whoami) {
			delete(d.gone, whoami)
		} else if d.gone[whoami].IsZero() {
			d.gone[whoami] = time.Now()
		}
	}
	return nil
}

// hasLeft tells whether a destination is gone for good. One that has only lost its ZooKeeper session comes
// back.
func (d *durable) hasLeft(m *member.Member, whoami string) bool {
	since := d.gone[whoami]
	return !since.IsZero() && time.Since(since) >= m.Client.Timing.Away
}

// taken forgets results that wait no more.
func (d *durable) taken(names ...string) {
	for _, name := range names {
		delete(d.waiting, name)
	}
	d.warned = d.warned && len(d.waiting) > 0
}

// ask has destinations flush, if they were not asked since the last result. It says which do not do it.
func (d *durable) ask(ctx context.Context, m *member.Member) error {
	last, dests := int64(0), map[string]bool{}
	for _, w := range d.waiting {
		last = max(last, w.czxid)
		dests[w.dest] = true
	}
	if last > d.asked {
		stat, err := m.ZK.Set(ctx, m.Tree.Sync(), []byte(wire.SyncOn), -1)
		if err != nil && refused(err) {
			m.Log.Warn(fmt.Sprintf("%v: nobody can be asked to flush, and results count without", err), "event", "foreign", "znode", m.Tree.Sync())
			d.on = false
			clear(d.waiting)
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot ask the destinations to flush: %w", err)
		}
		d.asked, d.since = stat.Mzxid, time.Now()
	}
	if len(dests) > 0 && !d.warned && time.Since(d.since) >= m.Client.Timing.Leave {
		d.warned = true
		names := make([]string, 0, len(dests))
		for whoami := range dests {
			names = append(names, whoami)
		}
		slices.Sort(names)
		m.Log.Warn(fmt.Sprintf("%d paths are sent, and wait until these destinations have flushed them to disk: %s", d.paths(), strings.Join(names, ", ")),
			"event", "waiting-for-flush", "paths", d.paths(), "clients", names)
	}
	return nil
}

// soon is how long a flush that was just asked for may take: a short session should not wait longer for it
// than for its paths.
func (d *durable) soon() time.Duration {
	if len(d.waiting) == 0 || time.Since(d.since) > time.Second {
		return time.Second
	}
	return 10 * time.Millisecond
}

// release spares destinations the last flush, when nothing waits.
func (d *durable) release(ctx context.Context, m *member.Member) error {
	if !d.on || len(d.waiting) > 0 {
		return nil
	}
	if err := m.ZK.Delete(ctx, m.Tree.Sync()); err != nil && !refused(err) {
		return err
	}
	return nil
}

// drain takes out the results that wait, at the end, giving each path.
func (d *durable) drain(ctx context.Context, m *member.Member, each func([]byte) error) error {
	for name := range d.waiting {
		node := m.Tree.Results() + "/" + name
		data, _, err := m.ZK.Get(ctx, node)
		if err == nil {
			r, _ := wire.DecodeResult(data) // it was read before
			for _, path := range r.Paths {
				if err := each([]byte(path)); err != nil {
					return err
				}
			}
			err = m.ZK.Delete(ctx, node)
		}
		if err != nil && !refused(err) {
			return fmt.Errorf("cannot take out what was not flushed: %w", err)
		}
		delete(d.waiting, name)
	}
	return nil
}

// failedFlush is what becomes of a result whose data could not be written to disk.
func failedFlush(r wire.Result, problem string) wire.Result {
	r.Outcome, r.Errors = wire.Failed, append(r.Errors, problem)
	return r
}
