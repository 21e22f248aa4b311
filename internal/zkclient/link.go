// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	headSize    = 20      // length and reply header, or length, version, timeout and session id
	maxGreeting = 1 << 10 // the answer to a connect request has 40 bytes or so
	rearmLimit  = 100 * time.Millisecond

	xidWatch       = -1
	opSetWatches   = 101
	codeAuthFailed = -115
)

var errClosesAtOnce = errors.New("it closes the connection at once (more than its maxClientCnxns connections from this machine? the default is 60 per address. A port for TLS? see --zk-tls)")

var errNotZooKeeper = errors.New("it answers, but not as a ZooKeeper server does (a port for TLS, see --zk-tls? another service?)")

// link is one connection to one server as the library sees it. It mends what the library gets wrong
// about a connection that fails. It reads along to tell the session when the server has last
// answered.
//
//   - The library waits ten session timeouts for a server that accepts and stays mute, and for ever
//     once four bytes have come. Here every Read has a deadline, and the library's own are ignored.
//   - The library stops for good when it cannot write the credentials after a reconnect. Here a
//     Write that fails closes the connection and reports success, so that the reader sees the end.
//   - After a reconnect the library sets its watches again from the last transaction that it has
//     seen. It reads the number of that while replies may already move it on, so that changes in
//     between would go unnoticed (and it is a data race). Here the first reply that moves the
//     number is held back until the watches are on their way.
//   - The library panics on a frame shorter than a header, and allocates as much as any other
//     service in a server's place seems to announce. Here both end the connection.
type link struct {
	net.Conn
	in     *bufio.Reader // the library reads a reply in two pieces
	server string
	s      *session
	limit  time.Duration // for the greeting
	rearm  chan struct{} // closed when the watches are being set again; nil: there are none

	rearmOnce sync.Once

	mu      sync.Mutex
	start   time.Time // the connect request was sent
	greeted bool
	sent    []sentRequest // not answered yet, oldest first
	head    [headSize]byte
	n       int // bytes of head that are filled
	skip    int // bytes of the frame that are of no interest
}

type sentRequest struct {
	xid int32
	at  time.Time
}

func newLink(conn net.Conn, server string, s *session, limit time.Duration, watches bool) *link {
	l := &link{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10), server: server, s: s, limit: limit, start: time.Now()}
	if watches {
		l.rearm = make(chan struct{})
	}
	return l
}

// The library's deadlines are replaced by those in Read and Write.
func (l *link) SetDeadline(time.Time) error      { return nil }
func (l *link) SetReadDeadline(time.Time) error  { return nil }
func (l *link) SetWriteDeadline(time.Time) error { return nil }

// Write takes one whole frame, as the library sends them: length, xid, operation.
func (l *link) Write(b []byte) (int, error) {
	l.mu.Lock()
	if l.greeted && len(b) >= 8 {
		l.sent = append(l.sent, sentRequest{int32(binary.BigEndian.Uint32(b[4:])), time.Now()})
		if l.rearm != nil && len(b) >= 12 && binary.BigEndian.Uint32(b[8:]) == opSetWatches {
			l.rearmOnce.Do(func() { close(l.rearm) })
		}
	}
	l.mu.Unlock()
	l.Conn.SetWriteDeadline(l.deadline())
	if _, err := l.Conn.Write(b); err != nil {
		l.s.note(l.server, l.explain(err))
		l.Conn.Close()
	}
	return len(b), nil
}

func (l *link) Read(b []byte) (int, error) {
	l.Conn.SetReadDeadline(l.deadline())
	n, err := l.in.Read(b)
	if n > 0 {
		moves, bad := l.follow(b[:n])
		if bad != nil {
			n, err = 0, bad
		}
		if moves && l.rearm != nil {
			select {
			case <-l.rearm:
			case <-time.After(rearmLimit): // the last watch fired just before
				l.rearmOnce.Do(func() { close(l.rearm) })
			}
		}
	}
	if err != nil {
		if !errors.Is(err, net.ErrClosed) { // else whoever has closed it knows why
			l.s.note(l.server, l.explain(err))
		}
		l.Conn.Close()
	}
	return n, err
}

// deadline is when a server that does not answer is given up.
func (l *link) deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.greeted {
		return l.start.Add(l.limit)
	}
	contact, timeout := l.s.contact()
	return contact.Add(timeout * 2 / 3)
}

// explain says what it means when a connection ends before the server has said anything.
func (l *link) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.greeted, errors.Is(err, errNotZooKeeper):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("it accepts the connection but does not answer")
	case errors.As(err, new(handshakeError)):
		return err
	default:
		return errClosesAtOnce
	}
}

// follow reads the heads of the frames in b, and says whether one of them is a reply with the
// number of a transaction.
func (l *link) follow(b []byte) (moves bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(b) > 0 {
		if l.skip > 0 {
			n := min(l.skip, len(b))
			l.skip -= n
			b = b[n:]
			continue
		}
		n := copy(l.head[l.n:], b)
		l.n += n
		b = b[n:]
		if l.n < 4 {
			continue
		}
		size := int64(binary.BigEndian.Uint32(l.head[:]))
		if size < headSize-4 || (!l.greeted && size > maxGreeting) {
			return false, errNotZooKeeper
		}
		if l.n < headSize {
			continue
		}
		l.n, l.skip = 0, int(size-(headSize-4))
		if !l.greeted {
			l.greet()
		} else if l.reply() > 0 {
			moves = true
		}
	}
	return moves, nil
}

// greet reads the answer to the connect request: version, timeout in ms, session id.
func (l *link) greet() {
	timeout := time.Duration(int32(binary.BigEndian.Uint32(l.head[8:]))) * time.Millisecond
	id := int64(binary.BigEndian.Uint64(l.head[12:]))
	l.greeted = true
	l.s.greeted(id, timeout, l.start)
}

// reply reads a reply's header (xid, zxid, error code) and returns the zxid.
func (l *link) reply() int64 {
	xid := int32(binary.BigEndian.Uint32(l.head[4:]))
	if xid == xidWatch {
		return 0 // says nothing of when the server last heard from us
	}
	if int32(binary.BigEndian.Uint32(l.head[16:])) == codeAuthFailed {
		l.s.authFailed()
	}
	for i, r := range l.sent {
		if r.xid == xid {
			l.sent = l.sent[i+1:]
			l.s.answered(r.at)
			break
		}
	}
	zxid := int64(binary.BigEndian.Uint64(l.head[8:]))
	l.s.saw(zxid)
	return zxid
}
