// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// scene is what the queues of paths look like when their end is near.
type scene struct {
	waiting []string // paths of entries nobody works on
	taken   []string // of those in work, the longest first
	jobs    int      // that the destinations can serve at once
	idle    int      // jobs without work
	long    bool     // some path has been in work for longer than SplitAfter
}

// look returns nil as long as enough paths wait.
func (s *splitter) look(ctx context.Context, m *member.Member) (*scene, error) {
	queues := []string{m.Tree.PathQueue(), m.Tree.ExtQueue()}
	counts := make([]int, 7)
	group, limited := errgroup.WithContext(ctx)
	for i, path := range []string{
		queues[0] + "/entries", queues[1] + "/entries", queues[0] + "/taken", queues[1] + "/taken", m.Tree.Idle(),
		m.Tree.DestQueue() + "/entries", m.Tree.ExtDestQueue() + "/entries",
	} {
		group.Go(func() error {
			stat, _, err := m.ZK.Exists(limited, path)
			counts[i] = int(stat.NumChildren)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	now := &scene{jobs: max(counts[5]+counts[6], 1), idle: counts[4]}
	entries, taken := counts[0]+counts[1], counts[2]+counts[3]
	if entries == 0 || entries-taken >= 2*now.jobs {
		clear(s.seen)
		clear(s.divides)
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
		} else if time.Since(since) >= m.Client.Timing.SplitAfter {
			now.long = true
		}
	}
	slices.SortFunc(now.taken, func(a, b string) int { return s.seen[a].Compare(s.seen[b]) })
	return now, nil
}

// lookAt is look for one queue.
func (s *splitter) lookAt(ctx context.Context, m *member.Member, queue string, now *scene, held map[string]bool) error {
	entries, err := m.Children(ctx, queue+"/entries")
	if err != nil {
		return err
	}
	taken, err := m.Children(ctx, queue+"/taken")
	if err != nil {
		return err
	}
	slices.Sort(taken) // those that are seen for the first time in the order of the queue
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

// fetch takes entries that can be cut out of the queue.
func (s *splitter) fetch(ctx context.Context, m *member.Member, now *scene) error {
	wants := 2*now.jobs - len(now.waiting)
	for _, entry := range now.waiting {
		if wants <= 0 {
			return nil
		}
		task, ok, err := s.cuttable(ctx, m, entry)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		taken := takenPath(entry)
		err = m.ZK.Multi(ctx,
			zkclient.OpCreate(taken, []byte(m.Client.Whoami), zkclient.Ephemeral), // fails if somebody works on it
			zkclient.OpDelete(entry),
			zkclient.OpDelete(taken),
			zkclient.OpCreate(m.Tree.Split()+"/part-", []byte(task.Value), zkclient.Sequential))
		switch {
		case errors.Is(err, zkclient.ErrNodeExists), refused(err):
			// Another was faster, or it is the judge's.
		case errors.Is(err, zkclient.ErrConnectionLoss):
			// The next look at S/split tells whether it was done.
		case err != nil:
			return fmt.Errorf("cannot take a path to cut it: %w", err)
		default:
			wants--
		}
	}
	return nil
}

// ask tells the workers what the idle jobs could do.
func (s *splitter) ask(ctx context.Context, m *member.Member, now *scene) error {
	ours, err := s.goSessions(ctx, m)
	if err != nil {
		return err
	}
	if s.asked.Len() == 0 || s.since.IsZero() {
		s.since = time.Now()
	}
	// Whoever is in the midst of a large file does not answer, so others are asked, too, when that takes long.
	most := 2*now.idle + int(time.Since(s.since)/m.Client.Timing.SplitAfter)
	var next wire.Wanted
	for _, entry := range now.taken {
		if next.Len() >= most || time.Since(s.seen[entry]) < m.Client.Timing.SplitAfter {
			break
		}
		taken := takenPath(entry)
		stat, held, err := m.ZK.Exists(ctx, taken)
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
			next.Split = append(next.Split, wire.WantedName(taken, stat.Czxid))
		} else {
			next.Share = append(next.Share, wire.WantedName(taken, stat.Czxid))
		}
	}
	if next.Len() > 0 {
		s.log.Debug(fmt.Sprintf("%d jobs are idle: asking for %d paths to cut and %d to share", now.idle, len(next.Split), len(next.Share)),
			"idle", now.idle, "split", len(next.Split), "share", len(next.Share))
	}
	return s.want(ctx, m, next)
}

// want writes S/wanted if it is not as it should be.
func (s *splitter) want(ctx context.Context, m *member.Member, next wire.Wanted) error {
	if next.Equal(s.asked) {
		return nil
	}
	if _, err := m.ZK.Set(ctx, m.Tree.Wanted(), next.Encode(), -1); err != nil && !refused(err) { // else nobody is asked
		return fmt.Errorf("cannot ask for paths that idle jobs could work on: %w", err)
	}
	s.asked = next
	return nil
}

// goSessions are the ZooKeeper sessions of the clients that know S/wanted.
func (s *splitter) goSessions(ctx context.Context, m *member.Member) (map[int64]bool, error) {
	party := m.Tree.Party(wire.PartyExt)
	names, err := m.Children(ctx, party)
	if err != nil {
		return nil, err
	}
	sessions := map[int64]bool{}
	for _, name := range names {
		stat, ok, err := m.ZK.Exists(ctx, path.Join(party, name))
		if err != nil {
			return nil, err
		}
		if ok {
			sessions[stat.EphemeralOwner] = true
		}
	}
	return sessions, nil
}
