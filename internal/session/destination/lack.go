// SPDX-License-Identifier: LGPL-2.1-or-later

package destination

import (
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/wire"
)

// lack is what this destination cannot preserve.
func (d *Destination) lack() wire.Lack {
	root, chroot := rsyncrunner.Privileges()
	switch {
	case d.base == nil || root && chroot:
		return wire.LacksNothing
	case root:
		return wire.LacksChroot
	}
	return wire.LacksRoot
}
