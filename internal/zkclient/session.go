// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"
)

var errClosed = fmt.Errorf("%w: this client has closed it", ErrSessionLost)

// session is what is known of the one session of a Client: whether it lives, whether a connection
// stands, and when the server has last answered. It makes the connections, and refuses to once the
// session has ended.
type session struct {
	log      *slog.Logger
	user     string
	attempt  time.Duration // limit for one dial, and for the answer to one connect request
	tcp      dialFunc
	watching func() bool // whether the library may have watches

	ctx context.Context // ends with the session
	end context.CancelCauseFunc

	mu      sync.Mutex
	id      int64
	timeout time.Duration // negotiated
	last    time.Time     // when the last request that has been answered was sent
	zxid    int64         // the last transaction that a reply tells of
	up      chan struct{} // closed while a connection stands
	down    chan struct{} // closed while none does
	isUp    bool
	turn    chan struct{}    // closed and replaced whenever a connection has been made
	link    *link            // the newest
	notes   map[string]error // server -> why it could not be used, latest
	tries   int              // dials since a connection has lasted
	dialled time.Time        // the last dial

	parked     chan struct{} // closed when the library has come to dial after the session's end
	parkedOnce sync.Once
	closing    chan struct{} // closed just before the library is told to quit
}

// dialFunc makes the bare connections; tests put faults here.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func newSession(ctx context.Context, cfg Config, servers int, tcp dialFunc) *session {
	s := &session{
		log:     cfg.Logger.With("logger", "ZooKeeper"),
		user:    cfg.User,
		attempt: min(cfg.ConnectTimeout, cfg.SessionTimeout) / 3,
		tcp:     tcp,
		timeout: cfg.SessionTimeout,
		up:      make(chan struct{}),
		down:    make(chan struct{}),
		turn:    make(chan struct{}),
		notes:   make(map[string]error, servers),
		parked:  make(chan struct{}),
		closing: make(chan struct{}),
	}
	close(s.down)
	s.ctx, s.end = context.WithCancelCause(ctx)
	return s
}

func (s *session) over() bool { return s.ctx.Err() != nil }

// quitting says that the library is being told to quit.
func (s *session) quitting() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// park holds the library's dialer once the session has ended, until the library has been told to
// quit and has queued its farewell. Nobody will answer that; the dialer's failure drops it from the
// queue, or the library would wait a second for the answer.
func (s *session) park() error {
	s.parkedOnce.Do(func() { close(s.parked) })
	<-s.closing
	time.Sleep(5 * time.Millisecond)
	return context.Cause(s.ctx)
}

// contact is when the last request that the server has answered was sent, and the timeout.
func (s *session) contact() (time.Time, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.timeout
}

// dial is the library's dialer.
func (s *session) dial(servers int) zk.Dialer {
	return func(_, server string, _ time.Duration) (net.Conn, error) {
		if s.pace(servers) != nil {
			return nil, s.park()
		}
		limit := s.patience()
		ctx, cancel := context.WithTimeout(s.ctx, limit)
		defer cancel()
		conn, err := s.tcp(ctx, "tcp", server)
		if err != nil {
			if !errors.As(err, new(handshakeError)) && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
				err = errClosesAtOnce // before the kernel has told that it stands
			}
			s.note(server, err)
			return nil, err
		}
		l := newLink(conn, server, s, limit, s.watching())
		if !s.use(l) {
			conn.Close()
			return nil, s.park()
		}
		return l, nil
	}
}

// patience is the limit for one attempt. Where the session is at stake it is half of the time that
// is left, so that another server can still be reached when this one is dead.
func (s *session) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == 0 {
		return s.attempt
	}
	return min(s.attempt, max(time.Until(s.deadline())/2, 50*time.Millisecond))
}

// deadline is when the session counts as lost unless a server answers; s.mu is held.
func (s *session) deadline() time.Time {
	return s.last.Add(s.timeout - s.timeout/6)
}

// use makes l the connection, unless the session has ended.
func (s *session) use(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over() {
		return false
	}
	s.link = l
	return true
}

