// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"cmp"
	"context"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// AutoDepth stands for a depth that is found by looking at the tree.
const AutoDepth = -1

// Groups is how many groups of hard links are remembered.
const Groups = 1_000_000

// Config is how a session is led.
type Config struct {
	Depth    int // levels below the base that become paths; AutoDepth: as the tree asks for
	Walkers  int // directories read at once, 0: 8
	Window   int // most entries that wait or are in work, 0: 10,000
	Flat     int // a directory with more files is sent in ranges of names, 0: 50,000
	Subpaths []string

	PathsFrom string // entries to queue instead of walking; "": walk
	History   string // report of an earlier run, to estimate how far this one is; "": none
	Changed   string // names that are compared instead of the tree; "": the tree is
	DoneFile  string // gets the counts at the end; "": none
	Report    string // JSON lines, one a path; "": none
	Failed    string // gets the entries that failed or are unfinished; "": none

	LateRetries int // rounds in which what has failed is tried once more, after all else

	MaxFailures int // the session ends when so many paths have failed; 0: it goes on

	BwLimit int // what the session sends in a second at the most, in bytes; 0: any amount

	Groups int  // most groups of hard links that are remembered, 0: Groups
	NoSync bool // results count before their destinations have flushed them
	Lines  int  // number of made-up paths of the netcat test; 0: it is none
}

// Asked is what the session's sources were asked to do.
type Asked struct {
	Rsync     rsyncrunner.Options
	MaxDelete int // what the whole session may delete; negative: any number
	Terms     wire.Terms
}

// Work is the part of a source that runs rsync, lent to the leader; nil: it only leads.
type Work func(context.Context, *member.Member, *member.Ready) error

func (c Config) withDefaults() Config {
	c.Window = cmp.Or(c.Window, 10_000)
	c.Flat = cmp.Or(c.Flat, 50_000)
	c.Groups = cmp.Or(c.Groups, Groups)
	return c
}

// walksAgain tells whether a session looks, at its end, for what has changed.
func (c Config) walksAgain() bool { return c.Lines == 0 && c.PathsFrom == "" && c.Changed == "" }
