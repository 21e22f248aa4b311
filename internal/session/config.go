// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"time"

	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/zkclient"
)

// Errors a caller may act on.
var (
	// ErrIncomplete: the run is over and some paths failed or are unfinished.
	ErrIncomplete = errors.New("the run ended with paths that are not done")
	// ErrUnclean: the session's watch node is there from an earlier run.
	ErrUnclean = errors.New("an earlier run of this session was not finished")
	// ErrLocked: another client is the master of the session.
	ErrLocked = errors.New("the session has a master already")
)

// Config is all a client needs to know. Those marked "same everywhere" have to
// agree between all sources of a session.
type Config struct {
	Zookeeper zkclient.Config
	Session   string // name below /admin/rsync
	Path      string // base path: of the source or of the destination
	Host      string // name this client is known by, "": the host's own
	Domain    string // destination: replaces the domain of the host's name

	VerifyPath bool // watch the base path while running
	Netcat     bool // same everywhere: send a line a path, no rsync

	// Sources.
	Jobs      int           // runs of rsync at once; 0: one, and none beside leading a run
	Batch     int           // most paths in a run; 1: no batches, 0: 500, which is also the most
	BatchTime time.Duration // how long a run with several paths should take; 0: 5 s
	Prefetch  int           // names looked at before rsync does, at once; 0: none

	// Master.
	Depth       int // AutoDepth: as the tree asks for
	Walkers     int // directories read at once, 0: 8
	Window      int // most entries that wait or are in work, 0: 10,000
	Flat        int // a directory with more files is sent in ranges of names, 0: 50,000
	Subpaths    []string
	Exclude     *regexp.Regexp
	ExcludeUser string
	DoneFile    string
	Report      string // JSON lines, one a path; "": none
	Failed      string // gets the entries that failed or are unfinished; "": none
	PathsFrom   string // entries to queue instead of walking; "": walk

	// Sources, same everywhere.
	Rsync        rsyncrunner.Options
	AllowEmpty   bool   // an empty source root is not refused with Delete
	Sentinel     string // name below every base path without which nothing runs; "": none
	MaxDelete    int    // entries the whole session may delete; negative: any number
	ExcludeBelow bool   // Exclude also holds below the depth

	// Destination.
	Port      int // 0: the first free one from StartPort
	StartPort int
	Slots     int // sources' jobs served at once, 0: one

	// Joined is called once, when the client has its role in the session and
	// nothing is left that can be wrong with the way it was started; nil: nothing.
	Joined func()

	TempDir string    // rsync's file lists and daemon configurations
	Stdout  io.Writer // what a dry or verifying run is asked to show; nil: nothing
	Output  io.Writer // output of children, as it comes; nil: none
	Logger  *slog.Logger
	Timing  Timing

	// Tests replace these; zero: as it should be.
	groups   int                                                // of hard links, which the master remembers
	paths    int                                                // of the netcat test run
	sendLine func(ctx context.Context, addr, line string) error // its transfer
}

// AutoDepth stands for a depth that is found by looking at the tree.
const AutoDepth = -1

// Timing has every period a role waits for; zero fields get the value in
// parentheses. Tests shorten them.
type Timing struct {
	Poll       time.Duration // (300 ms) looking whether the queue is empty, or the master alone
	Progress   time.Duration // (5 s) between two progress lines at the least
	Retry      time.Duration // (5 s) between two attempts at a path
	PathCheck  time.Duration // (2 s) between two looks at a base path
	NoPath     time.Duration // (20 s) a source waits when its base path is gone, as the original
	NoDest     time.Duration // (15 s) a slave keeps a path it has no destination for
	StatsFlush time.Duration // (3 s) between two additions to the shared counters
	Reconnect  time.Duration // (2 s) between two tries to reach ZooKeeper again
	SetAside   time.Duration // (60 s) a failing destination is not used
	Idle       time.Duration // (1 s) until a job without work says so
	SplitAfter time.Duration // (5 s) a path may be in work before it is cut for idle jobs
	Settle     time.Duration // (3 s) the receiver of a run that was stopped has to end
	Lookup     time.Duration // (1 s) a lookup ahead of rsync has to end when rsync has
	Leave      time.Duration // (30 s) until the master names the clients it waits for
	NeedGo     time.Duration // (30 s) until the master says that there are paths only a Go source may take, and none to take them
	GiveUp     time.Duration // (10 min) until it ends the run without such paths, once they are all that is left
}

// withDefaults replaces what is zero and stands for something else.
func (c Config) withDefaults() Config {
	c.Timing = c.Timing.withDefaults()
	c.Jobs, c.Slots = max(c.Jobs, 0), max(c.Slots, 1)
	c.Batch = min(cmp.Or(c.Batch, 500), 500)
	c.BatchTime = cmp.Or(c.BatchTime, 5*time.Second)
	c.Window = cmp.Or(c.Window, 10_000)
	c.Flat = cmp.Or(c.Flat, 50_000)
	c.groups = cmp.Or(c.groups, 1_000_000)
	c.paths = cmp.Or(c.paths, 15)
	if c.sendLine == nil {
		c.sendLine = rsyncrunner.SendLine
	}
	return c
}

func (t Timing) withDefaults() Timing {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Poll, 300 * time.Millisecond},
		{&t.Progress, 5 * time.Second},
		{&t.Retry, 5 * time.Second},
		{&t.PathCheck, 2 * time.Second},
		{&t.NoPath, 20 * time.Second},
		{&t.NoDest, 15 * time.Second},
		{&t.StatsFlush, 3 * time.Second},
		{&t.Reconnect, 2 * time.Second},
		{&t.SetAside, 60 * time.Second},
		{&t.Idle, time.Second},
		{&t.SplitAfter, 5 * time.Second},
		{&t.Settle, 3 * time.Second},
		{&t.Lookup, time.Second},
		{&t.Leave, 30 * time.Second},
		{&t.NeedGo, 30 * time.Second},
		{&t.GiveUp, 10 * time.Minute},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return t
}

// Attempts at a path by one slave, and starts of a daemon by one destination.
const attempts = 3
