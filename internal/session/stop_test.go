// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"sync/atomic"
	"testing"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zktest"
)

// The reply to the end of the session is lost, with or without the end itself: either way all leave.
func TestLostStop(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*zktest.Proxy)
		says  string // S/watch/ready, when the connection breaks
	}{
		"failed":             {(*zktest.Proxy).LoseWrites, wire.Start},
		"failed but applied": {(*zktest.Proxy).SwallowWrites, wire.Stop},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			proxy, direct := zktest.NewProxy(t, r.addr), r.zk()
			lines := func(c *Config) {
				c.Lines, c.LineSender = 1, sendLines(noLines)
			}
			said := func() string {
				data, _, err := direct.Get(t.Context(), r.tree().Ready())
				r.must(err)
				return string(data)
			}
			// After this line the end of the session is the first thing that the leader writes.
			var armed atomic.Bool
			last := r.when("Progress: 0 of 1 paths remaining", func() { c.fault(proxy); armed.Store(true) })
			leader := r.source(1, lines, last, func(c *Config) { c.Member.Zookeeper.Servers = []string{proxy.Addr()} })
			r.waitFor("pathqueue building finished") // so it leads
			others := []*running{r.source(2, lines), r.destination(3, lines)}
			r.until("the leader is about to end the session", armed.Load)
			r.until("the end is on its way", proxy.Swallowing)
			r.until("it is "+c.says, func() bool { return said() == c.says })
			proxy.Cut()
			proxy.Heal()
			r.finish(append(others, leader)...)
			r.left()
		})
	}
}
