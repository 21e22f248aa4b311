// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/link"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

func plainLink(c *Config) { c.Link.Mode = link.Plain }

// bounded bounds what the session sends.
func bounded(bytes int) func(*Config) { return func(c *Config) { c.Leader.BwLimit = bytes } }

// oneBig makes a tree that takes a while if it is bounded.
func (r *rig) oneBig(size int) {
	r.t.Helper()
	r.makeTree(testtree.TreeOptions{Fanout: []int{1}, Files: 1, Size: size})
	r.rest()
}

// onItsWay waits until a file is being received.
func (r *rig) onItsWay() {
	r.t.Helper()
	r.until("a file is on its way", func() bool {
		found, err := filepath.Glob(filepath.Join(r.dst, "*/.file000.*"))
		top, err2 := filepath.Glob(filepath.Join(r.dst, ".file000.*"))
		r.must(err, err2)
		return len(found)+len(top) > 0
	})
}

// target is the destination's listener.
func (r *rig) target(n int) link.Target {
	r.t.Helper()
	data, stat, err := r.zk().Get(r.t.Context(), r.tree().Key(dest127(n)))
	r.must(err)
	key, err := wire.DecodeKey(data, stat.EphemeralOwner != 0)
	r.must(err)
	return link.Target{Addr: net.JoinHostPort("127.0.0.1", r.port(n)), Fingerprint: key.Fingerprint}
}

// member is an identity whose key is in the session as long as zk is.
func (r *rig) member(zk *zkclient.Client, name string) *link.Identity {
	r.t.Helper()
	identity, err := link.NewIdentity()
	r.must(err)
	_, err = zk.CreatePath(r.t.Context(), r.tree().Key(name), wire.Key{Fingerprint: identity.Fingerprint()}.Encode(), zkclient.Ephemeral)
	r.must(err)
	return identity
}

// Who is no member of the session gets nothing from a destination, and the transfer under way is unharmed.
func TestStrangersAtADestination(t *testing.T) {
	for name, mode := range map[string]func(*Config){"tls": func(*Config) {}, "plain": plainLink} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.oneBig(2_000_000)
			master := r.queued(bounded(200_000), depth1)
			dest := r.destination(2, mode, func(c *Config) { c.Destination.Slots = 3 })
			r.waitFor("Added destination")
			slave := r.source(3)
			r.onItsWay()
			target, inside := r.target(2), filepath.Join(r.dst, "stranger")

			out, err := exec.CommandContext(t.Context(), "rsync", "-r", r.src+"/", "rsync://"+target.Addr+"/zkrs-"+r.name+"/stranger").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--open-daemon") {
				t.Errorf("a plain rsync: %v, %s", err, out)
			}
			refused := func(what string, identity *link.Identity) {
				t.Helper()
				conn, err := link.Dial(t.Context(), identity, target)
				if err == nil {
					conn.Close()
				}
				if !errors.Is(err, link.ErrDestination) {
					t.Errorf("%s is let in: %v", what, err)
				}
			}
			stranger, err := link.NewIdentity()
			r.must(err)
			refused("a stranger", stranger)
			o := &rig{t: t, addr: r.addr, name: r.name + "-other", log: r.log}
			refused("a member of another session", o.member(r.zk(), "127.0.0.9:1"))
			zk := r.zk()
			lasting, err := link.NewIdentity()
			r.must(err)
			_, err = zk.CreatePath(t.Context(), r.tree().Key("127.0.0.8:1"), wire.Key{Fingerprint: lasting.Fingerprint()}.Encode(), zkclient.Persistent)
			r.must(err)
			refused("a key that no client owns", lasting)
			r.must(zk.Delete(t.Context(), r.tree().Key("127.0.0.8:1")))

			// A member is let in, as often as there are slots.
			known := r.member(zk, "127.0.0.7:1")
			var conns []net.Conn
			for range 2 {
				conn, err := link.Dial(t.Context(), known, target)
				r.must(err)
				conns = append(conns, conn)
			}
			if _, err := link.Dial(t.Context(), known, target); err == nil || !strings.Contains(err.Error(), "all 3 slots are taken") {
				t.Errorf("one too much: %v", err)
			}
			for _, conn := range conns {
				conn.Close()
			}
			zk.Close()
			r.until("who has left is refused", func() bool {
				conn, err := link.Dial(t.Context(), known, target)
				if err == nil {
					conn.Close()
				}
				return err != nil && !strings.Contains(err.Error(), "slots")
			})
			if _, err := os.Lstat(inside); err == nil {
				t.Error("a stranger has written")
			}
			_, err = r.zk().Set(t.Context(), r.tree().BwLimit(), []byte("0"), -1)
			r.must(err)
			r.finish(slave, dest, master)
			r.identical()
			r.logged("event=refused", "2 completed, 0 failed")
		})
	}
}

