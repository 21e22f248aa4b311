// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
)

// watched is a role beside which somebody is shown how far the session is.
func (c Config) watched(role func(context.Context, *member.Member) error) func(context.Context, *member.Member) error {
	if c.Watch == nil {
		return role
	}
	return func(ctx context.Context, m *member.Member) error {
		reader, err := status.NewReader(m.ZK, m.Tree.Name())
		if err != nil {
			return err
		}
		m.Background(func() {
			for ctx.Err() == nil {
				if zkclient.Sleep(ctx, c.WatchEvery) != nil {
					return
				}
				err := reader.Follow(ctx, c.WatchEvery, func(s *status.Snapshot) { c.Watch(s, m.Client.Whoami) })
				if ctx.Err() == nil {
					m.Log.Debug(err.Error(), "error", err)
				}
			}
		})
		return role(ctx, m)
	}
}
