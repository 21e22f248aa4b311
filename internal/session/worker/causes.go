// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"regexp"
	"strings"
	"sync"
)

// alike is how many paths have to fail in the same way until that is one cause.
const alike = 20

// causes counts paths that fail alike, over all jobs of a worker: a file system that has become
// read-only, or a quota that is used up, need not be met with pauses and told again for each path.
type causes struct {
	mu     sync.Mutex
	counts map[string]int
}

func newCauses() *causes { return &causes{counts: map[string]int{}} }

// names are what error lines have of one path only: quoted names, names with a slash, and numbers that
// are no errno.
var names = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[^ ]*/[^ ]*|\b[0-9][0-9,.]*\b(?:[^)]|$)`)

// cause is what error lines say beside names: the first that tells what went wrong.
func cause(lines []string) string {
	for _, line := range lines {
		if strings.HasPrefix(line, "rsync: ") || len(lines) == 1 {
			return names.ReplaceAllString(line, "...")
		}
	}
	return names.ReplaceAllString(strings.Join(lines, "; "), "...")
}

// failed notes that a path has failed; first is true when that makes it one cause.
func (c *causes) failed(lines []string) (text string, first bool) {
	text = cause(lines)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.counts) > 1000 { // nothing repeats: the lines are all different
		clear(c.counts)
	}
	c.counts[text]++
	return text, c.counts[text] == alike
}

// common tells whether some paths have failed like this already.
func (c *causes) common(lines []string) bool { return c.count(lines) >= 3 }

// told tells whether that is one cause, which was told.
func (c *causes) told(lines []string) bool { return c.count(lines) >= alike }

func (c *causes) count(lines []string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[cause(lines)]
}
