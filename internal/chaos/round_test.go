// SPDX-License-Identifier: LGPL-2.1-or-later

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// bound is how long a round may take: what takes longer hangs.
const bound = 4 * time.Minute

// late is when a source that leads after the end of the run leads another one.
const late = 5 * time.Second

// round is one session with all that goes wrong in it.
type round struct {
	t       *testing.T
	seed    uint64
	plan    plan
	dir     string
	session string
	ports   int // the first of those that destinations may use
	began   time.Time
	clients []*client

	patience time.Duration // with what is left when all have ended: the ZooKeeper session of a killed one still lasts

	ended context.Context // the run is over: nothing goes wrong any more, and nobody is started again
	over  func()

	mu   sync.Mutex
	said *os.File        // what has happened
	came map[kind]int    // how many events have come
	busy map[string]bool // with which an event has to do
}

// newRound makes the round of a plan. Its files stay if the test fails.
func newRound(t *testing.T, seed uint64, plan plan) *round {
	t.Helper()
	r := &round{t: t, seed: seed, plan: plan, session: fmt.Sprintf("chaos-%d-%d", seed, time.Now().UnixNano()), busy: map[string]bool{}, came: map[kind]int{}, patience: 5 * sessionTimeout}
	var err error
	r.dir, err = os.MkdirTemp("", fmt.Sprintf("zkrsync-chaos-%d-", seed))
	r.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what has happened, and the logs of all clients, are in %s; to repeat this round: make chaos ROUNDS=1 SEED=%d", r.dir, seed)
		} else {
			r.must(os.RemoveAll(r.dir))
		}
	})
	r.said, err = os.Create(r.at("happened"))
	r.must(err)
	t.Cleanup(func() { r.said.Close() })
	r.must(os.Mkdir(r.at("tmp"), 0o700))
	r.trees()
	r.ports = zktest.Ports(t, 40)
	for i := range sources + dests {
		c := &client{round: r, number: i, dest: i >= sources}
		if c.dest {
			c.number -= sources
		}
		for _, addr := range ensemble.Addrs() {
			c.proxies = append(c.proxies, zktest.NewProxy(t, addr))
		}
		r.clients = append(r.clients, c)
	}
	r.ended, r.over = context.WithCancel(context.Background())
	t.Cleanup(r.over)
	return r
}

func (r *round) at(name string) string { return r.dir + "/" + name }

