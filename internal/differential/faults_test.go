// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// fault is what goes wrong in a round. The destination must not show it, and no path may fail by it.
type fault struct {
	name  string
	at    role // the first client in this role is hit
	apart bool // only one that is a process of its own
	frail bool // it loses its ZooKeeper session
	still bool // only in rounds without changes
	small bool // the destinations have a file system of their own
	waits bool // only where results wait for their destinations: with --no-sync they count whatever these find later
	holds bool // what the message is about waits for the end of it
	act   func(r *run, c *client, random *rand.Rand)
}

// faults are all kinds.
var faults = []fault{
	{name: "the master loses ZooKeeper", at: master, frail: true, act: loseZooKeeper},
	{name: "a slave loses ZooKeeper", at: slave, frail: true, act: loseZooKeeper},
	{name: "a destination loses ZooKeeper", at: dest, frail: true, act: loseZooKeeper},
	{name: "a slave is stopped", at: slave, act: stop},
	{name: "a destination is stopped", at: dest, act: stop},
	{name: "a slave is killed", at: slave, apart: true, frail: true, act: kill},
	{name: "a destination is killed", at: dest, apart: true, frail: true, act: kill},
	{name: "a slave is frozen", at: slave, apart: true, frail: true, act: freeze},
	{name: "a destination is frozen", at: dest, apart: true, frail: true, act: freeze},
	{name: "an rsync of a source is killed", at: master, act: killRsync},
	{name: "an rsync of a destination is killed", at: dest, act: killRsync},
	{name: "the master's base is away", at: master, act: baseAway},
	{name: "a slave's base is away", at: slave, apart: true, act: baseAway},
	{name: "a destination's base is away", at: dest, waits: true, act: baseAway},
	{name: "a destination's base is read-only", at: dest, act: baseReadOnly},
	{name: "destinations have no room", at: dest, small: true, act: noRoom},
	{name: "something is mounted in the master's base", at: master, still: true, act: cover},
	{name: "something is mounted in a slave's base", at: slave, apart: true, still: true, act: cover},
	{name: "a slave with other options comes", at: master, holds: true, act: otherOptions},
}

// randomFault is one that can happen in a round with these options; nil: none.
func randomFault(r *rand.Rand, o options, changes bool) *fault {
	if !chance(r, 60) {
		return nil
	}
	possible := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool {
		return f.apart && !o.Apart || f.at == slave && len(o.Jobs) == 0 || f.still && changes || f.waits && o.NoSync
	})
	f := pick(r, possible)
	return &f
}

func noFault(*rand.Rand, options, bool) *fault { return nil }

// until waits for a state. It gives up when the run is over.
func (r *run) until(state func() bool) {
	for end := time.Now().Add(deadline / 2); !state() && r.master.running(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Error("a fault waits for something that does not come")
			return
		}
	}
}

// offered tells whether all destinations have offered themselves.
func (r *run) offered() bool {
	return !slices.ContainsFunc(r.dests, func(c *client) bool { return !r.said(0, c, " was activated") })
}

// said tells whether a client has said something, from some place in the log on. In one process clients in one role share
// what befalls them.
func (r *run) said(from int, c *client, part string) bool {
	for line := range strings.Lines(r.text()[from:]) {
		if strings.Contains(line, part) && (strings.Contains(line, fmt.Sprintf(" client=%d ", c.Number)) || c.Role == master && !r.options.Apart) {
			return true
		}
	}
	return false
}

// heard gives a function that waits until a client has said one of these since.
func (r *run) heard(c *client, events ...string) func() {
	from := len(r.text())
	return func() {
		r.until(func() bool {
			return slices.ContainsFunc(events, func(event string) bool { return r.said(from, c, " event="+event) })
		})
	}
}

// moment gives a function that waits until a client has said one of these since, or for some part of a second.
func (r *run) moment(c *client, random *rand.Rand, events ...string) func() {
	if chance(random, 70) {
		return r.heard(c, events...)
	}
	some := time.Duration(random.IntN(300)) * time.Millisecond
	return func() { time.Sleep(some) }
}

