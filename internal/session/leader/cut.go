// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// cutAll queues the pieces of all that is in S/split; while nothing is to be begun those of a path that it has begun
// with.
func (s *splitter) cutAll(ctx context.Context, m *member.Member, held bool) error {
	if s.cut != nil {
		if err := s.queue(ctx, m); err != nil {
			return err
		}
	}
	if held {
		return nil
	}
	stat, ok, err := m.ZK.Exists(ctx, m.Tree.Split())
	if err != nil || !ok || stat.NumChildren == 0 {
		return err
	}
	names, err := m.Children(ctx, m.Tree.Split())
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		node := path.Join(m.Tree.Split(), name)
		value, stat, err := m.ZK.Get(ctx, node)
		if err == nil && (stat.NumChildren > 0 || stat.EphemeralOwner != 0 || !s.ledger.isOpen(wire.Text(value))) || refused(err) {
			continue // or the judge's
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

// prepare reads what a path is to become. One that cannot be cut any more goes back as it is.
func (s *splitter) prepare(ctx context.Context, node string, value []byte) (*cutting, error) {
	task := wire.DecodeTask(value)
	found, err := s.pieces(ctx, task)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c := &cutting{task: task, node: node}
	begun := s.ledger.now().Cut // by an earlier leader
	if begun != nil && begun.Node != path.Base(node) {
		begun = nil
	}
	if begun != nil {
		err = ignoreGone(err) // the next walk tells of what has gone
	}
	if err != nil || begun == nil && !s.worthwhile(found) {
		s.whole[string(value)] = true
		c.pieces, c.back = []wire.Task{task}, true
		return c, nil
	}
	for _, f := range found {
		tasks, err := s.survey.tasks(ctx, f)
		if err != nil {
			return nil, err
		}
		s.survey.fresh(f)
		c.pieces = append(c.pieces, tasks...)
		if !f.Recursive && task.Kind == wire.Recursive {
			s.survey.cutDeeper(f.Path)
			c.news = append(c.news, news{&s.ledger.deeper, s.tree.DeeperAt(f.Path), []byte(f.Path)})
		}
	}
	if begun != nil {
		c.pieces = slices.DeleteFunc(c.pieces, func(piece wire.Task) bool { return !isBehind(piece, wire.DecodeTask([]byte(begun.Last))) })
	}
	s.ledger.history.cut(task, c.pieces)
	if err := zkclient.Sleep(ctx, pathbuilder.Settle); err != nil { // else their stamps would tell too little
		return nil, err
	}
	s.log.Info(fmt.Sprintf("Path %s is cut into %d", task.Value, len(c.pieces)), "event", "cut", "path", task.Value, "pieces", len(c.pieces))
	return c, nil
}

// isBehind tells whether a piece of a path comes after another.
func isBehind(a, b wire.Task) bool {
	// As a walk compares paths: name by name.
	names := func(dir string) string { return strings.ReplaceAll(dir, "/", "\x00") }
	return cmp.Or(cmp.Compare(names(a.Dir), names(b.Dir)), cmp.Compare(a.From, b.From)) > 0
}

// queue puts the pieces of a path into the queue, and with the last of them takes the path itself out of
// S/split and the account: exactly once, as feed does.
func (s *splitter) queue(ctx context.Context, m *member.Member) error {
	for s.cut != nil {
		n, size := 0, 0
		for n < len(s.cut.pieces) && n < feedEntries && size < feedBytes {
			size += len(s.cut.pieces[n].Value) + feedOverhead
			n++
		}
		last := n == len(s.cut.pieces)
		if s.cut.after == 0 {
			s.cut.after = s.ledger.now().Cuts + 1
		}
		again := 0 // the pieces take the place of an earlier failure too
		if last && !s.cut.back && s.account.hasFailed(s.cut.task.Value) {
			again = 1
		}
		if s.ledger.now().Cuts < s.cut.after {
			if s.cut.back {
				s.cut.keep = s.cut.pieces
			} else if !s.cut.expected {
				s.cut.keep, s.cut.over = s.skips.sort(s.cut.pieces[:n])
				s.ledger.expect(s.cut.keep)
				s.ledger.expect(s.cut.over)
				s.cut.expected = true
			}
			ops := append(s.queues.putOps(m, s.cut.keep), skippedOps(m, s.cut.over)...)
			more := len(s.cut.keep) + len(s.cut.over)
			if last {
				ops = append(ops, zkclient.OpDelete(s.cut.node))
				more-- // the path itself
			}
			var noted []news
			for _, piece := range s.cut.keep {
				noted = append(noted, s.notes(piece)...)
			}
			var so *wire.Cut
			if last {
				noted = append(noted, s.cut.news...)
			} else {
				so = &wire.Cut{Node: path.Base(s.cut.node), Last: s.cut.pieces[n-1].Value}
			}
			if again > 0 {
				noted = append(noted, news{&s.ledger.failures, s.tree.Failure(s.cut.task.Value), nil})
			}
			err := s.ledger.note(ctx, m, func(meta *wire.Meta) {
				meta.Queued += more
				meta.Cuts, meta.Cut = s.cut.after, so
				meta.Again += again
				meta.Ended.Failed -= again
			}, noted, ops...)
			if err != nil {
				return fmt.Errorf("cannot queue the pieces of a path: %w", err)
			}
		}
		s.cut.pieces, s.cut.after, s.cut.expected = s.cut.pieces[n:], 0, false
		if last && !s.cut.back {
			s.ledger.ends(s.cut.task.Value)
		}
		if again > 0 {
			s.account.forget(s.cut.task.Value)
		}
		if last {
			s.cut = nil
		}
	}
	return nil
}

// drain hands out what nobody has cut, and removes it.
func (s *splitter) drain(ctx context.Context, m *member.Member, each func([]byte) error) error {
	names, err := m.Children(ctx, m.Tree.Split())
	if err != nil {
		return err
	}
	for _, name := range names {
		node := path.Join(m.Tree.Split(), name)
		value, _, err := m.ZK.Get(ctx, node)
		if err == nil {
			err = each(value)
		}
		if err == nil {
			err = m.ZK.Delete(ctx, node)
		}
		if err != nil && !refused(err) {
			return err
		}
	}
	return nil
}

// cuttable reads an entry, and tells whether it has something to be cut into.
func (s *splitter) cuttable(ctx context.Context, m *member.Member, entry string) (task wire.Task, ok bool, err error) {
	value, stat, err := m.ZK.Get(ctx, entry)
	if err == nil && (stat.NumChildren > 0 || !s.ledger.isOpen(wire.Text(value))) || refused(err) {
		return task, false, nil
	}
	if err != nil {
		return task, false, err
	}
	task = wire.DecodeTask(value)
	key := string(value)
	if s.whole[key] || s.divides[key] {
		return task, s.divides[key], nil
	}
	found, err := s.pieces(ctx, task)
	if ctx.Err() != nil {
		return task, false, context.Cause(ctx)
	}
	if err != nil || !s.worthwhile(found) {
		s.whole[key] = true // whoever sends it meets what is wrong with it
		return task, false, nil
	}
	s.divides[key] = true
	return task, true, nil
}

// worthwhile tells whether several jobs could work on the pieces.
func (s *splitter) worthwhile(found []pathbuilder.Found) bool {
	parts := 0
	for _, f := range found {
		if f.Recursive || s.survey.isFlat(f) {
			parts++
		}
	}
	return parts > 1 || parts == 1 && s.survey.isFlat(found[0])
}

// deepest bounds how far pieces goes down a chain of directories.
const deepest = 64

// pieces reads the directory of a task, and what is below as long as that is only one directory.
func (s *splitter) pieces(ctx context.Context, task wire.Task) (found []pathbuilder.Found, err error) {
	if !task.Kind.Joins() {
		return nil, fmt.Errorf("cannot cut %s: it is no directory", task.Value)
	}
	entry := task.Entry()
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

// level is pieces for one directory. What the pattern would leave out here, but not below the depth, keeps
// a path whole.
func (s *splitter) level(ctx context.Context, entry pathbuilder.Entry) (found []pathbuilder.Found, err error) {
	base := s.survey.base
	rel, err := entry.Rel(base.Dir)
	if err != nil {
		return nil, err
	}
	if entry.Recursive && !base.Config.ExcludeBelow {
		if s.source == nil {
			if s.source, err = guard.NewSource(ctx, base); err != nil {
				return nil, err
			}
		}
		shallow := pathbuilder.Entry{Path: entry.Path}
		if excluded, err := s.source.Excluded(ctx, shallow, rel, nil); err != nil || len(excluded) > 0 {
			return nil, err
		}
	}
	isNew, err := base.NewMounts()
	if err != nil {
		return nil, err
	}
	opts := s.survey.options()
	opts.Logger = nil
	err = pathbuilder.Split(ctx, opts, entry.Path, func(f pathbuilder.Found) error {
		if (entry.Recursive || !f.Recursive) && (f.Path == entry.Path || !isNew(f.Path)) { // a shallow one has its children in entries of their own
			found = append(found, f)
		}
		return nil
	})
	return found, err
}