// A source whose ZooKeeper session has ended is cut off, whatever it does itself, and what served it is dead.
func TestFence(t *testing.T) {
	for name, mode := range map[string]func(*Config){"tls": func(*Config) {}, "plain": plainLink} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.oneBig(600_000)
			master := r.queued(depth1)
			dest := r.destination(2, mode)
			r.waitFor("Added destination")
			zk := r.zk()
			identity := r.member(zk, "127.0.0.7:1")
			proxy, err := link.NewProxy(link.ProxyConfig{Identity: identity})
			r.must(err)
			defer proxy.Close()
			conn := proxy.Open(r.target(2))
			defer conn.Close()
			ended := make(chan error, 1)
			rsync := exec.CommandContext(t.Context(), "rsync", "-r", "--bwlimit=50", r.src+"/", "rsync://"+r.target(2).Addr+"/zkrs-"+r.name)
			rsync.Env = append(os.Environ(), conn.Environ())
			go func() { ended <- rsync.Run() }()
			r.onItsWay()
			if len(r.daemons()) == 0 {
				t.Fatal("nothing serves it")
			}
			zk.Close()
			r.until("what served it is dead", func() bool { return len(r.daemons()) == 0 })
			if err := <-ended; err == nil {
				t.Error("the transfer has ended well")
			}
			left, err := filepath.Glob(filepath.Join(r.dst, "*/.file000.*"))
			if r.must(err); len(left) > 0 {
				t.Errorf("%v left", left)
			}
			r.finish(r.source(3), dest, master)
			r.identical()
		})
	}
}