// gone waits until ZooKeeper has lost a client.
func (r *run) gone(c *client) {
	zk, err := zkclient.Connect(r.t.Context(), zkclient.Config{Servers: []string{server.Addr()}, User: "root", Password: "admin"})
	r.must(err)
	defer zk.Close()
	r.until(func() bool {
		members, err := zk.Party(wire.Base+"/"+r.name+"/parties/"+wire.PartyAll, "").Members(r.t.Context())
		return err == nil && !slices.ContainsFunc(members, func(who string) bool { return strings.HasPrefix(who, c.host()+":") })
	})
}

func loseZooKeeper(r *run, c *client, _ *rand.Rand) {
	r.proxy.Cut()
	r.gone(c)
	r.proxy.Heal()
}

func stop(r *run, c *client, _ *rand.Rand) {
	c.stop(errStopped)
	r.relieve(c.Role)
}

func kill(r *run, c *client, _ *rand.Rand) {
	c.signal(syscall.SIGKILL)
	r.cutOff = true
	r.relieve(c.Role)
}

func freeze(r *run, c *client, _ *rand.Rand) {
	c.signal(syscall.SIGSTOP)
	r.gone(c)
	c.signal(syscall.SIGCONT)
}

func killRsync(r *run, c *client, random *rand.Rand) {
	r.cutOff = true
	r.killRsync(c.Role, random.IntN)
}

func baseAway(r *run, c *client, random *rand.Rand) {
	r.away(c, r.moment(c, random, "base-away", "cannot-receive"))
}

func baseReadOnly(r *run, c *client, random *rand.Rand) {
	r.readOnly(c, r.moment(c, random, "cannot-receive"))
}

func noRoom(r *run, c *client, random *rand.Rand) {
	r.cutOff = true
	r.noRoom(r.moment(c, random, "cannot-receive"))
}

func cover(r *run, c *client, random *rand.Rand) {
	dirs, _ := r.list(r.at("src"))
	dirs = slices.DeleteFunc(dirs, func(rel string) bool {
		return rel == "." || len(rel) > 2500 || below(rel, r.standing)
	})
	if len(dirs) == 0 {
		return
	}
	while := r.moment(c, random, "kept-back")
	if chance(random, 30) {
		while = func() { r.until(func() bool { return false }) }
	}
	r.cover(c, pick(random, dirs), while)
}

// otherOptions has a slave come that was not started as its master was. It is refused and takes nothing.
func otherOptions(r *run, _ *client, random *rand.Rand) {
	bad := r.start(slave, 1, false, func(o *order) {
		o.Inherit = false
		n := random.IntN(5)
		if n == 3 && o.Options.Sentinel != "" {
			n = 4 // another base does not have it
		}
		switch n {
		case 0:
			o.Options.Delete = !o.Options.Delete
		case 1:
			o.Options.Checksum = !o.Options.Checksum
		case 2:
			o.Options.UserMap += ",7:8"
			o.Options.UserMap = strings.TrimPrefix(o.Options.UserMap, ",")
		case 3:
			o.Base = filepath.Join(r.dir, "another") // in which no destination is, but something: else that is told first
			if err := os.MkdirAll(filepath.Join(o.Base, "x"), 0o755); err != nil {
				r.t.Error(err)
			}
		default:
			o.Options.Exclude = "/other$"
		}
	})
	if err := r.wait(bad); err == nil || !strings.Contains(err.Error(), "this source was started with other options than its master") {
		r.t.Errorf("a slave with other options than its master ends with: %v", err)
	}
	for line := range strings.Lines(r.text()) {
		if strings.Contains(line, fmt.Sprintf(" client=%d ", bad.Number)) && strings.Contains(line, " is sending ") {
			r.t.Errorf("it has taken something: %s", line)
		}
	}
}

// TestFaults has a round with each kind of fault.
func TestFaults(t *testing.T) {
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			used := round(t, 2*uint64(i)+100, func(o *options) {
				o.Apart = o.Apart || f.apart
				o.NoSync = o.NoSync && !f.waits
				o.DryRun, o.Auto, o.Depth, o.Batch, o.Slow = false, false, 3, 1, 50
				if len(o.Jobs) == 0 {
					o.Jobs = []int{2}
				}
			}, func(*rand.Rand, options, bool) *fault { return &f })
			if used[f.name] == 0 {
				t.Error("it came too late, so this round tested something else")
			}
		})
	}
}
