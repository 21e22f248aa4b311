// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"context"

	"vsc-zk/internal/session/wire"
)

// Control is what users have asked for while the run is under way.
type Control struct {
	Paused   bool           `json:"paused"`   // nothing is begun
	Stopping bool           `json:"stopping"` // the same, until the run is suspended
	BwLimit  int            `json:"bwlimit"`  // bytes a second; 0: no limit
	Jobs     map[string]int `json:"jobs,omitempty"`
	Skipped  []wire.Text    `json:"skipped,omitempty"` // paths below the base
}

// Held is why nothing is begun, in a word; "" if it is.
func (c Control) Held() string {
	switch {
	case c.Stopping:
		return "stopping"
	case c.Paused:
		return "paused"
	}
	return ""
}

// readControl reads it; what cannot be read asks for nothing.
func (r *Reader) readControl(ctx context.Context, f *facts) error {
	data, _, _, err := r.get(ctx, r.tree.Control())
	if err != nil {
		return err
	}
	if asked, err := wire.DecodeControl(data); err == nil {
		f.control = Control{Paused: asked.Paused, Stopping: asked.Stop, Jobs: asked.Jobs, Skipped: asked.Skip}
	}
	data, _, ok, err := r.get(ctx, r.tree.BwLimit())
	if limit, bad := wire.DecodeNumber(data); ok && bad == nil {
		f.control.BwLimit = limit
	}
	return err
}