// pace waits before a dial: not at all in the first round over the servers, then longer and longer,
// at most a second or a tenth of the timeout. A connection that lasted less than a third of the
// timeout does not count as a success, or a server that accepts and closes would be hammered. The
// waits are uneven so that clients do not fall into step.
func (s *session) pace(servers int) error {
	if s.over() {
		return context.Cause(s.ctx)
	}
	s.mu.Lock()
	if time.Since(s.dialled) > s.timeout/3 {
		s.tries = 0
	}
	round := s.tries / servers
	s.tries++
	limit := min(time.Second, s.timeout/10)
	s.mu.Unlock()
	if round > 0 {
		wait := min(limit, 50*time.Millisecond<<min(round-1, 10))
		if err := Sleep(s.ctx, wait/2+rand.N(wait/2+1)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.dialled = time.Now()
	s.mu.Unlock()
	return nil
}

// note remembers why a server could not be used.
func (s *session) note(server string, err error) {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes[server] = err
}

// greeted takes the server's answer to a connect request that was sent at the given time.
func (s *session) greeted(id int64, timeout time.Duration, sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.id == 0 && id != 0:
		s.id = id
	case s.id != id:
		s.expired()
		return
	}
	s.last, s.timeout = sent, timeout
}

// saw takes the number of a transaction that is over.
func (s *session) saw(zxid int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zxid = max(s.zxid, zxid)
}

// seen is the last transaction that this client can know of.
func (s *session) seen() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.zxid
}

func (s *session) answered(sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sent.After(s.last) {
		s.last = sent
	}
}

func (s *session) expired() {
	s.end(fmt.Errorf("%w: the server has expired it", ErrSessionLost))
}

func (s *session) authFailed() {
	s.end(fmt.Errorf("%w: the server refuses the digest credentials of user %q (is digest authentication switched off there?): %w",
		ErrSessionLost, s.user, ErrNoAuth))
}

// event is the library's callback: it must not block.
func (s *session) event(e zk.Event) {
	if e.Type != zk.EventSession {
		return
	}
	switch e.State {
	case zk.StateHasSession:
		s.setUp(true)
	case zk.StateExpired:
		s.expired()
	case zk.StateAuthFailed:
		s.authFailed()
	case zk.StateDisconnected:
		s.setUp(false)
	}
}

func (s *session) setUp(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isUp == up {
		return
	}
	s.isUp = up
	if up {
		close(s.up)
		close(s.turn)
		s.turn = make(chan struct{})
		s.down = make(chan struct{})
		return
	}
	s.up = make(chan struct{})
	close(s.down)
}

// ready waits until a connection stands.
func (s *session) ready(ctx context.Context) error {
	for {
		if err := s.check(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		up, isUp := s.up, s.isUp
		s.mu.Unlock()
		if isUp {
			return nil
		}
		select {
		case <-up:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
}

// check says why a call cannot go on: the end of the session, or else that of the caller's context.
func (s *session) check(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// connected says whether a connection stands.
func (s *session) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isUp
}

// reconnected returns a channel that is closed when the next connection has been made.
func (s *session) reconnected() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn
}

// cut closes the connection.
func (s *session) cut() {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

// clock ends the session when no request has been answered for so long that the server might soon
// expire it.
func (s *session) clock() {
	for {
		s.mu.Lock()
		last, timeout, deadline := s.last, s.timeout, s.deadline()
		s.mu.Unlock()
		wait := time.Until(deadline)
		if wait <= 0 {
			s.end(fmt.Errorf("%w: no answer from any server for %v of the session's %v", ErrSessionLost,
				time.Since(last).Round(10*time.Millisecond), timeout))
			return
		}
		if Sleep(s.ctx, wait) != nil {
			return
		}
	}
}

// report tells the log when the connection breaks and when it stands again.
func (s *session) report() {
	for {
		s.mu.Lock()
		wait, isUp := s.up, s.isUp
		if isUp {
			wait = s.down
		}
		s.mu.Unlock()
		select {
		case <-wait:
		case <-s.ctx.Done():
			return
		}
		if isUp {
			s.mu.Lock()
			server, why := s.server(), s.notes[s.server()]
			s.mu.Unlock()
			s.log.Warn(fmt.Sprintf("Connection to ZooKeeper at %s lost (%v), connecting again", server, why), "event", "connection-lost", "server", server, "error", why)
		} else {
			s.announce()
		}
	}
}

func (s *session) announce() {
	s.mu.Lock()
	server, id, timeout := s.server(), s.id, s.timeout
	s.mu.Unlock()
	s.log.Info(fmt.Sprintf("Connected to ZooKeeper at %s, session 0x%x, timeout %v", server, id, timeout), "event", "connected", "server", server, "seconds", timeout)
}

// server is the one of the newest connection; s.mu is held.
func (s *session) server() string {
	if s.link == nil {
		return ""
	}
	return s.link.server
}

// Sleep waits for d, or returns the cause of ctx's end.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// SessionTimeout is the session timeout that the server has agreed to.
func (c *Client) SessionTimeout() time.Duration {
	_, timeout := c.session.contact()
	return timeout
}
