// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"math"

	"vsc-zk/internal/zkclient"
)

// A path that took long in an earlier run has a priority in its queue by which it is taken early, by Python
// sources too: what takes longest would else be what all wait for at the end.
const (
	longest     = 51 // those below are for paths that come back
	perDoubling = 3  // priorities
)

// Priority is that of a path that should take so many seconds; zkclient.DefaultPriority of one that should take less
// than one, or of which nothing is known.
func Priority(seconds float64) int {
	if !(seconds >= 1) {
		return zkclient.DefaultPriority
	}
	return max(zkclient.DefaultPriority-1-int(perDoubling*math.Log2(seconds)), longest)
}

// SecondsAt is what a path of a priority should take at least, 0 if nothing is known.
func SecondsAt(priority int) float64 {
	if priority < longest || priority >= zkclient.DefaultPriority {
		return 0
	}
	return math.Exp2(float64(zkclient.DefaultPriority-1-priority) / perDoubling)
}