func (r *round) must(errs ...error) {
	r.t.Helper()
	for _, err := range errs {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// undo is done at the end of the test, before what was made earlier is undone.
func (r *round) undo(what func()) { r.t.Cleanup(what) }

// log notes what has happened.
func (r *round) log(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.said, "%s %6.2f s: %s\n", time.Now().UTC().Format("15:04:05.000"), time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// run plays the round until everybody has left.
func (r *round) run() {
	r.t.Helper()
	r.began = time.Now()
	r.log("%v", r.plan)
	var all sync.WaitGroup
	for _, c := range r.clients {
		all.Go(func() { c.live(r.ended) })
	}
	for _, e := range r.plan.events {
		all.Go(func() { r.happen(e) })
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		all.Wait()
	}()
	defer func() {
		r.over()
		for _, l := range r.running() {
			l.signal(syscall.SIGKILL)
			<-l.done
		}
		<-left
		for _, p := range r.processes() { // that a broken program has left behind
			syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}()
	hangs, look := time.After(bound), time.NewTicker(100*time.Millisecond)
	defer look.Stop()
	var over time.Time
	for {
		select {
		case <-hangs:
			r.hang()
		case <-look.C:
		}
		if r.ended.Err() == nil {
			continue
		}
		if over.IsZero() {
			over = time.Now()
			r.log("the run is over")
		}
		select {
		case <-left:
			if len(r.running()) == 0 {
				r.must(ensemble.Await())
				return
			}
		default:
		}
		r.seeOff(time.Since(over))
	}
}

// running are all processes that run.
func (r *round) running() (all []*life) {
	for _, c := range r.clients {
		if l := c.now(); l != nil {
			all = append(all, l)
		}
	}
	return all
}

// seeOff looks after who has come when the run was over already: a source begins another one, which needs
// destinations; a destination waits for one.
func (r *round) seeOff(since time.Duration) {
	working, leading := false, false
	for _, c := range r.clients[:sources] {
		if l := c.now(); l != nil {
			working = true
			leading = leading || l.leads()
		}
	}
	for _, c := range r.clients[sources:] {
		switch l := c.now(); {
		case l != nil && !working:
			l.signal(syscall.SIGTERM)
		case l == nil && leading && since > late:
			r.log("another run has begun")
			c.start()
		}
	}
}

// hang ends the test with all that there is to know.
func (r *round) hang() {
	r.t.Helper()
	r.over() // nobody is started again
	zk, err := zkclient.Connect(r.t.Context(), zkclient.Config{Servers: ensemble.Addrs(), User: "root", Password: "admin"})
	if err == nil {
		zk.Close()
		file, err := os.Create(r.at("znodes"))
		r.must(err)
		defer file.Close()
		for _, n := range zktest.Dump(r.t, ensemble.Addrs()[0], "root", "admin", r.root()) {
			fmt.Fprintf(file, "%#x %s\n", n.Owner, n)
		}
	}
	for _, l := range r.running() {
		r.log("%s has not ended", l.name())
		l.signal(syscall.SIGCONT)
		l.signal(syscall.SIGQUIT) // its goroutines are in its log
	}
	for _, p := range r.processes() {
		r.log("process %d of %d: %s", p.pid, p.parent, p.args)
	}
	time.Sleep(time.Second)
	r.t.Fatalf("after %v somebody has not ended", bound)
}

func (r *round) root() string { return wire.Base + "/" + r.session }

// line is one of a report.
type line struct {
	Type, Run, Outcome, Who string
	Time                    time.Time
	Path                    wire.Text
	Errors                  []string

	Queued int
	wire.Counts
}

// report reads a report, nil if there is none. What is written at the moment may end early.
func (l *life) report() (lines []line) {
	file, err := os.Open(l.file("report"))
	if err != nil {
		return nil
	}
	defer file.Close()
	for scan := bufio.NewReader(file); ; {
		text, err := scan.ReadBytes('\n')
		if err != nil {
			return lines
		}
		var one line
		if err := json.Unmarshal(text, &one); err != nil {
			panic(fmt.Sprintf("cannot read %s: %v: %s", l.file("report"), err, text))
		}
		lines = append(lines, one)
	}
}

// leads tells whether a source has begun a report and not ended it.
func (l *life) leads() bool {
	lines := l.report()
	return len(lines) > 0 && lines[len(lines)-1].Type != "total"
}

// master is the source that has begun to lead last, nil if it is gone.
func (r *round) master() *life {
	var master *life
	var since time.Time
	for _, c := range r.clients[:sources] {
		if l := c.now(); l != nil && l.leads() {
			lines := l.report()
			slices.Reverse(lines)
			header := lines[slices.IndexFunc(lines, func(one line) bool { return one.Type == "header" })]
			if master == nil || header.Time.After(since) {
				master, since = l, header.Time
			}
		}
	}
	return master
}

// happen waits for the time of an event, and has it come and go.
func (r *round) happen(e event) {
	if !r.pause(e.at) {
		return
	}
	what, mend, came := r.begin(e)
	r.log("%v: %s", e, what)
	if !came {
		return
	}
	r.mu.Lock()
	r.came[e.what]++
	r.mu.Unlock()
	if mend != nil {
		r.pause(e.lasts)
		mend()
		r.log("no more: %v", e)
	}
}

// pause is false if the run was over before.
func (r *round) pause(d time.Duration) bool {
	select {
	case <-r.ended.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// take keeps other events from a thing, until free; false if another has it.
func (r *round) take(thing string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[thing] {
		return false
	}
	r.busy[thing] = true
	return true
}

func (r *round) free(thing string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.busy, thing)
}

// begin has an event come, unless it cannot, and says to what, and how it goes; nil: by itself.
func (r *round) begin(e event) (what string, mend func(), came bool) {
	if e.what.ofServer() {
		return r.beginAtServer(e)
	}
	if e.what == fill {
		return r.beginFill()
	}
	c := r.clients[e.who%len(r.clients)]
	l := c.now()
	switch e.what {
	case killMaster, endMaster, freezeMaster, cutMaster, stallMaster:
		if l = r.master(); l != nil {
			c = l.client
		}
	case killSources:
		kill(r.clients[:sources], e.lasts)
		return "all", nil, true
	case killDests:
		kill(r.clients[sources:], e.lasts)
		return "all", nil, true
	case killAll:
		kill(r.clients, e.lasts)
		return "all", nil, true
	case freezeAll:
		all := r.running()
		for _, l := range all {
			l.signal(syscall.SIGSTOP)
		}
		return "all", func() {
			for _, l := range all {
				l.signal(syscall.SIGCONT)
			}
		}, true
	}
	if l == nil {
		return "nobody is there", nil, false
	}
	switch e.what {
	case killClient, killMaster:
		c.end(l, syscall.SIGKILL, e.lasts)
		return l.name(), nil, true
	case endClient, endMaster:
		c.end(l, syscall.SIGTERM, e.lasts)
		return l.name(), nil, true
	case freezeClient, freezeMaster:
		l.signal(syscall.SIGSTOP)
		return l.name(), func() { l.signal(syscall.SIGCONT) }, true
	case killRsync, freezeRsync:
		pids := l.rsyncs()
		if len(pids) == 0 {
			return l.name() + " has none", nil, false
		}
		pid := pids[e.draw%uint64(len(pids))]
		what = fmt.Sprintf("process %d of %s", pid, l.name())
		if e.what == killRsync {
			syscall.Kill(pid, syscall.SIGKILL)
			return what, nil, true
		}
		syscall.Kill(pid, syscall.SIGSTOP)
		return what, func() { syscall.Kill(pid, syscall.SIGCONT) }, true
	}
	return r.beginAtProxies(e, l)
}

// end ends a process, whose client has another one later.
func (c *client) end(l *life, s syscall.Signal, rest time.Duration) {
	if l == nil {
		return
	}
	c.mu.Lock()
	c.rest = rest
	c.mu.Unlock()
	l.signal(s)
}

func kill(clients []*client, rest time.Duration) {
	for _, c := range clients {
		c.end(c.now(), syscall.SIGKILL, rest)
	}
}

func (r *round) beginAtServer(e event) (what string, mend func(), came bool) {
	server := e.who
	if e.what == killLeader || e.what == freezeLeader {
		ctx, cancel := context.WithTimeout(r.ended, 2*time.Second)
		defer cancel()
		leader, err := ensemble.Leader(ctx)
		if err != nil {
			return err.Error(), nil, false
		}
		server = leader
	}
	victims := []int{server}
	if e.what == killServers {
		victims = append(victims, (server+1)%servers)
	}
	var begun []func()
	for _, server := range victims {
		thing := fmt.Sprintf("server %d", server)
		if !r.take(thing) {
			continue
		}
		what += thing + " "
		begun = append(begun, func() { r.free(thing) })
		s := ensemble.Servers[server]
		if e.what == freezeServer || e.what == freezeLeader {
			s.Pause()
			begun = append(begun, s.Continue)
			continue
		}
		s.Kill()
		begun = append(begun, func() {
			if err := ensemble.Revive(server); err != nil {
				panic(err)
			}
		})
	}
	return what, func() {
		for _, mend := range slices.Backward(begun) {
			mend()
		}
	}, len(begun) > 0
}

func (r *round) beginAtProxies(e event, l *life) (what string, mend func(), came bool) {
	what = "connections of " + l.name()
	proxies := l.client.proxies
	if e.draw%4 == 0 {
		proxies = proxies[e.draw/4%servers:][:1]
		what = "one of the " + what
	}
	thing := fmt.Sprintf("proxies %v %d", l.client.dest, l.client.number)
	if !r.take(thing) {
		return what + " have enough", nil, false
	}
	fault := map[kind]func(*zktest.Proxy){
		cut: (*zktest.Proxy).Cut, cutMaster: (*zktest.Proxy).Cut, stall: (*zktest.Proxy).Stall, stallMaster: (*zktest.Proxy).Stall,
		swallow: (*zktest.Proxy).SwallowReplies, swallowWrites: (*zktest.Proxy).SwallowWrites,
		loseWrites: (*zktest.Proxy).LoseWrites, swallowEvents: (*zktest.Proxy).SwallowEvents,
	}[e.what]
	for _, p := range proxies {
		fault(p)
	}
	return what, func() {
		for _, p := range proxies {
			p.Heal()
		}
		r.free(thing)
	}, true
}

func (r *round) beginFill() (what string, mend func(), came bool) {
	if !r.take("room") {
		return "it is full", nil, false
	}
	r.fill()
	return "the destinations", func() {
		r.drain()
		r.free("room")
	}, true
}
