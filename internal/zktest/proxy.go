// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"net"
	"sync"
	"testing"
)

// Proxy stands between clients and a server and makes faults, none at first.
type Proxy struct {
	gate   gate
	target string
	tasks  sync.WaitGroup

	mu        sync.Mutex
	changed   *sync.Cond
	mode      mode
	closed    bool
	accepting chan struct{} // closed when nobody accepts any more; nil while it refuses
	reads     int
	writes    int
	multis    int
	last      int // the Multi at which a crash comes; 0: none does
	breaks    int // the request at which a connection breaks; 0: none does
	dies      bool
	before    bool
	behind    *behind // nil: the server is not
	pairs     map[*pair]bool
}

type mode int

const (
	healthy mode = iota
	cut
	stalled
	swallowing
	swallowingRequests
	swallowingWrites
	losingWrites
	holdingWrites
	swallowingEvents
)

// pair is a client's connection and the one to the server that belongs to it.
type pair struct {
	client, server net.Conn
	harmed         bool  // replies are missing: it cannot go on
	mute           bool  // requests are missing: likewise
	held           bool  // a request waits for Heal
	ends           int32 // it ends with the reply to this request; 0: not so
	lag            lag
	requests       requests
	replies        replies
}

// NewProxy makes a proxy in front of target (host:port) that ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	g, err := newGate()
	if err != nil {
		t.Fatalf("cannot start the proxy: %v", err)
	}
	p := &Proxy{gate: g, target: target, pairs: make(map[*pair]bool)}
	p.changed = sync.NewCond(&p.mu)
	p.accept()
	t.Cleanup(p.close)
	return p
}

// Addr is host:port of the proxy.
func (p *Proxy) Addr() string { return p.gate.Addr().String() }

// Cut drops all connections and refuses new ones.
func (p *Proxy) Cut() { p.set(cut) }

// Stall keeps the connections and accepts new ones, but sends nothing on in either direction, not
// even the end of a connection.
func (p *Proxy) Stall() { p.set(stalled) }

// SwallowReplies lets requests reach the server, but no reply the client.
func (p *Proxy) SwallowReplies() { p.set(swallowing) }

// SwallowRequests lets the server's replies and events through, but no request to the server.
func (p *Proxy) SwallowRequests() { p.set(swallowingRequests) }

// SwallowWrites lets replies through until a request that changes something has been sent on. That
// request reaches the server, but its reply and all later ones do not reach the client. Connections
// made later lose the reply to their first change likewise.
func (p *Proxy) SwallowWrites() { p.set(swallowingWrites) }

// LoseWrites lets requests through until one would change something. That one and all later ones do
// not reach the server. Connections made later lose their first change likewise.
func (p *Proxy) LoseWrites() { p.set(losingWrites) }

// HoldWrites lets requests through until one would change something. That one and all later ones
// wait for Heal, and then go on.
func (p *Proxy) HoldWrites() { p.set(holdingWrites) }

// SwallowEvents keeps the events of watches from the client. All else passes.
func (p *Proxy) SwallowEvents() { p.set(swallowingEvents) }

// CrashAt has nothing pass any more, for ever, from a Multi on: with before that does not reach the server, else
// it does, and its reply is lost.
func (p *Proxy) CrashAt(multi int, before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.before = multi, before
}

// BreakAt has the connection end at a request, counted as Requests does: with before it does not reach the server, else
// it does, and its reply is lost. Later connections are sound.
func (p *Proxy) BreakAt(request int, before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.breaks, p.before = request, before
}

// FallBehind has a server show a node as it was when it was read for the first time. It is called before connections are
// made; Heal ends it.
func (p *Proxy) FallBehind(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behind = &behind{path: node}
}

// DieAt is BreakAt for a client that dies there: it has no later connections.
func (p *Proxy) DieAt(request int, before bool) {
	p.BreakAt(request, before)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dies = true
}

// Broken tells whether it has come to that.
func (p *Proxy) Broken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.breaks > 0 && p.reads+p.writes >= p.breaks
}

// Multis counts the transactions of several operations, as Requests does.
func (p *Proxy) Multis() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.multis
}

// Crashed tells whether it has come to that.
func (p *Proxy) Crashed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last > 0 && p.multis >= p.last
}

// Swallowing says whether there is a connection that has lost a request or a reply, or is about to,
// or one of whose requests is held.
func (p *Proxy) Swallowing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pr := range p.pairs {
		if pr.harmed || pr.mute || pr.held {
			return true
		}
	}
	return false
}

// Requests counts what clients have asked for: reads (a sync is one), and requests that change
// something. Each of these is one transaction, a Multi as a whole. Pings, credentials and sessions
// are not counted.
func (p *Proxy) Requests() (reads, writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reads, p.writes
}

// Heal ends the fault. What was stalled or held goes on; connections that have lost something are
// dropped.
func (p *Proxy) Heal() { p.set(healthy) }

