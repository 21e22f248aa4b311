// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zktest"
)

// at has a client speak with these servers.
func at(servers ...string) func(*Config) {
	return func(c *Config) { c.Member.Zookeeper.Servers = servers }
}

// lasts has a client keep its ZooKeeper session for so long.
func lasts(timeout time.Duration) func(*Config) {
	return func(c *Config) { c.Member.Zookeeper.SessionTimeout = timeout }
}

// Servers of an ensemble are killed and come back, its leader and a follower, while a path is sent: nobody loses a
// session, and nothing is sent twice.
func TestServersDieAndComeBack(t *testing.T) {
	r := newRig(t)
	ensemble := zktest.StartEnsemble(t)
	r.addr = strings.Join(ensemble.Addrs(), ",")
	r.makeTree(smallTree)
	r.slowEnd()
	r.rest()
	long := lasts(30 * time.Second)
	master := r.queued(long)
	begun := r.slowEndLast()
	slave, dest := r.source(2, slow, long), r.destination(3, long)
	begun()
	leader := func() (server int) {
		r.until("the ensemble has a leader", func() (ok bool) {
			var err error
			server, err = ensemble.Leader(t.Context())
			return err == nil
		})
		return server
	}
	for _, follower := range []bool{false, true} {
		victim := leader()
		if follower {
			victim = (victim + 1) % len(ensemble.Servers)
		}
		ensemble.Servers[victim].Kill()
		leader()
		r.must(ensemble.Revive(victim), ensemble.Await())
	}
	r.finish(master, slave, dest)
	r.identical()
	r.left()
	r.logged("event=connection-lost", " event=end completed=10 failed=0 vanished=0 changed=0 unfinished=0 ")
	if n := r.sent("dir002/dir001"); n != 1 || r.said("session-lost") > 0 {
		t.Errorf("the path was sent %d times; log:\n%s", n, r.log)
	}
}

