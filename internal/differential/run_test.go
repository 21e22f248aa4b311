// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"vsc-zk/internal/session"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// deadline bounds one run on a busy machine: what takes longer hangs.
const deadline = 2 * time.Minute

// frailTimeout is the session timeout of clients that are to lose their ZooKeeper session: short, but
// not so short that a busy machine takes the session away.
const frailTimeout = 6 * time.Second

// run is a session at work. Its clients are in this process and have the same pid, so they have
// different hosts.
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
	watch   func(message string) // called with each message and its fields, before the client goes on

	clients int
	master  *client
	slaves  []*client
	dests   []*client
	spares  []*client // came when others left; perhaps too late for the run
	events  sync.WaitGroup
}

type client struct {
	stop  context.CancelCauseFunc
	ended chan struct{}
	err   error // of the role, once it has ended
}

func (c *client) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

var errStopped = errors.New("stopped by the test")

func newRun(a *area, o options, name string) *run {
	r := &run{area: a, options: o, name: name, failed: a.at("failed"), report: a.at("report"), watch: func(string) {}, change: func(*session.Config) {}}
	r.port = 15000 + int(time.Now().UnixNano()/1000%100)*40
	r.changed = sync.NewCond(&r.mu)
	r.proxy = zktest.NewProxy(a.t, server.Addr())
	return r
}

// handler is the logger of all clients.
type handler struct {
	slog.Handler
	run *run
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.run}
}
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.run}
}
func (h handler) Handle(ctx context.Context, record slog.Record) error {
	err := h.Handler.Handle(ctx, record)
	message := record.Message
	record.Attrs(func(a slog.Attr) bool {
		message += " " + a.String()
		return true
	})
	h.run.watch(message)
	return err
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

// start starts a client with so many jobs or slots. A frail one can lose its ZooKeeper session.
func (r *run) start(role func(context.Context, session.Config) error, path string, jobs int, frail bool) *client {
	r.clients++
	number := r.clients
	config := session.Config{
		Member: member.Config{
			Zookeeper: zkclient.Config{
				Servers: []string{server.Addr()}, User: "root", Password: "admin",
				SessionTimeout: 30 * time.Second, ConnectTimeout: 30 * time.Second,
			},
			Session: r.name, Host: fmt.Sprintf("127.0.0.%d", number),
			Logger: slog.New(handler{slog.NewTextHandler(r, nil), r}).With("client", number),
			Timing: member.Timing{
				Poll: 50 * time.Millisecond, Progress: time.Second, Retry: 50 * time.Millisecond,
				PathCheck: 50 * time.Millisecond, NoDest: time.Second,
				StatsFlush: 500 * time.Millisecond, Reconnect: 200 * time.Millisecond, SetAside: 500 * time.Millisecond, Leave: 5 * time.Second,
			},
		},
		Base:        guard.Config{Path: r.at(path), VerifyPath: true},
		Leader:      leader.Config{Failed: r.failed, Report: r.report},
		Destination: destination.Config{StartPort: r.port, TempDir: r.t.TempDir()},
	}
	r.options.set(&config)
	config.Jobs, config.Destination.Slots = jobs, jobs
	r.change(&config)
	if frail {
		config.Member.Zookeeper.Servers, config.Member.Zookeeper.SessionTimeout = []string{r.proxy.Addr()}, frailTimeout
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &client{stop: cancel, ended: make(chan struct{})}
	go func() {
		c.err = role(ctx, config)
		r.mu.Lock()
		defer r.mu.Unlock()
		close(c.ended)
		r.changed.Broadcast()
	}()
	r.t.Cleanup(func() {
		cancel(errStopped)
		<-c.ended
	})
	return c
}

func (r *run) lead(frail bool) {
	r.master = r.start(session.Source, "src", r.options.Leads, frail)
	r.await("removing old queue and building new queue") // any other source would become the master
	if r.options.Auto {
		_, depth, _ := strings.Cut(r.text(), " event=depth depth=")
		if _, err := fmt.Sscanf(depth, "%d", &r.options.Depth); err != nil {
			r.t.Fatalf("the log does not say which depth is chosen: %v", err)
		}
	}
}

func (r *run) send(frail bool) {
	r.slaves = append(r.slaves, r.start(session.Source, "src", share(r.options.Jobs, len(r.slaves)), frail))
}

func (r *run) receive(frail bool) {
	r.dests = append(r.dests, r.start(session.Destination, "dst", share(r.options.Slots, len(r.dests)), frail))
}

// share is a client's number of jobs or slots.
func share(of []int, client int) int {
	if client < len(of) {
		return of[client]
	}
	return 1
}

// replace stops a client and starts another in its place.
func (r *run) replace(old *client, role func(context.Context, session.Config) error, path string) {
	old.stop(errStopped)
	r.spares = append(r.spares, r.start(role, path, 1, false))
}

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

// finish waits for all clients, and returns the master's error.
func (r *run) finish() error {
	r.t.Helper()
	err := r.wait(r.master)
	r.events.Wait()
	for _, c := range r.spares {
		c.stop(errStopped)
	}
	for _, c := range slices.Concat(r.slaves, r.dests, r.spares) {
		if err := r.wait(c); err != nil && !errors.Is(err, errStopped) {
			r.t.Errorf("a slave or a destination: %v", err)
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
	faults  map[int]func() // what happens to a client, likewise

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
		if fault != nil {
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