func (p *Proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.mode = m
	if m == healthy && p.behind != nil {
		p.behind.path = "" // connections still have to put their pieces together
	}
	for pr := range p.pairs {
		if m == cut || (pr.harmed || pr.mute) && m == healthy {
			p.drop(pr)
		}
	}
	switch {
	case m == cut:
		p.refuse()
	case p.accepting == nil:
		if err := p.gate.open(); err != nil {
			panic("cannot listen again at the proxy's " + p.Addr() + ": " + err.Error())
		}
		p.accept()
	}
	p.changed.Broadcast()
}

func (p *Proxy) accept() {
	done := make(chan struct{})
	p.accepting = done
	p.tasks.Go(func() {
		defer close(done)
		for {
			conn, err := p.gate.Accept()
			if err != nil {
				return
			}
			p.tasks.Go(func() { p.serve(conn) })
		}
	})
}

// refuse returns when no connection can be made any more.
func (p *Proxy) refuse() {
	if p.accepting == nil {
		return
	}
	if err := p.gate.shut(); err != nil {
		panic("cannot stop listening at the proxy's " + p.Addr() + ": " + err.Error())
	}
	<-p.accepting
	p.accepting = nil
}

// serve connects a client to the server as soon as nothing is stalled, and carries both directions.
func (p *Proxy) serve(client net.Conn) {
	pr := &pair{client: client, lag: lag{reads: map[int32]bool{}}}
	p.mu.Lock()
	if p.closed || p.mode == cut || p.dies && p.reads+p.writes >= p.breaks {
		p.mu.Unlock()
		client.Close()
		return
	}
	p.pairs[pr] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.drop(pr)
	}()
	if !p.flowing(pr) {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	p.mu.Lock()
	pr.server = server
	alive := p.pairs[pr]
	p.mu.Unlock()
	if !alive {
		server.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.carry(pr, client, server, false) })
	both.Go(func() { p.carry(pr, server, client, true) })
	both.Wait()
}

// carry moves bytes one way until one side ends.
func (p *Proxy) carry(pr *pair, from, to net.Conn, replies bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !p.flowing(pr) {
			return
		}
		out := buf[:n]
		if replies {
			out = p.reply(pr, out)
		} else {
			out = p.request(pr, out)
		}
		if len(out) > 0 {
			if _, werr := to.Write(out); werr != nil {
				err = werr
			}
		}
		if err != nil {
			p.mu.Lock()
			p.drop(pr)
			p.mu.Unlock()
			return
		}
	}
}

// flowing waits while the proxy is stalled. False means that the pair is dropped.
func (p *Proxy) flowing(pr *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.mode == stalled && p.pairs[pr] {
		p.changed.Wait()
	}
	return p.pairs[pr]
}

// reply returns what of b the client gets.
func (p *Proxy) reply(pr *pair, b []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == swallowing {
		pr.harmed = true
	}
	out := pr.replies.filter(b, p.mode == swallowingEvents)
	if p.behind != nil {
		out = pr.lag.reply(out, p.behind)
	}
	if pr.ends > 0 && pr.replies.xid >= pr.ends {
		p.drop(pr)
	}
	if pr.harmed {
		return nil
	}
	return out
}

// request returns what of b the server gets.
func (p *Proxy) request(pr *pair, b []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	reads, writes, multis := pr.requests.follow(b)
	if p.behind != nil {
		pr.lag.request(b, p.behind)
	}
	p.reads += reads
	p.writes += writes
	p.multis += multis
	if p.last > 0 && p.multis >= p.last {
		pr.harmed, pr.mute = true, p.before || p.multis-multis >= p.last
	}
	mute := pr.mute // what comes after a break does not get there
	if now := p.reads + p.writes; p.breaks > 0 && now >= p.breaks && now-reads-writes < p.breaks {
		pr.harmed, pr.mute, mute, pr.ends = true, true, p.before, pr.requests.xid
		if p.before {
			p.drop(pr)
		}
	}
	switch {
	case p.mode == swallowingRequests || p.mode == losingWrites && writes > 0:
		pr.mute, mute = true, true
	case p.mode == swallowingWrites && writes > 0:
		pr.harmed = true
	case p.mode == holdingWrites && writes > 0:
		pr.held = true
		for p.mode == holdingWrites && p.pairs[pr] {
			p.changed.Wait()
		}
		pr.held = false
	}
	if mute {
		return nil
	}
	return b
}

// drop closes both connections.
func (p *Proxy) drop(pr *pair) {
	delete(p.pairs, pr)
	pr.client.Close()
	if pr.server != nil {
		pr.server.Close()
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	for pr := range p.pairs {
		p.drop(pr)
	}
	p.refuse()
	p.gate.Close()
	p.changed.Broadcast()
	p.mu.Unlock()
	p.tasks.Wait()
}
