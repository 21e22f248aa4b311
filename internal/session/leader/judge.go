// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// Who knows the session's password can write what he likes below S, and what is read there is judged.
// The contents are judged by who reads them: a task below the base or not, a result of an open path or
// not. The judge looks after what would keep the run from its end: entries that workers leave alone as
// they cannot be read or removed, and those that are held by nobody. They are repaired if they are of
// the run, else removed, else set aside: told of once, and counted no more.

// judge does that, for a leader.
type judge struct {
	ledger  *ledger
	account *account
	aside   map[string]bool      // nodes that cannot be removed
	suspect map[string]time.Time // ephemeral nodes that hold an entry and are no client's, since when

	last  member.Backlog // at the last look
	since time.Time      // when it was last seen to change, or the judge has looked
	pause time.Duration  // until the next look
}

// judgedAtOnce bounds the nodes of one queue that are looked at in one look.
const judgedAtOnce = 1000

// watch looks at the queues when nothing has moved in them for a while, less and less often, and takes
// from the backlog what is set aside.
func (j *judge) watch(ctx context.Context, m *member.Member, left member.Backlog) (member.Backlog, error) {
	now := time.Now()
	if left != j.last {
		j.last, j.since, j.pause = left, now, m.Client.Timing.Idle
	}
	if left.Total() > 0 && now.Sub(j.since) >= j.pause {
		j.since, j.pause = now, min(2*j.pause, 30*m.Client.Timing.Idle)
		if err := j.look(ctx, m); err != nil {
			return left, err
		}
	}
	return j.without(m, left), nil
}

// without is the backlog without what is set aside.
func (j *judge) without(m *member.Member, left member.Backlog) member.Backlog {
	for node := range j.aside {
		switch path.Dir(node) {
		case m.Tree.PathQueue() + "/entries":
			left.Paths--
		case m.Tree.ExtQueue() + "/entries":
			left.Ext--
		case m.Tree.Split():
			left.Split--
		}
	}
	return left
}

// look judges the nodes of all queues.
func (j *judge) look(ctx context.Context, m *member.Member) error {
	for _, queue := range []string{m.Tree.PathQueue(), m.Tree.ExtQueue(), m.Tree.DestQueue(), m.Tree.ExtDestQueue()} {
		if err := j.holders(ctx, m, queue); err != nil {
			return err
		}
		if err := j.entries(ctx, m, queue+"/entries", queue); err != nil {
			return err
		}
	}
	return j.entries(ctx, m, m.Tree.Split(), "")
}

// names are the children of parent that are still to be judged.
func (j *judge) names(ctx context.Context, m *member.Member, parent string) ([]string, error) {
	names, err := m.Children(ctx, parent)
	if err != nil {
		return nil, fmt.Errorf("cannot look through %s: %w", parent, err)
	}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(name string) bool { return j.aside[parent+"/"+name] })
	return names[:min(len(names), judgedAtOnce)], nil
}

// holders removes what says that an entry is taken and is no connected client's. Every client is in the
// party before it takes anything, and leaves it together with what it has taken.
func (j *judge) holders(ctx context.Context, m *member.Member, queue string) error {
	names, err := j.names(ctx, m, queue+"/taken")
	if err != nil || len(names) == 0 {
		return err
	}
	owners := make([]int64, len(names))
	for i, name := range names {
		stat, found, err := m.ZK.Exists(ctx, queue+"/taken/"+name)
		if err != nil {
			return fmt.Errorf("cannot look at who has taken a path: %w", err)
		}
		if owners[i] = stat.EphemeralOwner; !found {
			owners[i] = m.ZK.SessionID()
		}
	}
	clients, err := m.Party(wire.PartyAll).Sessions(ctx)
	if err != nil {
		return err
	}
	for i, name := range names {
		node := queue + "/taken/" + name
		if _, there := clients[owners[i]]; there {
			continue
		}
		if since := j.suspect[node]; owners[i] != 0 && (since.IsZero() || time.Since(since) < m.Client.Timing.Ghost) {
			if since.IsZero() { // it may leave by itself
				j.suspect[node] = time.Now()
			}
			continue
		}
		if stat, found, err := m.ZK.Exists(ctx, node); err != nil || !found || stat.EphemeralOwner != owners[i] {
			if err != nil {
				return fmt.Errorf("cannot look at who has taken a path: %w", err)
			}
			continue // it has left meanwhile
		}
		m.Log.Warn(fmt.Sprintf("Set aside %s, which is not of this run: it holds an entry, and is no connected client's", node),
			"event", "foreign", "znode", node)
		err := m.ZK.DeleteTree(ctx, node)
		if err == nil {
			continue
		}
		if !refused(err) {
			return err
		}
		j.aside[node] = true
		if err := j.replace(ctx, m, queue+"/entries/"+name, queue, "it is held by a node that cannot be removed", true); err != nil {
			return err
		}
	}
	return nil
}

