// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import "strings"

// ChildEnviron returns the environment of every child; doc.go says why.
func ChildEnviron(environ []string) []string {
	kept := make([]string, 0, len(environ)+1)
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "RSYNC_"), strings.HasPrefix(name, "ZKRSYNC_"), strings.HasPrefix(name, "LC_"), name == "LANGUAGE":
			continue
		case strings.HasPrefix(name, "ZKINITREE_"), name == "NOTIFY_SOCKET", strings.HasPrefix(name, "WATCHDOG_"):
			continue
		}
		kept = append(kept, entry)
	}
	return append(kept, "LC_ALL=C")
}
