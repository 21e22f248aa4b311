// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

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
	l.client.SetEpoch(stat.Czxid)
	meta, _, ok, err := m.Meta(ctx)
	if err != nil || !ok {
		return errors.Join(err, errNoState)
	}
	l.ledger.begin(meta)
	_, err = l.clients.look(ctx, m)
	return err
}

// newMeta is the content of S/meta when this leader's session begins.
func (l *Leader) newMeta(m *member.Member, epoch int64) (wire.Meta, error) {
	meta := wire.NewMeta(l.id, l.began, l.asked.Terms)
	meta.Epoch, meta.Timeout, meta.Plan = epoch, m.ZK.SessionTimeout().Seconds(), l.survey.plan()
	if l.cfg.Changed != "" {
		list, err := l.changes()
		if err != nil {
			return meta, err
		}
		meta.Plan.List = list.hash
		return meta, nil
	}
	if l.cfg.PathsFrom == "" {
		return meta, nil
	}
	file, err := l.listed()
	meta.Plan.List = file.hash
	return meta, err
}

// begun tells whether this leader's session has begun already, which the lost reply of an earlier
// ZooKeeper session may have kept from it; ErrUnclean if another one has.
func (l *Leader) begun(ctx context.Context, m *member.Member) (bool, error) {
	_, ok, err := m.ZK.Exists(ctx, m.Tree.Ready())
	if err != nil || !ok {
		return false, err
	}
	data, _, _, err := m.Read(ctx, m.Tree.Meta())
	if err != nil {
		return false, err
	}
	if meta, ok := wire.DecodeMeta(data); ok && meta.ID == l.id {
		return true, nil
	}
	//lint:ignore ST1005 the text is the Python program's, which logs are searched for
	return false, fmt.Errorf("%w: watchnode %s already exists!", ErrUnclean, m.Tree.Ready())
}

