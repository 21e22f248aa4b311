// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// shape keeps what is sent over links within this source's share of the session's bandwidth, as long as there is
// a bound, until ctx ends.
func (t *Rsync) shape(ctx context.Context, m *member.Member, noted func(limit int64)) {
	defer t.cfg.Proxy.SetRate(0)
	var bounded atomic.Bool
	told := false
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		err := m.ZK.WatchData(ctx, m.Tree.Shares(), func(data []byte, stat zkclient.Stat, exists bool) {
			shares, err := wire.DecodeShares(data)
			valid := exists && (stat.Czxid == m.Client.Epoch() || err == nil && shares.Epoch == m.Client.Epoch())
			if valid && err != nil && !told {
				told = true
				m.Log.Warn(fmt.Sprintf("%v: this source sends next to nothing until that has changed", err), "event", "foreign", "znode", m.Tree.Shares())
			}
			bounded.Store(valid)
			rate := int64(0)
			if valid {
				rate = max(shares.Rates[m.Client.Whoami], 1)
			}
			t.cfg.Proxy.SetRate(rate)
			if !valid {
				shares.Limit = 0
			}
			noted(shares.Limit)
		})
		if err != nil && ctx.Err() == nil {
			m.Fail(err)
		}
	})
	var said *wire.Use
	sent, since := t.cfg.Proxy.Sent(), time.Now()
	for zkclient.Sleep(ctx, m.Client.Timing.Share) == nil {
		now, took := t.cfg.Proxy.Sent(), time.Since(since)
		use := wire.Use{
			Rate: int64(float64(now-sent) / took.Seconds()), Links: t.cfg.Proxy.Links(), Held: t.cfg.Proxy.Held() > took/10,
		}
		sent, since = now, time.Now()
		if !bounded.Load() || said != nil && same(use, *said) {
			continue
		}
		if err := m.Publish(ctx, m.Tree.Rate(m.Client.Whoami), use.Encode()); err != nil {
			if ctx.Err() == nil {
				m.Log.Warn(fmt.Sprintf("cannot say what this source uses of the bandwidth: %v", err), "error", err)
			}
			continue
		}
		said = &use
	}
}

// same tells whether a use is so much like another that nobody needs to hear of it.
func same(a, b wire.Use) bool {
	return a.Held == b.Held && a.Links == b.Links && max(a.Rate, b.Rate)-min(a.Rate, b.Rate) <= max(a.Rate, b.Rate)/10
}
