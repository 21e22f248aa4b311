// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"io"
	"time"

	"vsc-zk/internal/link"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/worker"
	"vsc-zk/internal/status"
)

// Errors that a caller may act on.
var (
	// ErrUnclean: the session's watch node is there from an earlier run.
	ErrUnclean = leader.ErrUnclean
	// ErrLocked: another client is the master of the session.
	ErrLocked = leader.ErrLocked
)

// OptionError is an error that comes from the value of an option.
type OptionError = leader.OptionError

// AutoDepth stands for a depth that is found by looking at the tree.
const AutoDepth = leader.AutoDepth

// AutoPrefetch stands for looking ahead where the file system answers slowly.
const AutoPrefetch = worker.AutoPrefetch

// Link is how bytes travel between sources and destinations.
type Link struct {
	Mode    link.Mode // of a destination; "": TLS
	OnlyTLS bool      // a source does not use destinations to which they travel in clear
	Only    bool      // a source does not use destinations that cannot prove who they are
}

// Config is all that a client needs to know: what concerns each client, what all sources of a session have to
// agree on, and a part for each role. It is not changed after the start.
type Config struct {
	Member member.Config

	// The same at all sources; bind in terms.go names the options, and which are a client's own.
	Base      guard.Config
	Rsync     rsyncrunner.Options
	MaxDelete int // what the whole session may delete; negative: any number

	// Inherit makes a source that never leads and takes all that from its master. Given tells whether the
	// user has named an option, so that what he asked for is not dropped without a word; nil: none.
	Inherit bool
	Given   func(option string) bool

	// Resume goes on with a run that has no master any more, instead of cleaning it up. Who takes over a run
	// whose master is lost: any source but those with NoMaster, and one with Master before the others.
	Resume   bool
	Master   bool
	NoMaster bool

	// Lines makes it the netcat test, which sends no files but so many lines; 0: it is none. LineSender is
	// its transport, nil: the real one.
	Lines      int
	LineSender worker.Runner

	Jobs        int // runs at once; 0: one, and none beside leading
	Worker      worker.Config
	Stall       time.Duration // an rsync of this client in which nothing moves for so long is ended; 0: it is not
	Link        Link
	Prefetch    int // names looked at before rsync does, at once; 0: none; AutoPrefetch: some, where that pays
	Leader      leader.Config
	Destination destination.Config

	// Watch is shown how far the session is, every so often while this client is in it, and as who it is there; nil: nobody
	// wants to see.
	Watch      func(s *status.Snapshot, whoami string)
	WatchEvery time.Duration

	// Ended is told what became of a run that this source, as its master, has ended; nil: nobody is.
	Ended func(leader.Summary)

	Stdout io.Writer // what a dry or verifying run is asked to show; nil: nothing
	Output io.Writer // of children, as it comes; nil: none
}
