// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/zkclient"
)

// An uneven tree has paths that take much longer than others, and at the end all
// jobs but one would wait for the last of them. Then the master cuts such a path
// one level deeper. One that still waits it takes out of the queue; one that a Go
// slave works on it asks for (S/wanted), and the slave ends its rsync and hands
// it over; those of Python slaves stay where they are. Either way the path goes
// from its queue into S/split in one transaction, so that nobody can work on it
// while its pieces are, and the pieces take its place when the master has read
// the directory. Nobody else takes anything out of S/split.
//
// The pieces come on top of the window. With --paths-from nothing is cut, as there
// is no later walk that would see what was moved from one piece to another
// meanwhile.

// splitter cuts paths for a master. It works only while no walk does.
type splitter struct {
	ms    *master
	solid map[string]bool      // entries that cannot be cut
	soft  map[string]bool      // entries in the scene that can
	guard *guard               // knows what is excluded; nil: not yet needed
	seen  map[string]time.Time // entries in work, by their paths, and since when that is known
	asked wanted               // what S/wanted says

	cut *cutting // under way
}

// cutting is a path that becomes several.
type cutting struct {
	value  []byte
	whole  bool     // it goes back as it is
	node   string   // of S/split
	pieces [][]byte // not yet known to be queued
	after  int      // number of entries queued once the next ones are; 0: not yet tried
}

func newSplitter(ms *master) *splitter {
	return &splitter{ms: ms, solid: map[string]bool{}, soft: map[string]bool{}, seen: map[string]time.Time{}}
}

// step does what is to be done now.
func (s *splitter) step(ctx context.Context, m *member) error {
	if err := s.cutAll(ctx, m); err != nil {
		return err
	}
	if !s.ms.walksAgain() { // nobody would see what was moved from one piece to another
		return nil
	}
	now, err := s.look(ctx, m)
	if err != nil {
		return err
	}
	if now != nil && len(now.waiting) == 0 && now.idle > 0 {
		return s.ask(ctx, m, now)
	}
	if err := s.want(ctx, m, wanted{}); err != nil {
		return err
	}
	if now == nil || len(now.waiting) == 0 || !now.long {
		return nil
	}
	if err := s.fetch(ctx, m, now); err != nil {
		return err
	}
	return s.cutAll(ctx, m)
}

// scene is what the queues of paths look like when their end is near.
type scene struct {
	waiting []string // paths of entries nobody works on
	taken   []string // of those in work, the longest first
	jobs    int      // that the destinations can serve at once
	idle    int      // jobs without work
	long    bool     // some path has been in work for longer than SplitAfter
}

