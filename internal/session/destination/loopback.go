// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"context"
	"fmt"
	"net"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// warnOfLoopback says once that clients on other hosts cannot reach this destination, because its name
// leads them to themselves. As long as all clients are on one host there is nothing wrong with that.
func warnOfLoopback(ctx context.Context, m *member.Member) {
	host := wire.HostOf(m.Client.Whoami)
	if !IsLoopback(ctx, host) {
		return
	}
	known := map[string]bool{host: true}
	for {
		names, err := m.Party(wire.PartyAll).Members(ctx)
		if err != nil {
			return // the role ends for the same reason
		}
		for _, name := range names {
			if other := wire.HostOf(name); !known[other] {
				if !IsLoopback(ctx, other) && ctx.Err() == nil {
					m.Log.Warn(fmt.Sprintf("%s is on another host and cannot reach this destination by its name %s, which is a loopback address. Give a name or an address that others can reach with --host", name, host),
						"event", "loopback", "destination", m.Client.Whoami, "source", name)
					return
				}
				known[other] = true
			}
		}
		if zkclient.Sleep(ctx, m.Client.Timing.PathCheck) != nil {
			return
		}
	}
}

// IsLoopback tells whether a name stands for this host wherever it is used.
func IsLoopback(ctx context.Context, host string) bool {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupIPAddr(limited, host)
	if err != nil || len(addresses) == 0 {
		return false
	}
	for _, address := range addresses {
		if !address.IP.IsLoopback() {
			return false
		}
	}
	return true
}