// mute accepts connections, and never answers.
func mute(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// Of four servers one has no address, one is mute, and one is not there: clients start with the fourth, and come back to
// it.
func TestServersThatAreNone(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.slowEnd()
	proxy := zktest.NewProxy(t, r.addr)
	bad := at("no-such-host.invalid", mute(t), fmt.Sprintf("127.0.0.1:%d", zktest.Ports(t, 1)), proxy.Addr())
	master := r.queued(bad)
	begun := r.slowEndLast()
	slave, dest := r.source(2, bad, slow), r.destination(3, bad)
	begun()
	proxy.Cut()
	r.waitFor("event=connection-lost")
	proxy.Heal()
	r.finish(master, slave, dest)
	r.identical()
	r.left()
	r.logged(" failed=0 vanished=0 changed=0 unfinished=0 ")
}

// A server that takes no more connections from this machine says nothing; a client says what that may mean. Clients that
// had a place and lose it try again until they have one.
func TestTooManyConnections(t *testing.T) {
	r := newRig(t)
	full := zktest.Start(t)
	r.addr = full.Addr()
	r.makeTree(smallTree)
	r.slowEnd()
	impatient := func(c *Config) { c.Member.Zookeeper.ConnectTimeout = 2 * time.Second }
	master := r.queued(impatient)
	begun := r.slowEndLast()
	slave, dest := r.source(2, slow, impatient), r.destination(3, impatient)
	begun()
	full.Limit(1)
	r.must(full.Restart())
	r.waitFor("more than its maxClientCnxns connections from this machine? the default is 60 per address. A port for TLS? see --zk-tls); check that a server runs there and that host and port are right; trying again")
	if err := r.wait(r.source(4, impatient)); err == nil || !strings.Contains(err.Error(), "more than its maxClientCnxns connections from this machine") {
		t.Errorf("a client that comes when all places are taken: %v", err)
	}
	full.Limit(0)
	r.must(full.Restart())
	r.finish(master, slave, dest)
	r.identical()
	r.left()
	r.logged(" failed=0 vanished=0 changed=0 unfinished=0 ")
}

// Everybody loses ZooKeeper for less than the session timeout, again and again, while a path is sent: its rsync goes on, and
// nothing is sent twice.
func TestShortLoss(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.slowEnd()
	r.rest()
	proxy := zktest.NewProxy(t, r.addr)
	behind := func(c *Config) { at(proxy.Addr())(c); lasts(30 * time.Second)(c) }
	master := r.queued(behind)
	begun := r.slowEndLast()
	slave, dest := r.source(2, slow, behind), r.destination(3, behind)
	begun()
	for range 3 {
		lost, back := r.said("connection-lost"), r.said("connected")
		proxy.Cut()
		r.until("all have lost it", func() bool { return r.said("connection-lost") == lost+3 })
		proxy.Heal()
		r.until("all are back", func() bool { return r.said("connected") == back+3 })
	}
	r.finish(master, slave, dest)
	r.identical()
	r.left()
	r.logged(" event=end completed=10 failed=0 vanished=0 changed=0 unfinished=0 ")
	if n := r.sent("dir002/dir001"); n != 1 || r.said("session-lost") > 0 {
		t.Errorf("the path was sent %d times; log:\n%s", n, r.log)
	}
}

// A client that loses its ZooKeeper session while it joins tries again, as it does later: the servers were there.
func TestSessionLostWhileJoining(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	proxy := zktest.NewProxy(t, r.addr)
	slave, dest := r.source(2, frail(proxy), r.when("Connected to ZooKeeper", proxy.Cut)), r.destination(3, frail(proxy))
	r.waitFor("; trying again")
	proxy.Heal()
	r.finish(master, slave, dest)
	r.identical()
	r.left()
}

// A server may show an older state than the others have, for ever: that has been seen. A source that is to take the run over
// there, or leads it there, goes to another one, and the run goes on.
func TestServerThatIsBehind(t *testing.T) {
	begin := func(t *testing.T) (*rig, *zktest.Proxy) {
		r := newRig(t)
		r.makeTree(smallTree)
		r.rest()
		behind := zktest.NewProxy(t, r.addr)
		behind.FallBehind(r.tree().Meta())
		return r, behind
	}
	end := func(r *rig, clients ...*running) {
		r.finish(clients...)
		r.identical()
		r.left()
		r.logged(" event=end ", " failed=0 vanished=0 changed=0 unfinished=0 ")
	}
	t.Run("of who takes over", func(t *testing.T) {
		r, behind := begin(t)
		good := zktest.NewProxy(t, r.addr)
		master := r.queued(frail(good))
		slave := r.source(2, resume, at(behind.Addr()))
		r.waitFor("event=no-destination") // it has read S/meta, which changes then
		r.noted()
		good.Stall()
		r.waitFor("event=rejoin")
		behind.Heal()
		r.waitFor("event=took-over source=127.0.0.2:")
		good.Heal()
		end(r, r.destination(3), slave, master)
	})
	t.Run("of the master", func(t *testing.T) {
		r, behind := begin(t)
		master := r.source(1, at(behind.Addr()))
		r.waitFor("pathqueue building finished")
		slave := r.source(2) // which the master notes
		r.waitFor("event=rejoin")
		behind.Heal()
		end(r, slave, r.destination(3), master)
	})
	t.Run("of a master that is asked to end", func(t *testing.T) {
		r, behind := begin(t)
		ending, ask := asked()
		master := r.queued(ending, at(behind.Addr()))
		ask()
		r.waitFor("event=rejoin")
		behind.Heal()
		if err := r.wait(master); !errors.Is(err, errStopped) || !errors.Is(err, wire.ErrIncomplete) {
			t.Errorf("error %v, want the cause, and that not all is done", err)
		}
		end(r, r.source(1, resume, jobs(1)), r.destination(2))
	})
}
