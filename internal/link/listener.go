// SPDX-License-Identifier: LGPL-2.1-or-later

package link

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Serve serves one connection, which is a socket, until its end or that of ctx: then it ends at once all
// that it has started. ctx ends when the source has closed the link, too. It closes nothing: the file is
// closed when it returns.
type Serve func(ctx context.Context, conn *os.File) error

// ListenerConfig is how a destination lets sources in.
type ListenerConfig struct {
	Address  string // to listen on, "": all
	Port     int    // 0: any free one
	Identity *Identity
	Mode     Mode
	Slots    int                           // connections served at once, links and plain clients together
	Known    func(fingerprint string) bool // is that one of the session's members now? It does not wait
	Learn    func(context.Context)         // called if one is not, before Known is asked again; nil: nothing
	Open     bool                          // plain rsync clients are served, too
	Refusal  string                        // what a plain client is told otherwise
	Serve    Serve
	Logger   *slog.Logger
}

// Bounds.
const (
	maxUnproven  = 64 // connections that have not said who they are
	ticketPrefix = "zkrsync "
)

// Listener is the destination's end.
type Listener struct {
	cfg      ListenerConfig
	listener *net.TCPListener
	life     context.Context
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	slots    chan struct{} // has a token for each that is taken
	done     chan struct{}
	err      error

	mu       sync.Mutex
	unproven []net.Conn // the oldest first
	served   map[*served]bool
	tickets  map[string]ticket
	told     map[string]bool // refusals that were logged, by peer and reason
}

// served is a connection at work.
type served struct {
	fingerprint string // "": a plain client
	cancel      context.CancelFunc
	slot        bool // it has taken one
}

// ticket lets one connection in.
type ticket struct {
	slot *served
	ctx  context.Context
	end  *time.Timer
}

// Listen accepts connections until Stop.
func Listen(cfg ListenerConfig) (*Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(cfg.Address, strconv.Itoa(cfg.Port)))
	if err != nil {
		return nil, fmt.Errorf("cannot listen for sources: %w", err)
	}
	l := &Listener{
		cfg: cfg, listener: listener.(*net.TCPListener), slots: make(chan struct{}, cfg.Slots), done: make(chan struct{}),
		served: map[*served]bool{}, tickets: map[string]ticket{}, told: map[string]bool{},
	}
	l.life, l.cancel = context.WithCancel(context.Background())
	go l.accept()
	return l, nil
}

// Port is where the listener listens.
func (l *Listener) Port() int { return l.listener.Addr().(*net.TCPAddr).Port }

// Addr is the address of the listener, for this process itself.
func (l *Listener) Addr() string { return l.listener.Addr().String() }

// Done is closed when the listener has ended by itself, or by Stop.
func (l *Listener) Done() <-chan struct{} { return l.done }

// Err says why it has ended by itself, after Done.
func (l *Listener) Err() error { return l.err }

// Stop ends all connections, and returns when all is over.
func (l *Listener) Stop() {
	l.cancel()
	l.listener.Close()
	<-l.done
	l.tasks.Wait()
}

// Check ends the connections of those that are not known any more.
func (l *Listener) Check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.served {
		if l.lost(s) {
			s.cancel()
		}
	}
}

// lost tells whether a connection is that of a client which is no member any more.
func (l *Listener) lost(s *served) bool {
	return s.fingerprint != "" && !l.own(s.fingerprint) && !l.cfg.Known(s.fingerprint)
}

func (l *Listener) accept() {
	defer close(l.done)
	for {
		conn, err := l.listener.AcceptTCP()
		switch {
		case l.life.Err() != nil:
			return
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ECONNABORTED):
			time.Sleep(10 * time.Millisecond) // it passes
			continue
		case err != nil:
			l.err = fmt.Errorf("cannot accept connections: %w", err)
			return
		}
		l.tasks.Go(func() { l.meet(conn) })
	}
}

// doubt counts a connection that has not said who it is, until the function that it gives is called. Of
// too many the oldest is closed: who has a right to be here says so at once.
func (l *Listener) doubt(conn net.Conn) (proven func()) {
	l.mu.Lock()
	l.unproven = append(l.unproven, conn)
	var oldest net.Conn
	if len(l.unproven) > maxUnproven {
		oldest, l.unproven = l.unproven[0], l.unproven[1:]
	}
	l.mu.Unlock()
	if oldest != nil {
		l.refuse(oldest, "too many connections at once that have not said who they are")
		oldest.Close()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.unproven = slices.DeleteFunc(l.unproven, func(c net.Conn) bool { return c == conn })
	}
}

