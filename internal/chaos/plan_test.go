// SPDX-License-Identifier: LGPL-2.1-or-later

package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"vsc-zk/internal/testtree"
)

// The cast of a round.
const (
	sources = 5 // one of which is the master
	dests   = 3
	servers = 3
)

// sessionTimeout is that of all clients.
const sessionTimeout = 4 * time.Second

// plan is all of a round that its seed decides: everything but the timing of the programs.
type plan struct {
	tree    testtree.TreeOptions
	prior   prior
	options []string      // of all sources
	jobs    []int         // of each source
	slots   []int         // of each destination
	resumes bool          // the sources are told to resume from their first start on
	work    time.Duration // that the sources would have if nothing went wrong
	events  []event       // by time
}

// prior is what the destination holds before.
type prior string

const (
	empty prior = "an empty destination"
	older prior = "an older copy with things that do not belong there"
)

// event is something that goes wrong, and is mended after a while.
type event struct {
	what  kind
	who   int // the number of a client or of a server
	at    time.Duration
	lasts time.Duration
	draw  uint64 // decides what else is left open
}

// kind is what goes wrong.
type kind string

const (
	killClient    kind = "kill client"      // and start it again
	killMaster    kind = "kill master"      // the client that leads then
	killSources   kind = "kill all sources" // nobody is left to take over
	killDests     kind = "kill all destinations"
	killAll       kind = "kill all clients"   //
	endClient     kind = "end client"         // as with kill(1), and start it again
	endMaster     kind = "end master"         //
	freezeClient  kind = "freeze client"      // stop it, and have it go on
	freezeMaster  kind = "freeze master"      //
	freezeAll     kind = "freeze all clients" //
	killRsync     kind = "kill rsync"         // one of a client's
	freezeRsync   kind = "freeze rsync"       //
	killServer    kind = "kill server"        //
	killLeader    kind = "kill server leader" // the server that the others follow
	killServers   kind = "kill two servers"   // the third cannot serve alone
	freezeServer  kind = "freeze server"      //
	freezeLeader  kind = "freeze server leader"
	cut           kind = "cut"            // a client's connections to all servers
	cutMaster     kind = "cut master"     //
	stall         kind = "stall"          //
	stallMaster   kind = "stall master"   //
	swallow       kind = "swallow"        // replies
	swallowWrites kind = "swallow writes" // the reply to the first change, and all later ones
	loseWrites    kind = "lose writes"    // the first change, and all later requests
	swallowEvents kind = "swallow events" //
	fill          kind = "fill"           // the file system of the destinations
)

// kinds are all, each as often as it should come.
var kinds = []kind{
	killClient, killClient, killClient, killMaster, killMaster, killSources, killDests, killAll, endClient, endMaster,
	freezeClient, freezeClient, freezeMaster, freezeAll, killRsync, killRsync, freezeRsync,
	killServer, killLeader, killServers, freezeServer, freezeLeader,
	cut, cutMaster, stall, stallMaster, swallow, swallowWrites, loseWrites, swallowEvents, fill, fill,
}

// ofServer tells whether the event is about a server.
func (k kind) ofServer() bool { return strings.Contains(string(k), "server") }

func (e event) String() string {
	return fmt.Sprintf("%.1f s: %s %d for %.1f s", e.at.Seconds(), e.what, e.who, e.lasts.Seconds())
}

// newPlan makes the plan of a seed.
func newPlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := plan{
		tree: testtree.TreeOptions{
			Fanout: []int{3 + r.IntN(5), 1 + r.IntN(4), r.IntN(3)}, Files: 1 + r.IntN(3), Size: pick(r, []int{2_000, 10_000, 20_000}),
			Names: pick(r, []testtree.Names{testtree.PlainNames, testtree.PlainNames, testtree.OddNames}), HardLinks: chance(r, 50),
		},
		prior:   pick(r, []prior{empty, older, older}),
		resumes: chance(r, 70),
		work:    between(r, 4*time.Second, 10*time.Second),
	}
	p.options = []string{"--depth=" + pick(r, []string{"auto", "1", "2", "3"})}
	if chance(r, 70) {
		p.options = append(p.options, "--delete")
	}
	if p.tree.HardLinks {
		p.options = append(p.options, "--hardlinks")
		p.tree.FarHardLinks = chance(r, 50)
	}
	if chance(r, 20) {
		p.options = append(p.options, "--no-sync")
	}
	if chance(r, 30) {
		p.options = append(p.options, "--batch=1")
	}
	for range sources {
		p.jobs = append(p.jobs, 1+r.IntN(2))
	}
	for range dests {
		p.slots = append(p.slots, 2+r.IntN(3))
	}
	events := 3 + r.IntN(6)
	if chance(r, 25) {
		events += 10
	}
	for range events {
		e := event{what: pick(r, kinds), at: between(r, 500*time.Millisecond, p.work+3*time.Second), draw: r.Uint64()}
		e.who = r.IntN(sources + dests)
		if e.what.ofServer() {
			e.who = r.IntN(servers)
		}
		e.lasts = between(r, 100*time.Millisecond, sessionTimeout/2) // ridden through
		if chance(r, 60) {
			e.lasts = between(r, sessionTimeout, 2*sessionTimeout) // noticed
		}
		p.events = append(p.events, e)
	}
	slices.SortFunc(p.events, func(a, b event) int { return int(a.at - b.at) })
	return p
}

func (p plan) deletes() bool { return slices.Contains(p.options, "--delete") }

func (p plan) String() string {
	s := fmt.Sprintf("%+v; %s; %.1f s of work; %v; jobs %v, slots %v, resuming from the start: %v", p.tree, p.prior, p.work.Seconds(), p.options, p.jobs, p.slots, p.resumes)
	for _, e := range p.events {
		s += "\n  " + e.String()
	}
	return s
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}
