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
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrDestination is matched by errors that are the destination's fault: it cannot be reached, or does not
// let us in.
var ErrDestination = errors.New("the destination cannot be used")

// Proxy is the source's end: rsyncs of this process connect to it on the loopback interface.
type Proxy struct {
	identity *Identity
	onlyTLS  bool
	listener net.Listener
	limit    *shaper // of all that is sent
	sent     atomic.Int64
	links    atomic.Int64 // at work

	life   context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu    sync.Mutex
	conns map[string]*Conn // those that no rsync has come for yet, by token
}

// ProxyConfig is how a proxy behaves.
type ProxyConfig struct {
	Identity *Identity
	OnlyTLS  bool // a destination that wants plain links is refused
}

// NewProxy listens on a free port of the loopback interface until Close.
func NewProxy(cfg ProxyConfig) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot listen for this client's own rsyncs: %w", err)
	}
	p := &Proxy{
		identity: cfg.Identity, onlyTLS: cfg.OnlyTLS, listener: listener, limit: newShaper(), conns: map[string]*Conn{},
	}
	p.life, p.cancel = context.WithCancel(context.Background())
	p.tasks.Go(p.accept)
	return p, nil
}

// Close ends all connections, and waits for that.
func (p *Proxy) Close() {
	p.cancel()
	p.listener.Close()
	p.tasks.Wait()
}

// SetRate bounds what all connections send together, in bytes a second; 0: no bound. It counts at once.
func (p *Proxy) SetRate(bytes int64) { p.limit.set(bytes) }

// Sent is how much all connections have sent together.
func (p *Proxy) Sent() int64 { return p.sent.Load() }

// Links is how many links carry something now.
func (p *Proxy) Links() int { return int(p.links.Load()) }

// Held is for how long connections have waited for the bound since the last call, all together.
func (p *Proxy) Held() time.Duration { return p.limit.waited() }

// Target is a destination.
type Target struct {
	Addr        string // host:port of its listener
	Fingerprint string // of its certificate
}

// Conn is the link of one run.
type Conn struct {
	Counters
	Mode atomic.Value // Mode, once the link stands

	proxy  *Proxy
	token  string
	target Target
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu  sync.Mutex
	err error
}

// Open prepares a link, which stands once an rsync has come for it. Close has to be called.
func (p *Proxy) Open(target Target) *Conn {
	c := &Conn{proxy: p, token: rand.Text(), target: target}
	c.ctx, c.cancel = context.WithCancelCause(p.life)
	c.total = &p.sent
	c.touch()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c.token] = c
	return c
}

// Environ is what the run's rsync has to find in its environment.
func (c *Conn) Environ() string {
	return fmt.Sprintf("RSYNC_PROXY=run:%s@%s", c.token, c.proxy.listener.Addr())
}

// Close cuts the link, unless it ends by itself at once, as it does when its rsync has ended well.
func (c *Conn) Close() {
	c.proxy.mu.Lock()
	delete(c.proxy.conns, c.token)
	c.proxy.mu.Unlock()
	time.AfterFunc(goodbye, func() { c.cancel(nil) })
}

// Err is why the link could not be made or has broken; nil if neither.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Conn) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	return err
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.tasks.Go(func() { p.serve(conn.(*net.TCPConn)) })
	}
}

// serve is one connection to the proxy, of an rsync or of somebody else on this machine.
func (p *Proxy) serve(conn *net.TCPConn) {
	defer conn.Close()
	stop := context.AfterFunc(p.life, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(proveWithin))
	reader := bufio.NewReader(io.LimitReader(conn, 16<<10))
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	refuse := func(status int, why string) {
		fmt.Fprintf(conn, "HTTP/1.0 %d %s\r\n\r\n", status, strings.Map(oneLine, why))
	}
	c := p.claim(request)
	if c == nil {
		refuse(http.StatusProxyAuthRequired, "This proxy is for the rsyncs of one zkrsync")
		return
	}
	_ = conn.SetDeadline(time.Time{})
	out, err := c.dial()
	if err != nil {
		refuse(http.StatusBadGateway, c.fail(err).Error())
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.0 200 Connected\r\n\r\n"); err != nil {
		out.Close()
		return
	}
	p.links.Add(1)
	defer p.links.Add(-1)
	if err := carry(c.ctx, conn, out, &c.Counters, p.limit); err != nil && c.ctx.Err() == nil {
		_ = c.fail(fmt.Errorf("cannot go on sending to %s: %w", c.target.Addr, err))
	}
}

