// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"log/slog"
	"time"

	"vsc-zk/internal/zkclient"
)

// Config is how a client joins a session.
type Config struct {
	Zookeeper zkclient.Config
	Session   string // name below /admin/rsync
	Host      string // name this client is known by; "": the host's own
	Domain    string // replaces the domain of the host's own name; "": it stays
	Version   string // of the program, to be shown

	// Joined is called once, when the client has its role in the session and nothing is left that
	// can be wrong with the way it was started; nil: nothing.
	Joined func()

	// Ending ends, with the cause, when the client is asked to end; nil: never. It is for a client that
	// has to put things in order first: then it gives up after Timing.Ending without ZooKeeper.
	Ending context.Context

	Logger *slog.Logger // nil: none
	Timing Timing
}

// Timing has every period that a client waits for; zero fields get the value in parentheses. Tests
// shorten them.
type Timing struct {
	Poll       time.Duration // (300 ms) looking whether the queue is empty, or the leader alone
	Progress   time.Duration // (5 s) between two progress lines at the least
	Retry      time.Duration // (5 s) between two attempts at a path
	PathCheck  time.Duration // (2 s) between two looks at a base
	NoDest     time.Duration // (15 s) a worker keeps a path it has no destination for
	StatsFlush time.Duration // (3 s) between two additions to the shared counters
	Reconnect  time.Duration // (2 s) between two tries to reach ZooKeeper again
	SelfTest   time.Duration // (60 s) between two tests that a destination makes of itself
	Silent     time.Duration // (60 s) a file system may take to answer
	Unsteady   time.Duration // (10 min) within which a daemon may fail only a few times
	Flush      time.Duration // (1 s) between two flushes of a destination at first
	Away       time.Duration // (15 s) a destination may be away before what it has not flushed is sent again
	SetAside   time.Duration // (60 s) a failing destination is not used
	Idle       time.Duration // (1 s) until a job without work says so
	SplitAfter time.Duration // (5 s) a path may be in work before it is cut for idle jobs
	Settle     time.Duration // (3 s) the receiver of a run that was stopped has to end
	Lookup     time.Duration // (1 s) a lookup ahead of rsync has to end when rsync has
	Leave      time.Duration // (30 s) until the leader names the clients it waits for
	NeedGo     time.Duration // (30 s) until the leader says that no source can take some paths
	GiveUp     time.Duration // (10 min) until it ends without such paths, once they are all that is left
	Share      time.Duration // (1 s) between two divisions of the bandwidth
	Missing    time.Duration // (15 s) until the leader says that there are no clients of a kind
	Still      time.Duration // (1 min) until it says that nothing moves
	Again      time.Duration // (10 min) until it says so again
	Status     time.Duration // (5 s) between two looks of a client at what it says of itself
	Heed       time.Duration // (10 s) a command that steers the run waits until the sources have noted it
	Ending     time.Duration // (30 s) a client that is asked to end tries to reach ZooKeeper
	Ghost      time.Duration // (2 min) until the leader no longer waits for who does not leave, or holds an entry and is no client
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
		{&t.NoDest, 15 * time.Second},
		{&t.StatsFlush, 3 * time.Second},
		{&t.Reconnect, 2 * time.Second},
		{&t.SelfTest, 60 * time.Second},
		{&t.Silent, 60 * time.Second},
		{&t.Unsteady, 10 * time.Minute},
		{&t.Flush, time.Second},
		{&t.Away, 15 * time.Second},
		{&t.SetAside, 60 * time.Second},
		{&t.Idle, time.Second},
		{&t.SplitAfter, 5 * time.Second},
		{&t.Settle, 3 * time.Second},
		{&t.Lookup, time.Second},
		{&t.Leave, 30 * time.Second},
		{&t.NeedGo, 30 * time.Second},
		{&t.GiveUp, 10 * time.Minute},
		{&t.Share, time.Second},
		{&t.Missing, 15 * time.Second},
		{&t.Still, time.Minute},
		{&t.Again, 10 * time.Minute},
		{&t.Status, 5 * time.Second},
		{&t.Heed, 10 * time.Second},
		{&t.Ending, 30 * time.Second},
		{&t.Ghost, 2 * time.Minute},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return t
}
