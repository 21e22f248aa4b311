// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"os"
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

// maxFilterArgs is how many bytes of exclude patterns go into a command line; more of them go through a
// pipe. Linux takes 2 MiB of arguments and environment together, by default.
const maxFilterArgs = 256 << 10

// filterRule reads exclude patterns, and nothing else, from a descriptor that an rsync is given.
const filterRule = ".- /dev/fd/3"

// feedFilters returns a pipe that gives exclude patterns, each with a NUL byte as --from0 says, to whoever
// reads it. Done waits for the end of that; the reading end has to be closed before.
func feedFilters(patterns []string) (pipe *os.File, done func(), err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a pipe for %d exclude patterns: %w", len(patterns), err)
	}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		defer writer.Close()
		_, _ = writer.WriteString(strings.Join(patterns, "\x00") + "\x00") // an rsync that ends early reads less
	}()
	return reader, func() { <-fed }, nil
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
