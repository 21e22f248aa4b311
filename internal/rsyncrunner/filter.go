// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"strings"
)

// maxPattern is the length of the longest exclude pattern, in bytes. rsync drops a longer one, says
// so, and ends with 0.
const maxPattern = 4095

// filterArgs returns the arguments for exclude patterns. After "- " every byte belongs to the
// pattern; --exclude=PATTERN would read "+ x", "- x" and "!" as something else.
func filterArgs(patterns []string) []string {
	args := make([]string, len(patterns))
	for i, pattern := range patterns {
		args[i] = "--filter=- " + pattern
	}
	return args
}

func checkFilters(patterns []string) error {
	for _, pattern := range patterns {
		switch {
		case pattern == "" || strings.ContainsRune(pattern, 0):
			return fmt.Errorf("cannot exclude %q: the pattern is empty or has a NUL byte", pattern)
		case len(pattern) > maxPattern:
			return fmt.Errorf("cannot exclude %.80q...: the pattern has %d bytes, and rsync takes %d at most; exclude a directory above it", pattern, len(pattern), maxPattern)
		}
	}
	return nil
}

// size returns how many bytes all strings have together.
func size(texts []string) int {
	total := 0
	for _, text := range texts {
		total += len(text)
	}
	return total
}