// look returns nil as long as enough paths wait.
func (s *splitter) look(ctx context.Context, m *member) (*scene, error) {
	queues := []string{m.tree.pathQueue(), m.tree.extQueue()}
	counts := make([]int, 6)
	group, limited := errgroup.WithContext(ctx)
	for i, path := range []string{
		queues[0] + "/entries", queues[1] + "/entries", queues[0] + "/taken", queues[1] + "/taken", m.tree.destQueue() + "/entries", m.tree.idle(),
	} {
		group.Go(func() error {
			stat, _, err := m.Exists(limited, path)
			counts[i] = int(stat.NumChildren)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	now := &scene{jobs: max(counts[4], 1), idle: counts[5]}
	entries, taken := counts[0]+counts[1], counts[2]+counts[3]
	if entries == 0 || entries-taken >= 2*now.jobs {
		clear(s.seen)
		clear(s.soft)
		return nil, nil
	}
	held := map[string]bool{}
	for _, queue := range queues {
		if err := s.lookAt(ctx, m, queue, now, held); err != nil {
			return nil, err
		}
	}
	for entry, since := range s.seen {
		if !held[entry] {
			delete(s.seen, entry)
		} else if time.Since(since) >= s.ms.cfg.Timing.SplitAfter {
			now.long = true
		}
	}
	slices.SortFunc(now.taken, func(a, b string) int { return s.seen[a].Compare(s.seen[b]) })
	return now, nil
}

// lookAt is look for one queue.
func (s *splitter) lookAt(ctx context.Context, m *member, queue string, now *scene, held map[string]bool) error {
	entries, err := children(ctx, m, queue+"/entries")
	if err != nil {
		return err
	}
	taken, err := children(ctx, m, queue+"/taken")
	if err != nil {
		return err
	}
	for _, name := range taken {
		entry := queue + "/entries/" + name
		held[entry] = true
		if s.seen[entry].IsZero() {
			s.seen[entry] = time.Now()
		}
		now.taken = append(now.taken, entry)
	}
	slices.Sort(entries)
	for _, name := range entries {
		if entry := queue + "/entries/" + name; !held[entry] {
			now.waiting = append(now.waiting, entry)
		}
	}
	return nil
}

// takenPath is the node that holds an entry.
func takenPath(entry string) string {
	return path.Join(path.Dir(path.Dir(entry)), "taken", path.Base(entry))
}

func children(ctx context.Context, m *member, path string) ([]string, error) {
	names, err := m.Children(ctx, path)
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil, nil
	}
	return names, err
}

// fetch takes entries that can be cut out of the queue.
func (s *splitter) fetch(ctx context.Context, m *member, now *scene) error {
	wants := 2*now.jobs - len(now.waiting)
	for _, entry := range now.waiting {
		if wants <= 0 {
			return nil
		}
		value, ok, err := s.cuttable(ctx, m, entry)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		taken := takenPath(entry)
		err = m.Multi(ctx,
			zkclient.OpCreate(taken, []byte(s.ms.whoami), zkclient.Ephemeral), // fails if somebody works on it
			zkclient.OpDelete(entry),
			zkclient.OpDelete(taken),
			zkclient.OpCreate(m.tree.split()+"/part-", value, zkclient.Sequential))
		switch {
		case errors.Is(err, zkclient.ErrNodeExists), errors.Is(err, zkclient.ErrNoNode), errors.Is(err, zkclient.ErrConnectionLoss):
			// Another was faster, or the next look at S/split tells.
		case err != nil:
			return fmt.Errorf("cannot take a path to cut it: %w", err)
		default:
			wants--
		}
	}
	return nil
}

// cuttable reads an entry, and tells whether it has something to be cut into.
func (s *splitter) cuttable(ctx context.Context, m *member, entry string) (value []byte, ok bool, err error) {
	value, _, err = m.Get(ctx, entry)
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	key := string(value)
	if s.solid[key] || s.soft[key] {
		return value, s.soft[key], nil
	}
	found, err := s.pieces(ctx, value)
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	if err != nil || !s.worthwhile(found) {
		s.solid[key] = true // whoever sends it meets what is wrong with it
		return value, false, nil
	}
	s.soft[key] = true
	return value, true, nil
}

// worthwhile tells whether several jobs could work on the pieces.
func (s *splitter) worthwhile(found []pathbuilder.Found) bool {
	parts := 0
	for _, f := range found {
		if f.Recursive || s.ms.isFlat(f) {
			parts++
		}
	}
	return parts > 1 || parts == 1 && s.ms.isFlat(found[0])
}

// deepest bounds how far pieces goes down a chain of directories.
const deepest = 64

// pieces reads the directory of an entry, and what is below as long as that is
// only one directory.
func (s *splitter) pieces(ctx context.Context, value []byte) (found []pathbuilder.Found, err error) {
	entry, err := pathbuilder.Decode(value)
	if err != nil {
		return nil, err
	}
	for range deepest {
		here, err := s.level(ctx, entry)
		if err != nil {
			return nil, err
		}
		found = append(found, here...)
		if len(here) != 2 || !here[1].Recursive {
			break
		}
		found, entry = found[:len(found)-1], here[1].Entry
	}
	return found, nil
}

// level is pieces for one directory. What the pattern would leave out here, but
// not below the depth, keeps a path whole.
func (s *splitter) level(ctx context.Context, entry pathbuilder.Entry) (found []pathbuilder.Found, err error) {
	rel, err := entry.Rel(s.ms.base)
	if err != nil {
		return nil, err
	}
	if entry.Recursive && !s.ms.cfg.ExcludeBelow {
		if s.guard == nil {
			if s.guard, err = newGuard(ctx, s.ms.client); err != nil {
				return nil, err
			}
		}
		shallow := pathbuilder.Entry{Path: entry.Path}
		if excluded, err := s.guard.excluded(ctx, shallow, rel); err != nil || len(excluded) > 0 {
			return nil, err
		}
	}
	opts := s.ms.walkOptions()
	opts.Logger = nil
	err = pathbuilder.Split(ctx, opts, entry.Path, func(f pathbuilder.Found) error {
		if entry.Recursive || !f.Recursive { // a shallow one has its children in entries of their own
			found = append(found, f)
		}
		return nil
	})
	return found, err
}

// ask tells the slaves what the idle jobs could do.
func (s *splitter) ask(ctx context.Context, m *member, now *scene) error {
	ours, err := s.goSessions(ctx, m)
	if err != nil {
		return err
	}
	var next wanted
	for _, entry := range now.taken {
		if len(next.Split)+len(next.Share) >= 2*now.idle || time.Since(s.seen[entry]) < s.ms.cfg.Timing.SplitAfter {
			break
		}
		taken := takenPath(entry)
		stat, held, err := m.Exists(ctx, taken)
		if err != nil {
			return err
		}
		if !held || !ours[stat.EphemeralOwner] {
			continue
		}
		_, ok, err := s.cuttable(ctx, m, entry)
		if err != nil {
			return err
		}
		if ok {
			next.Split = append(next.Split, wantedName(taken, stat.Czxid))
		} else {
			next.Share = append(next.Share, wantedName(taken, stat.Czxid))
		}
	}
	if !next.empty() {
		s.ms.log.Debug(fmt.Sprintf("%d jobs are idle: asking for %d paths to cut and %d to share", now.idle, len(next.Split), len(next.Share)))
	}
	return s.want(ctx, m, next)
}

// want writes S/wanted if it is not as it should be.
func (s *splitter) want(ctx context.Context, m *member, next wanted) error {
	if slices.Equal(next.Split, s.asked.Split) && slices.Equal(next.Share, s.asked.Share) {
		return nil
	}
	if _, err := m.Set(ctx, m.tree.wanted(), next.encode(), -1); err != nil {
		return fmt.Errorf("cannot ask for paths that idle jobs could work on: %w", err)
	}
	s.asked = next
	return nil
}

// goSessions are the ZooKeeper sessions of the clients that know S/wanted.
func (s *splitter) goSessions(ctx context.Context, m *member) (map[int64]bool, error) {
	party := m.tree.party(partyExt)
	names, err := children(ctx, m, party)
	if err != nil {
		return nil, err
	}
	sessions := map[int64]bool{}
	for _, name := range names {
		stat, ok, err := m.Exists(ctx, path.Join(party, name))
		if err != nil {
			return nil, err
		}
		if ok {
			sessions[stat.EphemeralOwner] = true
		}
	}
	return sessions, nil
}

// cutAll queues the pieces of all that is in S/split.
func (s *splitter) cutAll(ctx context.Context, m *member) error {
	if s.cut != nil {
		if err := s.queue(ctx, m); err != nil {
			return err
		}
	}
	stat, ok, err := m.Exists(ctx, m.tree.split())
	if err != nil || !ok || stat.NumChildren == 0 {
		return err
	}
	names, err := children(ctx, m, m.tree.split())
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		node := path.Join(m.tree.split(), name)
		value, _, err := m.Get(ctx, node)
		if errors.Is(err, zkclient.ErrNoNode) {
			continue
		}
		if err != nil {
			return err
		}
		if s.cut, err = s.prepare(ctx, node, value); err != nil {
			return err
		}
		if err := s.queue(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// prepare reads what a path is to become. One that cannot be cut any more goes
// back as it is.
func (s *splitter) prepare(ctx context.Context, node string, value []byte) (*cutting, error) {
	found, err := s.pieces(ctx, value)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c := &cutting{value: value, node: node}
	if err != nil || !s.worthwhile(found) {
		s.solid[string(value)] = true
		c.pieces, c.whole = [][]byte{value}, true
		return c, nil
	}
	for _, f := range found {
		values, err := s.ms.cutFlat(ctx, f)
		if err != nil {
			return nil, err
		}
		s.ms.stamps.fresh(f)
		c.pieces = append(c.pieces, values...)
		if !f.Recursive && strings.HasPrefix(string(value), recursivePrefix) {
			s.ms.deeper[f.Path] = true
		}
	}
	if !sleep(ctx, pathbuilder.Settle) { // else their stamps would tell too little
		return nil, context.Cause(ctx)
	}
	s.ms.log.Info(fmt.Sprintf("Path %s is cut into %d", printable(string(value)), len(c.pieces)))
	return c, nil
}

// queue puts the pieces of a path into the queue, and with the last of them takes
// the path itself out of S/split and the account: exactly once, as feed does.
func (s *splitter) queue(ctx context.Context, m *member) error {
	for s.cut != nil {
		n, size := 0, 0
		for n < len(s.cut.pieces) && n < feedEntries && size < feedBytes {
			size += len(s.cut.pieces[n]) + feedOverhead
			n++
		}
		last := n == len(s.cut.pieces)
		more := n
		if last {
			more-- // the path itself
		}
		if s.cut.after == 0 {
			s.cut.after = s.ms.ledger.now().Cuts + 1
		}
		again := 0 // the pieces take the place of an earlier failure too
		if last && !s.cut.whole && s.ms.account.failed[text(s.cut.value)] {
			again = 1
		}
		if s.ms.ledger.now().Cuts < s.cut.after {
			ops := m.putOps(s.cut.pieces[:n])
			if last {
				ops = append(ops, zkclient.OpDelete(s.cut.node))
			}
			err := s.ms.ledger.update(ctx, m, func(mt *meta) {
				mt.Queued += more
				mt.Cuts = s.cut.after
				mt.Again += again
				mt.Ended.Failed -= again
			}, ops...)
			if err != nil {
				return fmt.Errorf("cannot queue the pieces of a path: %w", err)
			}
		}
		s.cut.pieces, s.cut.after = s.cut.pieces[n:], 0
		if again > 0 {
			delete(s.ms.account.failed, text(s.cut.value))
		}
		if last {
			s.cut = nil
		}
	}
	return nil
}

// drain hands out what nobody has cut, and removes it.
func (s *splitter) drain(ctx context.Context, m *member, each func([]byte) error) error {
	names, err := children(ctx, m, s.ms.tree.split())
	if err != nil {
		return err
	}
	for _, name := range names {
		node := path.Join(m.tree.split(), name)
		value, _, err := m.Get(ctx, node)
		if err == nil {
			err = each(value)
		}
		if err == nil {
			err = m.Delete(ctx, node)
		}
		if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
			return err
		}
	}
	return nil
}
