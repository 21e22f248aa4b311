// SPDX-License-Identifier: LGPL-2.1-or-later

package pool

import (
	"context"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// PublishLack sets S/lacks of this client, unless it lacks nothing.
func PublishLack(ctx context.Context, m *member.Member, lack wire.Lack) error {
	if lack == wire.LacksNothing {
		return nil
	}
	return m.Publish(ctx, m.Tree.Lacks(m.Client.Whoami), lack.Encode())
}
