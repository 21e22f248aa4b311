// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"path"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// ErrUnclean is the end of a leader that finds the watch node of an earlier session.
var ErrUnclean = errors.New("an earlier run of this session was not finished")

// begin makes the nodes of a new session; ErrUnclean if those of an earlier one are there.
func (l *Leader) begin(ctx context.Context, m *member.Member) error {
	ours, err := l.begun(ctx, m)
	if err != nil {
		return err
	}
	if !ours {
		if err := l.prepare(ctx, m); err != nil {
			return err
		}
	}
	stat, ok, err := m.ZK.Exists(ctx, m.Tree.Ready())
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("cannot find the session just started: %s is gone", m.Tree.Ready()))
	}
	if _, err := m.ZK.Set(ctx, m.Tree.Meta(), wire.NewMeta(l.id, stat.Czxid, l.asked.Terms).Encode(), -1); err != nil {
		return err
	}
	l.client.SetEpoch(stat.Czxid)
	if err := l.clients.look(ctx, m); err != nil {
		return err
	}
	l.walked = l.cfg.walksAgain()
	l.feed = l.newFeed(l.firstPass)
	l.feed.finished = func() { l.log().Info("pathqueue building finished", "paths", l.feed.count) }
	return nil
}

// begun tells whether this leader's session has begun already, which the lost reply of an earlier
// ZooKeeper session may have kept from it; ErrUnclean if another one has.
func (l *Leader) begun(ctx context.Context, m *member.Member) (bool, error) {
	_, ok, err := m.ZK.Exists(ctx, m.Tree.Ready())
	if err != nil || !ok {
		return false, err
	}
	data, _, err := m.ZK.Get(ctx, m.Tree.Meta())
	if err != nil && !errors.Is(err, zkclient.ErrNoNode) {
		return false, err
	}
	if meta, ok := wire.DecodeMeta(data); err == nil && ok && meta.ID == l.id {
		return true, nil
	}
	//lint:ignore ST1005 the text is the Python program's, which logs are searched for
	return false, fmt.Errorf("%w: watchnode %s already exists!", ErrUnclean, m.Tree.Ready())
}

// prepare removes what an earlier session has left, makes the queues, and begins: the watch node, S/meta
// and S/sync in one transaction.
func (l *Leader) prepare(ctx context.Context, m *member.Member) error {
	if l.cfg.walksAgain() {
		if err := l.survey.chooseDepth(ctx); err != nil {
			return err
		}
		if err := l.survey.check(ctx); err != nil {
			return err
		}
	} else if l.cfg.PathsFrom != "" {
		file, err := l.listed()
		if err != nil {
			return err
		}
		l.survey.takeLeftovers() // of an earlier try
		l.survey.leaveOver(file.leftovers)
	}
	l.log().Info("removing old queue and building new queue")
	for _, path := range m.Tree.OfSession() {
		if err := m.ZK.DeleteTree(ctx, path); err != nil {
			return err
		}
	}
	for _, path := range []string{
		m.Tree.PathQueue(), m.Tree.ExtQueue(), m.Tree.CompletedQueue(),
		m.Tree.FailedQueue(), m.Tree.OutputQueue(), m.Tree.DestQueue(),
	} {
		if err := m.ZK.Queue(path).Ensure(ctx); err != nil {
			return err
		}
	}
	for _, path := range []string{m.Tree.Results(), m.Tree.Split(), m.Tree.Wanted(), m.Tree.Idle(), m.Tree.AllSynced(), path.Dir(m.Tree.Ready())} {
		if err := m.ZK.EnsurePath(ctx, path); err != nil {
			return err
		}
	}
	if err := m.Budget(l.asked.MaxDelete).Make(ctx); err != nil {
		return err
	}
	ops := []zkclient.Op{
		zkclient.OpCreate(m.Tree.Ready(), []byte(wire.Start), zkclient.Persistent),
		zkclient.OpCreate(m.Tree.Meta(), wire.NewMeta(l.id, 0, l.asked.Terms).Encode(), zkclient.Persistent),
		zkclient.OpCreate(m.Tree.Sync(), []byte(l.syncMode()), zkclient.Persistent),
	}
	if l.cfg.Lines == 0 {
		place, err := l.base.Describe()
		if err != nil {
			return err
		}
		ops = append(ops, zkclient.OpCreate(m.Tree.Place(), place.Encode(), zkclient.Persistent))
	}
	for {
		err := m.ZK.Multi(ctx, ops...)
		if errors.Is(err, zkclient.ErrConnectionLoss) || errors.Is(err, zkclient.ErrNodeExists) {
			ours, err := l.begun(ctx, m)
			if ours || err != nil {
				return err
			}
			continue
		}
		return err
	}
}

// recover is what a single source does with a session that was not finished: it cleans up, so that the next
// start finds nothing in its way. With others around it touches nothing. It returns unclean in any case but
// a failure.
func (l *Leader) recover(ctx context.Context, m *member.Member, lock *zkclient.Lock, unclean error) error {
	clients, err := m.Party(wire.PartyAll).Count(ctx)
	if err != nil {
		return fmt.Errorf("cannot count the clients of the session: %w", err)
	}
	if clients > 1 {
		if err := lock.Release(ctx); err != nil {
			return fmt.Errorf("cannot release the master's lock: %w", err)
		}
		return fmt.Errorf("%w There are %d other clients: end them all, wait until ZooKeeper has seen them gone (10 s), then start one source alone to clean up", unclean, clients-1)
	}
	if err := l.adopt(ctx, m); err != nil {
		return err
	}
	if err := l.cleanup(ctx, m, lock); err != nil && !errors.Is(err, wire.ErrIncomplete) {
		return err
	}
	return fmt.Errorf("%w It has been cleaned up: start the session again", unclean)
}

// adopt takes over what is known of the session of another leader, so that it can be cleaned up; a Python one
// has left nothing.
func (l *Leader) adopt(ctx context.Context, m *member.Member) error {
	stat, _, err := m.ZK.Exists(ctx, m.Tree.Ready())
	if err != nil {
		return err
	}
	l.client.SetEpoch(stat.Czxid)
	if _, _, ok, err := m.Meta(ctx); err != nil {
		return err
	} else if !ok {
		// What is in S/extQueue is of yet another session, whose clean-up did not know it.
		for _, path := range []string{m.Tree.ExtQueue(), m.Tree.Results(), m.Tree.Links(), m.Tree.Split(), m.Tree.Meta(), m.Tree.Place()} {
			if err := m.ZK.DeleteTree(ctx, path); err != nil {
				return err
			}
		}
		if _, err := m.ZK.Create(ctx, m.Tree.Meta(), wire.NewMeta(l.id, stat.Czxid, nil).Encode(), zkclient.Persistent); err != nil {
			return err
		}
	}
	return l.ledger.settle(ctx, m)
}
