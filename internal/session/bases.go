// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"path"

	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// meet tells the others where this client's base stands, and is an error if one of them is a source and
// one a destination whose bases are in each other. Who comes second sees the first.
func meet(ctx context.Context, m *member.Member, base *guard.Base, cfg Config, source bool) error {
	mine, err := base.Position()
	if err != nil {
		m.Log.Debug(err.Error(), "error", err) // it is not there yet, or cannot be told
		return nil
	}
	mine.Who, mine.Source, mine.Partial = m.Client.Whoami, source, cfg.Rsync.HasRules() || cfg.Rsync.OneFileSystem
	bases := m.Tree.Bases()
	if _, err := m.ZK.CreatePath(ctx, bases+"/base-", mine.Encode(), zkclient.EphemeralSequential); err != nil {
		return err
	}
	names, err := m.Children(ctx, bases)
	if err != nil {
		return err
	}
	for _, name := range names {
		data, _, _, err := m.Read(ctx, path.Join(bases, name))
		if err != nil {
			return err
		}
		other, err := wire.DecodePosition(data)
		if err != nil || other.Source == source {
			continue
		}
		if source {
			err = guard.Overlap(mine, other)
		} else {
			err = guard.Overlap(other, mine)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
