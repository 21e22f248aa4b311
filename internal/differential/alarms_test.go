// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"regexp"
	"slices"
	"strings"
)

// alarm matches the lines of the log that somebody has to read.
var alarm = regexp.MustCompile(` level=(WARN|ERROR) `)

// explained are the warnings of a round without faults that its own tree and cast explain.
var explained = []string{
	" event=no-destination", // there are more jobs than slots
	" event=unprotected",    // --excludere has a form with which --exclude-below cannot do all
	" event=not-sent",       // some of the tree's files have attributes that nobody has asked for

	"ACL_TYPE_DEFAULT): Permission denied (13)", // rsync says so once of a file where a directory is to be: passing
}

// quiet finds what a session says where there was nothing to be said: no fault, no change, and nothing in the way.
func (r *run) quiet() {
	r.t.Helper()
	for line := range strings.Lines(r.text()) {
		if alarm.MatchString(line) && !contains(line, explained) {
			r.t.Errorf("a false alarm: %s", line)
		}
	}
}

// drastic are the events of a client that pauses, refuses, or holds something for broken: nothing that happens to
// single paths is a reason.
var drastic = []string{
	"base-away", "walk-again", "cannot-receive", "set-aside", "destination-left", "serve-again", "not-flushed", "flush-failed", "config-repaired",
	"foreign", "ghosts", "stalled", "not-believed", "kept-back", "session-lost", "connection-lost", "waiting-for-clients", "lost-paths", "links-not-kept",
	"inodes-change", "max-delete", "broken",
}

// unalarmed finds what is drastic in a round without faults, where single paths change or cannot be sent.
func (r *run) unalarmed() {
	r.t.Helper()
	for line := range strings.Lines(r.text()) {
		if slices.ContainsFunc(drastic, func(event string) bool { return strings.Contains(line, " event="+event) }) {
			r.t.Errorf("a false alarm: %s", line)
		}
	}
}

func contains(line string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(line, part) })
}