// refuse logs, once for each peer, why it is not served.
func (l *Listener) refuse(conn net.Conn, why string) {
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	l.mu.Lock()
	key := host + " " + why
	told := l.told[key] || len(l.told) > 1000
	l.told[key] = true
	l.mu.Unlock()
	if !told && l.life.Err() == nil {
		l.cfg.Logger.Warn(fmt.Sprintf("A connection from %s is refused: %s", host, why), "event", "refused", "clients", host, "error", why)
	}
}

// meet finds out who has connected, and serves it.
func (l *Listener) meet(conn *net.TCPConn) {
	defer conn.Close()
	proven := l.doubt(conn)
	defer proven()
	stop := context.AfterFunc(l.life, func() { conn.Close() })
	defer stop()
	watchOver(conn)
	_ = conn.SetDeadline(time.Now().Add(proveWithin))
	first, err := peek(conn)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.refuse(conn, "it does not say who it is")
	case err != nil:
	case first == '@': // @RSYNCD: VERSION
		l.meetPlain(conn, proven)
	case first == 0x16: // a TLS record with a handshake
		l.meetLink(conn, proven)
	case first == ticketPrefix[0]:
		l.meetTicket(conn, proven)
	default:
		l.refuse(conn, "it does not speak as a link does")
	}
}

// peek waits for the first byte, and leaves it where it is.
func peek(conn *net.TCPConn) (byte, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var b [1]byte
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return false
		}
		if failed = err; err == nil && n == 0 {
			failed = io.EOF
		}
		return true
	})
	return b[0], errors.Join(err, failed)
}

// known tells whether who has connected is a member of the session.
func (l *Listener) known(fingerprint string) bool {
	if l.own(fingerprint) || l.cfg.Known(fingerprint) {
		return true
	}
	if l.cfg.Learn == nil {
		return false
	}
	limited, cancel := context.WithTimeout(l.life, proveWithin)
	defer cancel()
	l.cfg.Learn(limited)
	return l.cfg.Known(fingerprint)
}

// own tells whether it is this process, which may always look after itself.
func (l *Listener) own(fingerprint string) bool { return fingerprint == l.cfg.Identity.Fingerprint() }

