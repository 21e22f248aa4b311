// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"vsc-zk/internal/session"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zktest"
)

// deadline bounds one run on a busy machine: what takes longer hangs.
const deadline = 2 * time.Minute

// frailTimeout is the session timeout of clients that are to lose their ZooKeeper session: short, but
// not so short that a busy machine takes the session away.
const frailTimeout = 6 * time.Second

// ports is how many ports a run may use.
const ports = 40

// run is a session at work.
type run struct {
	*area
	options options
	name    string
	failed  string // file for --failed
	report  string // file for --report
	port    int
	change  func(*session.Config)
	proxy   *zktest.Proxy // between ZooKeeper and those clients that are to lose it

	log     bytes.Buffer
	mu      sync.Mutex
	changed *sync.Cond
	watch   func(message string) // see handler

	starting sync.Mutex // held while a client starts

	mounted  bool     // the bases are mounts: that of the sources at "from", those of the destinations at "to1" and so on
	standing []string // of the source, what is mounted there all the time
	covered  []string // of the source, where something was mounted for a while
	cutOff   bool     // an rsync may have left a temporary file
	happened string   // the fault that came
	began    time.Time

	clients int
	master  *client
	slaves  []*client
	dests   []*client
	spares  []*client // came when others left; perhaps too late for the run
	events  sync.WaitGroup
}

func newRun(a *area, o options, name string) *run {
	r := &run{area: a, options: o, name: name, failed: a.at("failed"), report: a.at("report"), watch: func(string) {}, change: func(*session.Config) {}, happened: unheard}
	r.began = time.Now().Add(-time.Second) // file systems' clocks are behind
	r.port = zktest.Ports(a.t, ports)
	r.changed = sync.NewCond(&r.mu)
	r.proxy = zktest.NewProxy(a.t, server.Addr())
	return r
}

func (r *run) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.changed.Broadcast()
	return r.log.Write(p)
}

func (r *run) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// await waits until the log has the text. The master must not end before.
func (r *run) await(text string) {
	r.t.Helper()
	end := time.Now().Add(deadline)
	timer := time.AfterFunc(deadline, r.changed.Broadcast)
	defer timer.Stop()
	r.mu.Lock()
	said := func() bool { return strings.Contains(r.log.String(), text) }
	for !said() && r.master.running() && time.Now().Before(end) {
		r.changed.Wait()
	}
	found := said()
	r.mu.Unlock()
	switch {
	case found:
	case r.master.running():
		r.hang("the log does not say " + text)
	default:
		r.t.Fatalf("the master has ended, and the log does not say %s: %v; log:\n%s", text, r.master.err, r.text())
	}
}

// hang fails the test, and tells all there is to know.
func (r *run) hang(why string) {
	r.t.Helper()
	var stacks bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	r.t.Fatalf("after %v %s; log:\n%s\ngoroutines:\n%s", deadline, why, r.text(), &stacks)
}

// start starts a client in a role, with so many jobs or slots. A frail one can lose its ZooKeeper session. change
// has the last word about what it is told; nil: it changes nothing.
func (r *run) start(role role, jobs int, frail bool, change func(*order)) *client {
	r.starting.Lock()
	defer r.starting.Unlock()
	r.clients++
	c := &client{ended: make(chan struct{}), order: order{
		Role: role, Number: r.clients, Base: r.base(role, r.clients), Jobs: jobs, Inherit: role == slave && r.options.Inherit,
		Server: server.Addr(), Timeout: 30 * time.Second, Session: r.name,
		Port: r.port, TempDir: r.at("tmp"), Failed: r.failed, Report: r.report, Options: r.options,
	}}
	if frail {
		c.Server, c.Timeout = r.proxy.Addr(), frailTimeout
	}
	if change != nil {
		change(&c.order)
	}
	if r.options.Apart && role != master {
		r.fork(c)
	} else {
		r.play(c)
	}
	r.t.Cleanup(func() {
		c.stop(errStopped)
		if c.pid != 0 {
			c.signal(syscall.SIGCONT)
		}
		<-c.ended
	})
	return c
}