// A Python source finds no destination as long as none is open, and the master says so at once.
func TestClosedAndOpenDestinations(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	closed := r.destination(2)
	r.waitFor("Added destination " + dest127(2))
	python := r.zk()
	for _, party := range []string{wire.PartyAll, wire.PartySources} {
		r.must(python.Party(r.tree().Party(party), "127.0.0.9:1").Join(t.Context()))
	}
	r.waitFor("event=no-open-destination source=127.0.0.9:1")
	waiting, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	queue := python.Queue(r.tree().DestQueue())
	if entry, err := queue.Take(waiting); err == nil {
		t.Errorf("a Python source gets %s", entry.Value)
	}
	open := r.destination(3, func(c *Config) { c.Destination.Open = true })
	entry, err := queue.Take(t.Context())
	r.must(err)
	dest, err := wire.DecodeDest(entry.Value)
	r.must(err)
	if dest.Whoami != dest127(3) {
		t.Errorf("it gets %s", entry.Value)
	}
	out, err := exec.CommandContext(t.Context(), "rsync", "-a", r.path("dir000"), "rsync://127.0.0.1:"+r.port(3)+"/zkrs-"+r.name).CombinedOutput()
	if err != nil {
		t.Errorf("it is not served: %v, %s", err, out)
	}
	r.must(entry.Release(t.Context()))
	python.Close()
	r.finish(r.source(4, jobs(2)), closed, open, master)
	r.identical()
	for _, n := range []int{2, 3} { // Go sources use both
		if !strings.Contains(r.log.String(), "to 127.0.0."+strconv.Itoa(n)+" ") {
			t.Errorf("nothing was sent to destination %d:\n%s", n, r.log)
		}
	}
	if n := r.count("event=no-open-destination"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// Destinations that are not what a source asks for are left to others.
func TestUnfitDestinations(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	python := r.zk()
	for _, party := range []string{wire.PartyAll, wire.PartyDests} {
		r.must(python.Party(r.tree().Party(party), "127.0.0.9:1").Join(t.Context()))
	}
	_, err := python.CreatePath(t.Context(), r.tree().PortMap("127.0.0.9:1"), []byte("9"), zkclient.Ephemeral)
	r.must(err)
	r.must(python.Queue(r.tree().DestQueue()).Put(t.Context(), zkclient.DefaultPriority, wire.Dest{Port: 9, Whoami: "127.0.0.9:1"}.Encode()))
	plain := r.destination(2, plainLink)
	r.waitFor("Added destination")
	slave := r.source(3, func(c *Config) { c.Link.OnlyTLS, c.Link.Only = true, true })
	r.waitFor("event=unfit-destination destination=127.0.0.9:1")
	r.waitFor("event=unfit-destination destination=" + dest127(2))
	if n := r.sent(""); n > 0 {
		t.Errorf("%d paths were sent", n)
	}
	python.Close()
	fit := r.destination(4)
	r.finish(slave, fit, plain, master)
	r.identical()
	if n := r.count("event=unfit-destination"); n != 2 {
		t.Errorf("said %d times, want once of each", n)
	}
}

// An rsync that is stopped is noticed, at whichever end, and that end is blamed.
func TestStalledEnds(t *testing.T) {
	const stall = 3 * time.Second
	stalls := func(c *Config) { c.Stall = stall }
	never := func(*Config) {}
	for name, c := range map[string]struct {
		source, dest func(*Config)
		stop         func(*rig) []int
		says         func(*rig) string
	}{
		"source": {stalls, never, func(r *rig) []int { return r.rsyncs("/zkrs-" + r.name) },
			func(r *rig) string { return "event=stalled error=\"cannot finish sending" }},
		"destination": {never, stalls, (*rig).daemons,
			func(r *rig) string { return "event=stalled destination=" + dest127(2) + " error=\"nothing has moved" }},
		"destination, seen by the source": {stalls, never, (*rig).daemons,
			func(r *rig) string { return "event=stalled destination=" + dest127(2) + "\n" }},
	} {
		for mode, set := range map[string]func(*Config){"tls": never, "plain": plainLink} {
			t.Run(name+", "+mode, func(t *testing.T) {
				r := newRig(t)
				r.oneBig(50 << 20)
				master := r.queued(bounded(1<<20), depth1)
				dest := r.destination(2, set, c.dest)
				r.waitFor("Added destination")
				slave := r.source(3, c.source)
				r.onItsWay()
				pids := c.stop(r)
				if len(pids) == 0 {
					t.Fatalf("nothing to stop; log:\n%s", r.log)
				}
				r.signal(pids, syscall.SIGSTOP)
				_, err := r.zk().Set(t.Context(), r.tree().BwLimit(), []byte("0"), -1)
				r.must(err)
				r.waitFor(c.says(r))
				r.finish(slave, dest, master)
				r.identical()
				if n := r.count("event=stalled"); n != 1 {
					t.Errorf("%d stalls; log:\n%s", n, r.log)
				}
				r.logged("2 completed, 0 failed")
			})
		}
	}
}

// What two sources send is within the session's bound together, and a new bound counts at once.
func TestBandwidth(t *testing.T) {
	r := newRig(t)
	const files, size, limit = 4, 1 << 20, 400_000
	r.makeTree(testtree.TreeOptions{Fanout: []int{files}, Files: 1, Size: size})
	r.rest()
	var mu sync.Mutex
	most, both := int64(0), false
	watching, end := context.WithCancel(t.Context())
	defer end()
	zk := r.zk()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = zk.WatchData(watching, r.tree().Shares(), func(data []byte, _ zkclient.Stat, exists bool) {
			shares, err := wire.DecodeShares(data)
			if !exists || err != nil {
				return
			}
			sum := int64(0)
			for _, share := range shares.Rates {
				sum += share
			}
			mu.Lock()
			defer mu.Unlock()
			most, both = max(most, sum), both || len(shares.Rates) == 2
		})
	}()
	quick := func(c *Config) { c.Member.Timing.Share = 100 * time.Millisecond }
	master := r.queued(bounded(limit), depth1, quick)
	began := time.Now()
	dests := []*running{r.destination(2), r.destination(3)}
	slaves := []*running{r.source(4, oneByOne, quick), r.source(5, oneByOne, quick)}
	r.until("two of four have arrived", func() bool { return r.results()+r.count("Completed Path") >= 2 })
	took := time.Since(began)
	// Two files are more than two megabytes.
	if least := 2 * size * time.Second / limit * 8 / 10; took < least {
		t.Errorf("two files took %v, want %v at the least", took, least)
	}
	_, err := zk.Set(t.Context(), r.tree().BwLimit(), []byte("100000000"), -1)
	r.must(err)
	mu.Lock()
	if most > limit || !both {
		t.Errorf("sources were given %d of %d, both of them at once: %v", most, limit, both)
	}
	mu.Unlock()
	r.finish(append(append(slaves, dests...), master)...)
	end()
	<-done
	r.identical()
	r.left()
}