// meetLink shakes hands.
func (l *Listener) meetLink(conn *net.TCPConn, proven func()) {
	secure := tls.Server(conn, l.cfg.Identity.config(l.known))
	if err := secure.HandshakeContext(l.life); err != nil {
		l.refuse(conn, err.Error())
		return
	}
	proven()
	_ = conn.SetDeadline(time.Time{})
	state := secure.ConnectionState()
	slot, ctx := l.take(fingerprint(state.PeerCertificates[0].Raw))
	if slot == nil {
		fmt.Fprintf(secure, "no %s\n", l.full())
		secure.Close()
		return
	}
	if l.cfg.Mode == Plain {
		fmt.Fprintf(secure, "ticket %s\n", l.hand(slot, ctx))
		secure.Close()
		return
	}
	defer l.give(slot)
	if _, err := io.WriteString(secure, "ok\n"); err != nil {
		return
	}
	near, far, err := socketPair()
	if err != nil {
		l.cfg.Logger.Error(fmt.Sprintf("cannot serve a connection: %v", err), "error", err)
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		l.cfg.Logger.Error(fmt.Sprintf("cannot serve a connection: %v", err), "error", err)
		return
	}
	copied := -1
	if e := raw.Control(func(fd uintptr) { copied, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); e != nil || err != nil {
		l.cfg.Logger.Error(fmt.Sprintf("cannot serve a connection: %v", errors.Join(e, err)), "error", errors.Join(e, err))
		return
	}
	defer unix.Close(copied)
	var carrying sync.WaitGroup
	carrying.Go(func() { _ = carry(ctx, secure, near, &Counters{}, nil) })
	l.serve(ctx, far, copied)
	far.Close()
	carrying.Wait()
}

// meetTicket lets in whoever has a ticket.
func (l *Listener) meetTicket(conn *net.TCPConn, proven func()) {
	line, err := readLine(conn)
	if err != nil {
		l.refuse(conn, "it does not say who it is")
		return
	}
	text, _ := strings.CutPrefix(line, ticketPrefix)
	l.mu.Lock()
	t, ok := l.tickets[text]
	delete(l.tickets, text)
	l.mu.Unlock()
	if !ok {
		l.refuse(conn, "its ticket is not good, or not any more")
		return
	}
	t.end.Stop()
	proven()
	defer l.give(t.slot)
	l.serveTCP(t.ctx, conn)
}

// meetPlain is a plain rsync.
func (l *Listener) meetPlain(conn *net.TCPConn, proven func()) {
	if !l.cfg.Open {
		l.refuse(conn, "it is a plain rsync client, and this destination is not open for these")
		// As a daemon does it: greetings, the module's name, the answer.
		_ = conn.SetDeadline(time.Now().Add(proveWithin))
		if _, err := io.WriteString(conn, "@RSYNCD: 31.0\n"); err != nil {
			return
		}
		lines := bufio.NewScanner(io.LimitReader(conn, maxLine))
		for range 2 {
			if !lines.Scan() {
				return
			}
		}
		fmt.Fprintf(conn, "@ERROR: %s\n", l.cfg.Refusal)
		return
	}
	slot, ctx := l.take("")
	if slot == nil {
		fmt.Fprintf(conn, "@ERROR: %s\n", l.full())
		return
	}
	proven()
	defer l.give(slot)
	l.serveTCP(ctx, conn)
}

// serveTCP hands the connection itself to what serves it.
func (l *Listener) serveTCP(ctx context.Context, conn *net.TCPConn) {
	_ = conn.SetDeadline(time.Time{})
	file, err := conn.File()
	if err != nil {
		l.cfg.Logger.Error(fmt.Sprintf("cannot serve a connection: %v", err), "error", err)
		return
	}
	defer file.Close()
	_ = unix.SetNonblock(int(file.Fd()), false)
	conn.Close() // the other copy is at work
	l.serve(ctx, file, int(file.Fd()))
}

// awaitHangup returns true when the other end of a connection is closed, false when that of stop is.
func awaitHangup(conn, stop int) bool {
	for {
		watched := []unix.PollFd{{Fd: int32(conn), Events: unix.POLLRDHUP}, {Fd: int32(stop)}}
		if _, err := unix.Poll(watched, -1); err == nil {
			return watched[0].Revents != 0
		} else if err != unix.EINTR {
			return false
		}
	}
}

// serve has a connection served until it ends, or the other end of conn is closed.
func (l *Listener) serve(ctx context.Context, file *os.File, conn int) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		l.cfg.Logger.Error(fmt.Sprintf("cannot serve a connection: %v", err), "error", err)
		return
	}
	defer unix.Close(pipe[0])
	serving, end := context.WithCancel(ctx)
	defer end()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer unix.Close(pipe[1])
	watching.Go(func() {
		if awaitHangup(conn, pipe[0]) {
			time.AfterFunc(goodbye, end)
		}
	})
	if err := l.cfg.Serve(serving, file); err != nil && serving.Err() == nil {
		l.cfg.Logger.Debug(fmt.Sprintf("a connection has ended: %v", err), "error", err)
	}
}

// take takes a slot; nil if none becomes free. This process itself needs none.
func (l *Listener) take(fingerprint string) (*served, context.Context) {
	s := &served{fingerprint: fingerprint, slot: !l.own(fingerprint)}
	if s.slot {
		timer := time.NewTimer(freeWithin)
		defer timer.Stop()
		select {
		case l.slots <- struct{}{}:
		case <-timer.C:
			return nil, nil
		case <-l.life.Done():
			return nil, nil
		}
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(l.life)
	l.mu.Lock()
	l.served[s] = true
	l.mu.Unlock()
	if l.lost(s) { // since it was met
		s.cancel()
	}
	return s, ctx
}

// full is what one is told that gets no slot.
func (l *Listener) full() string { return fmt.Sprintf("all %d slots are taken", l.cfg.Slots) }

// give frees a slot.
func (l *Listener) give(s *served) {
	s.cancel()
	l.mu.Lock()
	delete(l.served, s)
	l.mu.Unlock()
	if s.slot {
		<-l.slots
	}
}

// hand makes a ticket for a slot, which is free again if nobody comes with it.
func (l *Listener) hand(slot *served, ctx context.Context) string {
	text := rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tickets[text] = ticket{slot: slot, ctx: ctx, end: time.AfterFunc(proveWithin, func() {
		l.mu.Lock()
		_, unused := l.tickets[text]
		delete(l.tickets, text)
		l.mu.Unlock()
		if unused {
			l.give(slot)
		}
	})}
	return text
}

// socketPair makes two ends of a stream, one for this process and one for a child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	near := os.NewFile(uintptr(fds[0]), "link")
	defer near.Close()
	conn, err := net.FileConn(near)
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return conn, os.NewFile(uintptr(fds[1]), "link"), nil
}