// entries judges the children of parent; queue is that of which they are the entries, "" for none.
func (j *judge) entries(ctx context.Context, m *member.Member, parent, queue string) error {
	names, err := j.names(ctx, m, parent)
	if err != nil {
		return err
	}
	for _, name := range names {
		node := parent + "/" + name
		data, stat, err := m.ZK.Get(ctx, node)
		why := ""
		switch {
		case errors.Is(err, zkclient.ErrNoNode):
			continue
		case errors.Is(err, zkclient.ErrNoAuth):
			why = "its ACL keeps this user from reading it"
		case err != nil:
			return fmt.Errorf("cannot look at an entry: %w", err)
		case stat.EphemeralOwner != 0:
			why = "it is ephemeral, which no entry is"
		case len(data) > zkclient.MaxEntry:
			why = "it is too large"
		case queue == "" && !j.ledger.isOpen(wire.Text(data)):
			why = "the master has not queued it, or it had ended already"
		}
		if stat.NumChildren > 0 {
			if why == "" {
				why = "it has child nodes, which no entry has"
			}
			if err := m.ZK.DeleteBelow(ctx, node); err != nil && !refused(err) {
				return err
			}
		}
		if why != "" {
			if err := j.replace(ctx, m, node, queue, why, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace removes a node that is no entry as it should be. What it has of the run, a path that is open
// or a destination, is put into the queue anew, unless somebody works on it; anything else is told of,
// and has failed. Stuck says that its holder cannot be removed.
func (j *judge) replace(ctx context.Context, m *member.Member, node, queue, why string, stuck bool) error {
	data, _, err := m.ZK.Get(ctx, node)
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil
	}
	if err != nil && !refused(err) {
		return err
	}
	known := err == nil
	destination := queue == m.Tree.DestQueue() || queue == m.Tree.ExtDestQueue()
	if destination {
		_, err := wire.DecodeDest(data)
		known = known && err == nil
	} else {
		known = known && queue != "" && j.ledger.isOpen(wire.Text(data))
	}
	if known {
		return j.requeue(ctx, m, node, queue, data, why, stuck)
	}
	j.account.setAside(node, wire.Text(data), why)
	if err := j.remove(ctx, m, node); err != nil || destination {
		return err
	}
	return j.account.countForeign(ctx, m)
}

// remove deletes a node, or notes that it cannot be deleted.
func (j *judge) remove(ctx context.Context, m *member.Member, node string) error {
	err := m.ZK.DeleteTree(ctx, node)
	if err != nil && refused(err) {
		j.aside[node] = true
		return nil
	}
	return err
}

// requeue puts the value of an entry into a new one.
func (j *judge) requeue(ctx context.Context, m *member.Member, node, queue string, data []byte, why string, stuck bool) error {
	put := m.ZK.Queue(queue).PutOp(data, zkclient.DefaultPriority)
	taken := takenPath(node)
	err := m.ZK.Multi(ctx, zkclient.OpCreate(taken, []byte(m.Client.Whoami), zkclient.Ephemeral),
		zkclient.OpDelete(node), zkclient.OpDelete(taken), put)
	switch {
	case errors.Is(err, zkclient.ErrConnectionLoss):
		return nil // the next look tells
	case errors.Is(err, zkclient.ErrNodeExists) && !stuck:
		return nil // somebody works on it
	case errors.Is(err, zkclient.ErrNodeExists), err != nil && refused(err):
		if err := m.ZK.Multi(ctx, put); err != nil {
			return err
		}
		if err := j.remove(ctx, m, node); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	m.Log.Warn(fmt.Sprintf("Put the entry %s into the queue again: %s", node, why), "event", "foreign", "znode", node, "path", shorten(wire.Text(data)))
	return nil
}
