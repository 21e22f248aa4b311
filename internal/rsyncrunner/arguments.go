// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"slices"

	"golang.org/x/sys/unix"
)

// mayBeArguments reports whether the entries can be arguments of rsync instead of a list. It opens these by their
// absolute paths, whenever it comes to one: there has to be room for that, and an rsync that deletes has to have
// kept its mounts.
func (job Job) mayBeArguments(o Options, kept bool) bool {
	if !job.Fixed || job.Dir == nil || o.Delete && !kept || o.Gives("confine-root") {
		return false
	}
	return !slices.ContainsFunc(job.Names, func(name string) bool { return len(job.Base)+len(name) > longestPath })
}

// longestPath leaves room in the 4,096 bytes that a path may have for what rsync puts between and behind.
const longestPath = 4000

// What Linux takes of a new program's arguments and environment.
const (
	longestArgument = 128 << 10 // with the NUL at its end
	leastArguments  = 128 << 10 // all together
	mostArguments   = 6 << 20   // all together, whatever the stack
	otherArguments  = 16 << 10  // what the kernel adds, generously
	pointer         = 8
)

// fit reports whether arguments and environment fit into a command line.
func fit(args, environ []string) bool {
	room := leastArguments
	var stack unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &stack) == nil {
		room = int(max(leastArguments, min(stack.Cur/4, mostArguments)))
	}
	room -= otherArguments
	for _, texts := range [][]string{args, environ} {
		for _, text := range texts {
			if room -= len(text) + 1 + pointer; room < 0 || len(text) >= longestArgument {
				return false
			}
		}
	}
	return true
}
