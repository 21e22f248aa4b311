// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"slices"
	"strings"
)

// childEnviron returns the environment of every child; doc.go says why.
func childEnviron(environ []string) []string {
	kept := make([]string, 0, len(environ)+1)
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		dropped := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if name == "LANGUAGE" || slices.ContainsFunc([]string{"RSYNC_", "ZKRSYNC_", "ZKINITREE_", "LC_"}, dropped) {
			continue
		}
		kept = append(kept, entry)
	}
	return append(kept, "LC_ALL=C")
}