// prepare removes what an earlier session has left, makes the queues, and begins: the watch node, S/meta
// and S/sync in one transaction.
func (l *Leader) prepare(ctx context.Context, m *member.Member) error {
	var leftovers []wire.Task
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
		leftovers = file.leftovers
	}
	if err := l.remember(); err != nil {
		return err
	}
	if err := l.report.open(l.cfg.Report, l.client.Tree.Name(), l.base.Dir, l.id); err != nil {
		return err
	}
	l.log().Info("removing old queue and building new queue")
	old := m.Tree.OfSession()
	last := len(old) - 1
	for _, some := range [][]string{old[:last], old[last:]} {
		if err := member.Each(ctx, some, func(ctx context.Context, _ int, node string) error { return m.ZK.DeleteTree(ctx, node) }); err != nil {
			if refused(err) {
				err = fmt.Errorf("%w: it is left from an earlier run, and of another user or password; "+
					"have it deleted by an administrator of ZooKeeper, or give another name with --session", err)
			}
			return err
		}
	}
	queues := []string{
		m.Tree.PathQueue(), m.Tree.ExtQueue(), m.Tree.CompletedQueue(),
		m.Tree.FailedQueue(), m.Tree.OutputQueue(), m.Tree.DestQueue(), m.Tree.ExtDestQueue(),
	}
	if err := member.Each(ctx, queues, func(ctx context.Context, _ int, queue string) error { return m.ZK.Queue(queue).Ensure(ctx) }); err != nil {
		return err
	}
	if err := l.ensure(ctx, m); err != nil {
		return err
	}
	for _, task := range leftovers {
		if _, err := m.ZK.Create(ctx, m.Tree.Leftover(task.Dir), []byte(task.Dir), zkclient.Persistent); err != nil {
			return err
		}
	}
	if err := m.Budget(l.asked.MaxDelete).Make(ctx); err != nil {
		return err
	}
	meta, err := l.newMeta(m, 0)
	if err != nil {
		return err
	}
	ops := []zkclient.Op{
		zkclient.OpCreate(m.Tree.Ready(), []byte(wire.Start), zkclient.Persistent),
		zkclient.OpCreate(m.Tree.Meta(), meta.Encode(), zkclient.Persistent),
		zkclient.OpCreate(m.Tree.Sync(), []byte(l.syncMode()), zkclient.Persistent),
		zkclient.OpCreate(m.Tree.Parts()+"/part-", wire.Part{Who: m.Client.Whoami, Report: wire.Text(l.cfg.Report)}.Encode(), zkclient.Sequential),
	}
	if l.cfg.BwLimit > 0 { // sources wait until their shares are in it
		ops = append(ops, zkclient.OpCreate(m.Tree.BwLimit(), wire.EncodeNumber(l.cfg.BwLimit), zkclient.Persistent),
			zkclient.OpCreate(m.Tree.Shares(), wire.Shares{}.Encode(), zkclient.Persistent))
	}
	if l.cfg.Lines == 0 {
		place, err := l.base.Describe()
		if err != nil {
			return err
		}
		ops = append(ops, zkclient.OpCreate(m.Tree.Place(), place.Encode(), zkclient.Persistent))
	}
	if err := l.commit(); err != nil {
		return err
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

// ensure makes the nodes that extensions are kept in.
func (l *Leader) ensure(ctx context.Context, m *member.Member) error {
	return member.Each(ctx, []string{
		m.Tree.Results(), m.Tree.Split(), m.Tree.Wanted(), m.Tree.Idle(), m.Tree.AllSynced(),
		m.Tree.Failures(), m.Tree.Leftovers(), m.Tree.Deeper(), m.Tree.Parts(), m.Tree.Control(), path.Dir(m.Tree.Ready()),
	}, func(ctx context.Context, _ int, node string) error { return m.ZK.EnsurePath(ctx, node) })
}

// recover is what a source does with a run that has no connected leader: it waits until it is sure of
// that, and if it is the only client it cleans up, so that the next start finds nothing in its way. With
// others around it touches nothing. It returns unclean in any case but a failure; ErrLives if the run has
// a leader after all.
func (l *Leader) recover(ctx context.Context, m *member.Member, lock *zkclient.Lock, unclean error) error {
	others, err := l.watchRun(ctx, m)
	if err != nil || len(others) > 0 {
		if e := m.Unlock(ctx, lock); e != nil {
			return errors.Join(err, e)
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("%w Its master is gone, and there are %d other clients: %s. Go on with it by starting a source with --resume; or end them all "+
			"and start one source alone: it waits until ZooKeeper has seen them gone, and cleans up", unclean, len(others), strings.Join(others, ", "))
	}
	if err := l.commit(); err != nil {
		return err
	}
	l.cleaner = l.client.Whoami
	if err := l.load(ctx, m); err != nil {
		return err
	}
	if err := l.cleanup(ctx, m, lock); err != nil && !errors.Is(err, wire.ErrIncomplete) {
		return err
	}
	return fmt.Errorf("%w It has been cleaned up: start the session again (what has been sent is only compared). With --resume a source goes on with such a run instead", unclean)
}

// watchRun waits until it is known what became of a run whose lock is free, and gives the other clients
// that are left. Its leader may have lost its connection for a while, as may all clients; a server
// notices late that a ZooKeeper session has expired. So it takes twice the timeout, from the last client
// that has come or gone on. ErrLives: the leader is back.
func (l *Leader) watchRun(ctx context.Context, m *member.Member) (others []string, err error) {
	stat, _, err := m.ZK.Exists(ctx, m.Tree.Ready())
	if err != nil {
		return nil, err
	}
	l.client.SetEpoch(stat.Czxid)
	first, _, known, err := m.Meta(ctx)
	if err != nil {
		return nil, err
	}
	patience := 2 * max(m.ZK.SessionTimeout(), time.Duration(first.Timeout*float64(time.Second)))
	l.log().Warn(fmt.Sprintf("There is a run without a connected master (%s). Waiting for %v whether it comes back", m.Tree.Ready(), patience),
		"event", "waiting-for-master", "seconds", patience)
	before := ""
	for until := time.Now().Add(patience); ; {
		names, err := m.Party(wire.PartyAll).Members(ctx)
		if err != nil {
			return nil, err
		}
		others = slices.DeleteFunc(names, func(name string) bool { return name == l.client.Whoami })
		now, _, ok, err := m.Meta(ctx)
		if err != nil {
			return nil, err
		}
		back := known && ok && !now.Equal(first)
		if known && !back && first.Lead != "" { // else it is suspended
			if back, err = l.waits(ctx, m, first.Lead); err != nil {
				return nil, err
			}
		}
		if resumed, err := l.waits(ctx, m, wire.Resume); err != nil {
			return nil, err
		} else if resumed {
			l.log().Info("Another source goes on with the run: this source is a slave", "event", "resumed-by-another")
			return nil, ErrLives
		}
		if back {
			l.log().Info("The master is connected again: this source is a slave", "event", "master-is-back")
			return nil, ErrLives
		}
		if who := strings.Join(others, " "); who != before {
			before, until = who, time.Now().Add(patience)
		}
		if time.Now().After(until) {
			return others, nil
		}
		if err := zkclient.Sleep(ctx, m.Client.Timing.Poll); err != nil {
			return nil, err
		}
	}
}

// waits tells whether somebody waits for the lock with this content: the leader that has begun the run, by its id, or
// one that would go on with it.
func (l *Leader) waits(ctx context.Context, m *member.Member, id string) (bool, error) {
	names, err := m.Children(ctx, m.Tree.Lock())
	if err != nil {
		return false, fmt.Errorf("cannot look who waits for the master's lock: %w", err)
	}
	for _, name := range names {
		data, _, err := m.ZK.Get(ctx, m.Tree.Lock()+"/"+name)
		if err != nil && !refused(err) {
			return false, err
		}
		if err == nil && string(data) == id {
			return true, nil
		}
	}
	return false, nil
}
