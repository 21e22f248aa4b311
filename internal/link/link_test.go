// SPDX-License-Identifier: LGPL-2.1-or-later

package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newIdentity(t testing.TB) *Identity {
	t.Helper()
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// pair is a destination that lets one source in.
type pair struct {
	t        testing.TB
	src, dst string
	listener *Listener
	proxy    *Proxy
	source   *Identity
	target   Target
	known    *sync.Map // fingerprints
	log      *buffer
	serving  atomic.Int32
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newPair(t testing.TB, change func(*ListenerConfig)) *pair {
	t.Helper()
	p := &pair{t: t, src: t.TempDir(), dst: t.TempDir(), source: newIdentity(t), known: &sync.Map{}, log: &buffer{}}
	conf := filepath.Join(t.TempDir(), "rsyncd.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "use chroot = no\n[m]\npath = %s\nread only = no\nuid = %d\ngid = %d\n", p.dst, os.Getuid(), os.Getgid()), 0o600); err != nil {
		t.Fatal(err)
	}
	p.known.Store(p.source.Fingerprint(), true)
	destination := newIdentity(t)
	cfg := ListenerConfig{
		Address: "127.0.0.1", Identity: destination, Mode: TLS, Slots: 2, Refusal: "not for you",
		Known: func(fingerprint string) bool { _, ok := p.known.Load(fingerprint); return ok },
		Serve: func(ctx context.Context, conn *os.File) error {
			p.serving.Add(1)
			defer p.serving.Add(-1)
			cmd := exec.CommandContext(ctx, "rsync", "--daemon", "--config="+conf)
			cmd.Stdin = conn
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
			return cmd.Run()
		},
		Logger: slog.New(slog.NewTextHandler(p.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if p.listener, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.listener.Stop)
	p.target = Target{Addr: fmt.Sprintf("127.0.0.1:%d", p.listener.Port()), Fingerprint: destination.Fingerprint()}
	p.proxy = p.newProxy(ProxyConfig{Identity: p.source})
	return p
}

func (p *pair) newProxy(cfg ProxyConfig) *Proxy {
	p.t.Helper()
	proxy, err := NewProxy(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(proxy.Close)
	return proxy
}

// send runs rsync over a link.
func (p *pair) send(proxy *Proxy, target Target, args ...string) (*Conn, error) {
	conn := proxy.Open(target)
	defer conn.Close()
	return conn, p.rsync(conn.Environ(), args...)
}

func (p *pair) rsync(environ string, args ...string) error {
	cmd := exec.CommandContext(p.t.Context(), "rsync", append(args, "-a", p.src+"/", "rsync://destination/m")...)
	cmd.Env = append(os.Environ(), environ)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (p *pair) write(name string, size int) {
	p.t.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	if err := os.WriteFile(filepath.Join(p.src, name), data, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// arrived fails unless both sides are the same.
func (p *pair) arrived() {
	p.t.Helper()
	if out, err := exec.Command("diff", "-r", p.src, p.dst).CombinedOutput(); err != nil {
		p.t.Errorf("%v: %s", err, out)
	}
}

func (p *pair) empty() {
	p.t.Helper()
	entries, err := os.ReadDir(p.dst)
	if err != nil || len(entries) > 0 {
		p.t.Errorf("%v is at the destination (%v), want nothing", entries, err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestTransfer(t *testing.T) {
	for _, mode := range []Mode{TLS, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			p := newPair(t, func(c *ListenerConfig) { c.Mode = mode })
			p.write("large", 5<<20)
			p.write("small", 10)
			conn, err := p.send(p.proxy, p.target)
			if err != nil || conn.Err() != nil {
				t.Fatal(err, conn.Err())
			}
			p.arrived()
			if sent := conn.Sent.Load(); sent < 5<<20 || sent > 6<<20 {
				t.Errorf("%d bytes were counted", sent)
			}
			if conn.Received.Load() == 0 || conn.Mode.Load() != mode {
				t.Errorf("%d bytes came back, mode %v", conn.Received.Load(), conn.Mode.Load())
			}
			eventually(t, "nothing is served", func() bool { return p.serving.Load() == 0 })
		})
	}
}

// Who has no business here is refused, and the rightful transfer goes on.
func TestRefused(t *testing.T) {
	for _, mode := range []Mode{TLS, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			p := newPair(t, func(c *ListenerConfig) { c.Mode = mode })
			p.write("file", 10)
			refused := func(what string, proxy *Proxy, target Target) {
				t.Helper()
				conn, err := p.send(proxy, target)
				if err == nil || !errors.Is(conn.Err(), ErrDestination) {
					t.Errorf("%s: rsync says %v, the link %v", what, err, conn.Err())
				}
				p.empty()
			}
			stranger := p.newProxy(ProxyConfig{Identity: newIdentity(t)})
			refused("a stranger", stranger, p.target)
			refused("another destination's certificate", p.proxy, Target{p.target.Addr, newIdentity(t).Fingerprint()})
			refused("nobody there", p.proxy, Target{unused(t), p.target.Fingerprint})
			if mode == Plain {
				refused("tls demanded", p.newProxy(ProxyConfig{Identity: p.source, OnlyTLS: true}), p.target)
			}
			p.known.Delete(p.source.Fingerprint())
			refused("one that has left", p.proxy, p.target)
			p.known.Store(p.source.Fingerprint(), true)

			// A token is good once, and no other is.
			conn := p.proxy.Open(p.target)
			defer conn.Close()
			wrong := strings.Replace(conn.Environ(), "run:", "run:x", 1)
			if err := p.rsync(wrong); err == nil {
				t.Error("a wrong token is good")
			}
			p.empty()
			if err := p.rsync(conn.Environ()); err != nil {
				t.Error(err)
			}
			p.arrived()
			if err := p.rsync(conn.Environ()); err == nil {
				t.Error("a token is good twice")
			}
			if n := strings.Count(p.log.String(), "event=refused"); n == 0 || n > 4 {
				t.Errorf("%d refusals are logged:\n%s", n, p.log)
			}
		})
	}
}

// unused is an address where nothing listens: the port stays ours.
func unused(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

func TestPlainClients(t *testing.T) {
	direct := func(p *pair) error {
		out, err := exec.CommandContext(t.Context(), "rsync", "-a", p.src+"/", "rsync://"+p.target.Addr+"/m").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	p := newPair(t, nil)
	p.write("file", 10)
	if err := direct(p); err == nil || !strings.Contains(err.Error(), "@ERROR: not for you") {
		t.Errorf("%v, want the reason", err)
	}
	p.empty()
	p = newPair(t, func(c *ListenerConfig) { c.Open = true })
	p.write("file", 10)
	if err := direct(p); err != nil {
		t.Error(err)
	}
	p.arrived()
}

// Silent, slow and malformed connections do not keep others from their work.
func TestStrangers(t *testing.T) {
	p := newPair(t, nil)
	p.write("file", 10)
	for i := range maxUnproven - 4 {
		conn, err := net.Dial("tcp", p.target.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		switch i % 3 {
		case 1:
			_, _ = conn.Write([]byte{0x16, 3}) // and no more
		case 2:
			_, _ = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		}
	}
	if _, err := p.send(p.proxy, p.target); err != nil {
		t.Error(err)
	}
	p.arrived()
}

// There are never more connections than slots; others are told so.
func TestSlots(t *testing.T) {
	for _, mode := range []Mode{TLS, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			p := newPair(t, func(c *ListenerConfig) { c.Mode = mode })
			p.write("file", 1<<20)
			p.proxy.SetRate(64 << 10)
			running := make(chan error, 2)
			for range 2 {
				go func() { _, err := p.send(p.proxy, p.target); running <- err }()
			}
			eventually(t, "both are served", func() bool { return p.serving.Load() == 2 })
			third := p.newProxy(ProxyConfig{Identity: p.source})
			conn, err := p.send(third, p.target)
			if err == nil || !errors.Is(conn.Err(), ErrDestination) || !strings.Contains(conn.Err().Error(), "slots are taken") {
				t.Errorf("rsync says %v, the link %v", err, conn.Err())
			}
			p.proxy.SetRate(0)
			for range 2 {
				if err := <-running; err != nil {
					t.Error(err)
				}
			}
			p.arrived()
		})
	}
}

// A ticket is good for one connection, for some seconds.
func TestTicketIsGoodOnce(t *testing.T) {
	p := newPair(t, func(c *ListenerConfig) { c.Mode = Plain })
	secure, err := tls.Dial("tcp", p.target.Addr, p.source.config(func(string) bool { return true }))
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	line, err := readLine(secure)
	if err != nil {
		t.Fatal(err)
	}
	_, ticket, _ := strings.Cut(line, " ")
	greeting := func() string {
		conn, err := net.Dial("tcp", p.target.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s%s\n", ticketPrefix, ticket)
		b, _ := io.ReadAll(io.LimitReader(conn, 8))
		return string(b)
	}
	if got := greeting(); got != "@RSYNCD:" {
		t.Errorf("a good ticket gets %q", got)
	}
	if got := greeting(); got != "" {
		t.Errorf("a ticket used twice gets %q", got)
	}
}

// A source that is known no more is cut off, with its rsync at the destination.
func TestFence(t *testing.T) {
	for _, mode := range []Mode{TLS, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			p := newPair(t, func(c *ListenerConfig) { c.Mode = mode })
			p.write("file", 1<<20)
			p.proxy.SetRate(64 << 10)
			ended := make(chan error, 1)
			go func() { _, err := p.send(p.proxy, p.target); ended <- err }()
			eventually(t, "it is served", func() bool { return p.serving.Load() == 1 })
			p.listener.Check()
			if p.serving.Load() != 1 {
				t.Error("one that is known is cut off")
			}
			p.known.Delete(p.source.Fingerprint())
			p.listener.Check()
			if err := <-ended; err == nil {
				t.Error("the transfer has ended well")
			}
			eventually(t, "nothing is served", func() bool { return p.serving.Load() == 0 })
		})
	}
}

// A proxy in the middle with a certificate of its own gets nothing.
func TestManInTheMiddle(t *testing.T) {
	p := newPair(t, nil)
	p.write("secret", 10)
	middle := newIdentity(t)
	listener, err := Listen(ListenerConfig{
		Address: "127.0.0.1", Identity: middle, Mode: TLS, Slots: 1, Known: func(string) bool { return true },
		Serve:  func(context.Context, *os.File) error { t.Error("the man in the middle is served"); return nil },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(listener.Stop)
	conn, err := p.send(p.proxy, Target{fmt.Sprintf("127.0.0.1:%d", listener.Port()), p.target.Fingerprint})
	if err == nil || !errors.Is(conn.Err(), errStranger) {
		t.Errorf("rsync says %v, the link %v", err, conn.Err())
	}
}

// More strangers than there is room for do not keep a member out: the oldest has to go.
func TestTooManyStrangers(t *testing.T) {
	p := newPair(t, nil)
	p.write("file", 10)
	for range 3 * maxUnproven {
		conn, err := net.Dial("tcp", p.target.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if _, err := p.send(p.proxy, p.target); err != nil {
		t.Error(err)
	}
	p.arrived()
}

// A newcomer is looked for before it is refused.
func TestNewcomer(t *testing.T) {
	var p *pair
	p = newPair(t, func(c *ListenerConfig) {
		c.Learn = func(context.Context) { p.known.Store(p.source.Fingerprint(), true) }
	})
	p.known.Clear()
	p.write("file", 10)
	if _, err := p.send(p.proxy, p.target); err != nil {
		t.Error(err)
	}
	p.arrived()
}

// A destination may look after itself although all slots are taken and it is no member.
func TestDestinationDialsItself(t *testing.T) {
	for _, mode := range []Mode{TLS, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			var own *Identity
			p := newPair(t, func(c *ListenerConfig) { c.Mode, c.Slots, own = mode, 0, c.Identity })
			conn, err := Dial(t.Context(), own, Target{p.listener.Addr(), own.Fingerprint()})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if line, err := readLine(conn); err != nil || !strings.HasPrefix(line, "@RSYNCD: ") {
				t.Errorf("it says %q, %v", line, err)
			}
		})
	}
}

// What serves a connection ends soon after its source is gone, even if it never reads.
func TestSourceIsGone(t *testing.T) {
	for _, mode := range []Mode{TLS, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			began, ended := make(chan bool), make(chan bool)
			p := newPair(t, func(c *ListenerConfig) {
				c.Mode = mode
				c.Serve = func(ctx context.Context, _ *os.File) error { began <- true; <-ctx.Done(); ended <- true; return nil }
			})
			conn, err := Dial(t.Context(), p.source, p.target)
			if err != nil {
				t.Fatal(err)
			}
			<-began
			select {
			case <-ended:
				t.Error("ended while its source is there")
			case <-time.After(3 * goodbye):
			}
			conn.Close()
			<-ended
		})
	}
}

// Bytes that the destination does not take are seen to wait.
func TestUntaken(t *testing.T) {
	for _, mode := range []Mode{TLS, Plain} {
		t.Run(string(mode), func(t *testing.T) {
			serve := make(chan bool)
			p := newPair(t, func(c *ListenerConfig) {
				c.Mode = mode
				inner := c.Serve
				c.Serve = func(ctx context.Context, conn *os.File) error { <-serve; return inner(ctx, conn) }
			})
			conn := p.proxy.Open(p.target)
			defer conn.Close()
			local, err := net.Dial("tcp", p.proxy.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer local.Close()
			_, token, _ := strings.Cut(strings.TrimPrefix(conn.Environ(), "RSYNC_PROXY="), ":")
			token, _, _ = strings.Cut(token, "@")
			fmt.Fprintf(local, "CONNECT d:1 HTTP/1.0\r\nProxy-Authorization: Basic %s\r\n\r\n", base64.StdEncoding.EncodeToString([]byte("run:"+token)))
			go func() { _, _ = io.Copy(local, rand.Reader) }()
			eventually(t, "bytes wait", func() bool { return conn.Untaken() > 300*time.Millisecond })
			local.Close()
			close(serve)
			conn.Close()
		})
	}
}

// A destination that says nothing is its own fault: a host whose packets get lost on the way, and one that takes the
// connection and is silent.
func TestMuteDestination(t *testing.T) {
	for name, backlog := range map[string]int{"packets are lost": 0, "silent": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			for _, err := range []error{
				unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
				unix.Listen(fd, backlog),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			bound, err := unix.Getsockname(fd)
			if err != nil {
				t.Fatal(err)
			}
			addr := fmt.Sprintf("127.0.0.1:%d", bound.(*unix.SockaddrInet4).Port)
			if backlog == 0 {
				// Linux drops what asks to connect when nobody takes the first one.
				first, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer first.Close()
			}
			identity := newIdentity(t)
			conn, err := Dial(t.Context(), identity, Target{Addr: addr, Fingerprint: identity.Fingerprint()})
			if !errors.Is(err, ErrDestination) || !strings.Contains(err.Error(), "has not answered for 15s") {
				t.Errorf("%v, %v", conn, err)
			}
		})
	}
}