func oneLine(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}

// claim gives the link that the token of a request is for. It is good once.
func (p *Proxy) claim(request *http.Request) *Conn {
	// ReadRequest leaves a proxy's header to its caller, BasicAuth reads another one.
	request.Header.Set("Authorization", request.Header.Get("Proxy-Authorization"))
	_, token, ok := request.BasicAuth()
	if request.Method != http.MethodConnect || !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[token]
	delete(p.conns, token)
	return c
}

// dial is Dial for the link of a run.
func (c *Conn) dial() (net.Conn, error) {
	conn, mode, err := dial(c.ctx, c.proxy.identity, c.target, c.proxy.onlyTLS)
	if err != nil {
		return nil, err
	}
	c.Mode.Store(mode)
	return conn, nil
}

// Dial connects to a destination as a proxy does, for something else than an rsync. Errors match
// ErrDestination unless ctx has ended.
func Dial(ctx context.Context, identity *Identity, target Target) (net.Conn, error) {
	conn, _, err := dial(ctx, identity, target, false)
	return conn, err
}

// dial connects to the destination and proves who both are.
func dial(all context.Context, identity *Identity, target Target, onlyTLS bool) (net.Conn, Mode, error) {
	ctx, cancel := context.WithTimeout(all, dialWithin)
	defer cancel()
	blame := func(err error) error {
		if all.Err() != nil {
			return context.Cause(all)
		}
		if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) { // a dial ends a little before ctx
			err = fmt.Errorf("it has not answered for %v", dialWithin)
		}
		return fmt.Errorf("cannot connect to %s: %w: %w", target.Addr, ErrDestination, err)
	}
	tcp, err := dialTCP(ctx, target.Addr)
	if err != nil {
		return nil, "", blame(err)
	}
	secure := tls.Client(tcp, identity.config(func(fingerprint string) bool { return fingerprint == target.Fingerprint }))
	stop := context.AfterFunc(ctx, func() { tcp.Close() })
	defer stop()
	answer, err := greet(ctx, secure)
	word, rest, _ := strings.Cut(answer, " ")
	switch {
	case err != nil:
	case word == "ok":
		if !stop() {
			err = context.Cause(ctx)
			break
		}
		return secure, TLS, nil
	case word == "ticket" && onlyTLS:
		err = errors.New("it offers a plain link, and this client takes only tls")
	case word == "ticket":
		secure.Close()
		plain, e := dialTCP(ctx, target.Addr)
		if e == nil {
			if _, e = fmt.Fprintf(plain, "%s%s\n", ticketPrefix, rest); e == nil {
				return plain, Plain, nil
			}
			plain.Close()
		}
		err = e
	case word == "no":
		err = errors.New(rest)
	default:
		err = fmt.Errorf("it answers %q", answer)
	}
	secure.Close()
	return nil, "", blame(err)
}

func dialTCP(ctx context.Context, addr string) (*net.TCPConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	watchOver(conn.(*net.TCPConn))
	return conn.(*net.TCPConn), nil
}

// greet shakes hands and reads the listener's line, byte by byte: what follows is rsync's.
func greet(ctx context.Context, conn *tls.Conn) (string, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", err
	}
	return readLine(conn)
}

// maxLine bounds a line of the wire format.
const maxLine = 1024

func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < maxLine; {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
	return "", errors.New("the other side's line has no end")
}
