// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/wire"
)

// facts are what is known of a run when it is over.
type facts struct {
	several  bool // it carried several paths
	attempts int  // at these paths, before this one

	asked   bool // it was stopped, as the leader wants the paths for idle jobs
	skipped bool // it was stopped, as some of it is not to be sent any more
	lost    bool // its destination has left
	unable  bool // rsync cannot be run on this node at all
	notRun  bool // rsync could not be run on these paths
	away    bool // the base as a whole is not what it was, or was away meanwhile
	stalled bool // nothing has moved in it for too long

	class     rsyncrunner.Class // how rsync ended
	harmless  bool              // class Fatal: a run that sends nothing ends well
	moved     bool              // the second look found other mounts than it should
	missing   bool              // a part was kept back that was there when this client started
	unnoted   bool              // what later passes have to know could not be recorded
	gone      wire.Outcome      // the path is not as it was queued any more, and how
	answers   bool              // class Destination: the destination answers
	blamed    bool              // class Destination or NoRoom, or stalled: as many have failed at the path as may
	exchanged bool              // class NoRoom: there is another destination in place of this one
	stopped   bool              // deletions stopped at the run's share
	more      bool              // stopped: there is another share
}

// next is how to go on after a run.
type next int

const (
	end       next = iota // the fate of its paths is known
	atOnce                // try again now: something changed under rsync's hands
	later                 // try again after a pause
	elsewhere             // try again at another destination: this one is gone, or has no room
	byOthers              // give it back: other jobs may have another destination
	handOver              // give it to the leader, which cuts it
	share                 // make its paths free for idle jobs
	oneByOne              // try its paths alone
	quit                  // this client cannot go on
)

// decision is how to go on after a run, and what its result says.
type decision struct {
	next      next
	outcome   wire.Outcome
	counts    bool // the run was an attempt at its paths
	exhausted bool // the budget of deletions was at its end
	note      bool // what was sent has to be noted for later passes
}

// decide says how to go on. It depends on nothing but the facts.
func decide(f facts) decision {
	last := f.attempts+1 >= attempts
	failure := decision{next: later, outcome: wire.Failed, counts: true}
	if last {
		failure.next = end
	}
	if f.several { // a bad path should cost only itself
		failure = decision{next: oneByOne}
	}
	switch {
	case f.unable:
		return decision{next: quit}
	case f.skipped: // without that
		return decision{next: atOnce}
	case f.asked && f.several:
		return decision{next: share}
	case f.asked:
		return decision{next: handOver}
	case f.lost && f.several:
		return decision{next: share}
	case f.lost:
		return decision{next: elsewhere}
	case f.away && f.several:
		return decision{next: share}
	case f.away: // when it is back
		return decision{next: atOnce}
	case f.notRun:
		return failure
	case f.stalled && f.several:
		return failure
	case f.stalled && f.blamed:
		return decision{next: end, outcome: wire.Failed, counts: true}
	case f.stalled: // another source may see another file server, or the same one awake
		return decision{next: byOthers}
	case f.class == rsyncrunner.Fatal && !f.moved && !f.harmless:
		return decision{next: quit} // no path would end better
	case f.moved || f.unnoted:
		return failure
	case f.missing && f.class != rsyncrunner.Destination:
		failure.note = last && !f.several
		return failure
	}
	switch f.class {
	case rsyncrunner.Fine:
		return decision{next: end, outcome: wire.Completed, counts: true, note: true}
	case rsyncrunner.DeletesStopped:
		switch {
		case f.several:
			return failure
		case f.more: // with another share
			return decision{next: atOnce}
		}
		return decision{next: end, outcome: wire.Completed, counts: true, exhausted: true, note: true}
	case rsyncrunner.NoRoom:
		switch {
		case f.several:
			return failure
		case f.exchanged:
			return decision{next: elsewhere}
		case !f.blamed:
			return decision{next: byOthers}
		}
		return decision{next: end, outcome: wire.Failed, counts: true}
	case rsyncrunner.Destination:
		switch {
		case !f.answers && f.several:
			return decision{next: share}
		case !f.answers:
			return decision{next: elsewhere}
		case f.several:
			return failure
		case !f.blamed:
			// It may be the path's fault as well as the destination's: only after several of them,
			// with other paths in between if there are any, the path has failed.
			return decision{next: byOthers}
		}
		return decision{next: end, outcome: wire.Failed, counts: true}
	case rsyncrunner.Vanished:
		switch {
		case !last:
			return decision{next: atOnce, counts: true}
		case f.several:
			return failure
		}
		return decision{next: end, outcome: wire.Vanished, counts: true, note: true}
	}
	switch { // some files were not sent
	case f.several:
		return failure
	case f.gone != wire.Unended:
		return decision{next: end, outcome: f.gone, counts: true}
	case f.stopped && f.more: // so it could not make way for some
		return decision{next: atOnce}
	}
	failure.note = last // what was sent has its links to other paths all the same
	return failure
}
