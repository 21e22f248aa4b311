// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"sync"
	"time"

	"vsc-zk/internal/session/wire"
)

// offered is what sources were told, for this client to say it of itself.
type offered struct {
	mu    sync.Mutex
	state string // "": nothing yet
	why   wire.Text
	since time.Time
}

func (o *offered) set(problem *trouble) {
	o.mu.Lock()
	defer o.mu.Unlock()
	state, why := wire.Active, wire.Text("")
	if problem != nil {
		state, why = wire.Paused, wire.Text(problem.Error())
	}
	if state != o.state {
		o.since = time.Now()
	}
	o.state, o.why = state, why
}

// say adds to what this client says of itself.
func (d *Destination) say(s *wire.Status) {
	s.Role = wire.RoleDestination
	if d.base != nil {
		s.Base = wire.Text(d.base.Dir)
	}
	d.offered.mu.Lock()
	own := wire.DestinationStatus{Slots: d.cfg.Slots, State: d.offered.state, Why: d.offered.why}
	if own.State != "" {
		own.Since = d.offered.since.Unix()
	}
	d.offered.mu.Unlock()
	if space := d.health.space.Load(); space != nil {
		own.Size, own.Free, own.Inodes, own.Unused = space.Size, space.Free, space.Inodes, space.Unused
	}
	s.Destination = &own
}
