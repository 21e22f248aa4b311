// SPDX-License-Identifier: LGPL-2.1-or-later

package link

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Periods.
const (
	proveWithin = 10 * time.Second // a connection has to say who it is
	dialWithin  = 15 * time.Second // a connection has to stand
	deadAfter   = 30 * time.Second // a peer that does not answer is gone

	// freeWithin is how long a link waits for a slot: the rsync of a destination ends a little after that
	// of the source, which may begin the next run at once.
	freeWithin = 3 * time.Second
	// goodbye is how long an rsync may go on when its source has closed the link. In a transfer that goes
	// well the source leaves last, when the destination has told it that all is done.
	goodbye = 200 * time.Millisecond
)

// Counters say what has moved. They may be read at any time.
type Counters struct {
	Sent     atomic.Int64  // bytes from the source to the destination
	Received atomic.Int64  // bytes back
	moved    atomic.Int64  // when something has moved, in nanoseconds since 1970
	offered  atomic.Int64  // since when bytes wait for the destination to take them, 0: none do
	total    *atomic.Int64 // counts what is sent, too; nil: nothing does
}

// Moved is when the last bytes went either way.
func (c *Counters) Moved() time.Time { return time.Unix(0, c.moved.Load()) }

// Untaken is for how long bytes have waited for the destination to take them, or for the network.
func (c *Counters) Untaken() time.Duration {
	since := c.offered.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}

func (c *Counters) sent(bytes int64) {
	c.Sent.Add(bytes)
	if c.total != nil {
		c.total.Add(bytes)
	}
	c.touch()
}

func (c *Counters) received(bytes int64) {
	c.Received.Add(bytes)
	c.touch()
}

func (c *Counters) touch() { c.moved.Store(time.Now().UnixNano()) }

// chunk is how much is carried at once: small enough for counters and limits that are alive, and large
// enough for splice(2) to cost next to nothing.
const chunk = 256 << 10

// carry moves bytes both ways until both directions have ended or one has failed, and closes both
// connections. Each end that closes its writing has that passed on. Between TCP sockets the kernel moves
// them (splice).
func carry(ctx context.Context, source, destination io.ReadWriteCloser, counters *Counters, limit *shaper) error {
	counters.touch()
	stop := context.AfterFunc(ctx, func() { abort(source); abort(destination) })
	defer stop()
	defer source.Close()
	defer destination.Close()
	var wait sync.WaitGroup
	var errs [2]error
	one := func(i int, to io.Writer, from io.Reader, moved func(int64), waits *atomic.Int64, limit *shaper) {
		errs[i] = pump(ctx, to, from, moved, waits, limit)
		if half, ok := to.(interface{ CloseWrite() error }); ok && errs[i] == nil {
			half.CloseWrite()
		} else {
			source.Close()
			destination.Close()
		}
	}
	wait.Go(func() { one(0, destination, source, counters.sent, &counters.offered, limit) })
	wait.Go(func() { one(1, source, destination, counters.received, new(atomic.Int64), nil) })
	wait.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errs[0] != nil {
		return errs[0]
	}
	return errs[1]
}

// abort closes a connection in such a way that the other end notices at once, whatever it has not taken yet.
func abort(conn io.Closer) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// pump moves bytes one way until their end. waits is since when some are being written.
func pump(ctx context.Context, to io.Writer, from io.Reader, moved func(int64), waits *atomic.Int64, limit *shaper) error {
	for {
		size := int64(chunk)
		if limit != nil {
			size = limit.most()
		}
		n, err := copySome(to, from, size, waits)
		waits.Store(0)
		if n > 0 {
			moved(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if limit != nil {
			if err := limit.wait(ctx, n); err != nil {
				return err
			}
		}
	}
}

// copySome moves what is there now, at most size bytes, and waits if nothing is; io.EOF at the end.
func copySome(to io.Writer, from io.Reader, size int64, waits *atomic.Int64) (int64, error) {
	if tcp, ok := to.(*net.TCPConn); ok {
		if source, ok := from.(*net.TCPConn); ok {
			return spliceSome(tcp, source, size, waits)
		}
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	n, err := from.Read((*buffer)[:min(size, int64(len(*buffer)))])
	if n > 0 {
		waits.Store(time.Now().UnixNano())
		if _, err := to.Write((*buffer)[:n]); err != nil {
			return 0, err
		}
		return int64(n), nil
	}
	return 0, err
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// spliceSome is copySome in the kernel: io.Copy of a limited reader, which returns before the limit only
// at the end.
func spliceSome(to, from *net.TCPConn, size int64, waits *atomic.Int64) (int64, error) {
	// What has come already is moved at once; else the first byte is waited for.
	raw, err := from.SyscallConn()
	if err != nil {
		return 0, err
	}
	ready := 0
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		if ready, failed = unix.IoctlGetInt(int(fd), unix.TIOCINQ); failed != nil || ready > 0 {
			return true
		}
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN:
			return false
		case err != nil:
			failed = err
		case n == 0:
			failed = io.EOF
		default:
			ready = 1
		}
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	waits.Store(time.Now().UnixNano())
	return io.Copy(to, io.LimitReader(from, min(int64(ready), size)))
}

// watchOver has the kernel notice a peer that is gone without a word.
func watchOver(conn *net.TCPConn) {
	_ = conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: deadAfter / 3, Interval: deadAfter / 6, Count: 4})
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
		})
	}
}