func (r *run) lead(frail bool) {
	r.master = r.start(master, r.options.Leads, frail, nil)
	r.await("removing old queue and building new queue") // any other source would become the master
	if r.options.Auto {
		_, depth, _ := strings.Cut(r.text(), " event=depth depth=")
		if _, err := fmt.Sscanf(depth, "%d", &r.options.Depth); err != nil {
			r.t.Fatalf("the log does not say which depth is chosen: %v", err)
		}
	}
}

func (r *run) send(frail bool) {
	r.slaves = append(r.slaves, r.start(slave, share(r.options.Jobs, len(r.slaves)), frail, nil))
}

func (r *run) receive(frail bool) {
	r.dests = append(r.dests, r.start(dest, share(r.options.Slots, len(r.dests)), frail, nil))
}

// share is a client's number of jobs or slots.
func share(of []int, client int) int {
	if client < len(of) {
		return of[client]
	}
	return 1
}

// relieve starts another client in the place of one that has been stopped.
func (r *run) relieve(role role) { r.spares = append(r.spares, r.start(role, 1, false, nil)) }

// wait returns what a client has returned.
func (r *run) wait(c *client) error {
	r.t.Helper()
	select {
	case <-c.ended:
		return c.err
	case <-time.After(deadline):
		r.hang("a client has not ended")
		return nil
	}
}

// finish waits for all clients, and returns the error of who was the master at last.
func (r *run) finish() error {
	r.t.Helper()
	err := r.wait(r.master)
	r.events.Wait()
	for _, c := range r.spares {
		c.stop(errStopped)
	}
	for _, c := range slices.Concat(r.slaves, r.dests, r.spares) {
		switch ended := r.wait(c); {
		case ended == nil, errors.Is(ended, errStopped), errors.Is(ended, errKilled):
		case err == nil && strings.Contains(ended.Error(), wire.ErrIncomplete.Error()) && r.said(0, c, " event=took-over"):
			err = fmt.Errorf("%w: %w", wire.ErrIncomplete, ended) // from another process comes the text alone
		default:
			r.t.Errorf("a slave or a destination: %v", ended)
		}
	}
	return err
}

// script makes changes and faults when slaves are about to do something.
type script struct {
	*rand.Rand
	run     *run
	changer *changer
	changes map[int]int    // how many changes, by the number of the message, from 1
	faults  map[int]func() // what goes wrong, likewise
	holds   bool           // and has the message wait

	mu    sync.Mutex
	sent  int
	walks int
	late  sync.RWMutex // read-locked by changes that are under way
}

// stirs tells whether changes and faults may come with a message: something is about to be sent,
// stopped or cut, and will have to be sent to its end after that. Links are made after the last
// walk, so what changes then may stay unseen.
func stirs(message string) bool {
	if strings.Contains(message, " path=l_") || strings.Contains(message, ` path="l_`) {
		return false
	}
	return slices.ContainsFunc([]string{" is sending ", " event=handed-back", " event=cut", " event=shared"},
		func(part string) bool { return strings.Contains(message, part) })
}

// lastWalk is the last walk during which there may be changes: another one follows it.
const lastWalk = 3

func (s *script) watch(message string) {
	switch {
	case strings.HasPrefix(message, "pathlist of path "):
		s.mu.Lock()
		s.walks++
		s.mu.Unlock()
	case strings.Contains(message, " event=late-round"):
		s.mu.Lock()
		s.walks = lastWalk + 1 // no other walk follows what is tried once more
		s.mu.Unlock()
	case strings.Contains(message, " outcome="):
		// The master tells the end of an entry before it takes the pass for over. By then the
		// changes that began with that entry must be made.
		s.late.Lock()
		s.late.Unlock()
	case stirs(message):
		s.mu.Lock()
		s.sent++
		changes, fault := s.changes[s.sent], s.faults[s.sent]
		if s.walks > lastWalk {
			changes = 0
		}
		delay, wait := time.Duration(s.IntN(100))*time.Millisecond, chance(s.Rand, 50)
		s.mu.Unlock()
		switch {
		case fault == nil:
		case s.holds:
			fault()
		default:
			s.run.events.Go(fault)
		}
		if changes == 0 {
			return
		}
		if wait { // the slave has looked at the entry, rsync has not
			for range changes {
				s.changer.change()
			}
			return
		}
		s.late.RLock()
		s.run.events.Go(func() {
			defer s.late.RUnlock()
			time.Sleep(delay)
			for range changes {
				s.changer.change()
			}
		})
	}
}
