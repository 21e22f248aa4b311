// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// peer is a server that does with each connection what handle says.
func peer(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			handle(conn)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", zktest.Ports(t, 1))
}

// Whatever is at the other end, Connect returns after its time and says in one line what it is.
func TestConnectFails(t *testing.T) {
	for name, test := range map[string]struct {
		servers []string
		want    []string
	}{
		"refused":       {[]string{nobody(t)}, []string{"connection refused", "check that a server runs there"}},
		"mute":          {[]string{peer(t, func(net.Conn) {})}, []string{"accepts the connection but does not answer"}},
		"closed":        {[]string{peer(t, func(c net.Conn) { c.Close() })}, []string{"closes the connection at once", "maxClientCnxns", "60 per address"}},
		"mute after 4":  {[]string{peer(t, func(c net.Conn) { c.Write([]byte{0, 0, 0, 40}) })}, []string{"does not answer"}},
		"not ZooKeeper": {[]string{peer(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n") })}, []string{"not as a ZooKeeper server"}},
		"short frame":   {[]string{peer(t, func(c net.Conn) { c.Write([]byte{0, 0, 0, 1, 9}) })}, []string{"not as a ZooKeeper server"}},
		"unresolvable":  {[]string{"no-such-host.invalid"}, []string{"no-such-host.invalid:2181", "no such host"}},
		"several":       {[]string{nobody(t), peer(t, func(net.Conn) {})}, []string{"connection refused", "does not answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(test.servers...)
			cfg.ConnectTimeout = 1500 * time.Millisecond
			_, err := zkclient.Connect(t.Context(), cfg)
			wantError(t, err, err)
			text := err.Error()
			for _, want := range append(test.want, test.servers[0], user, "1.5s") {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in: %s", want, text)
				}
			}
			if strings.Contains(text, "\n") {
				t.Errorf("more than one line: %s", text)
			}
		})
	}
}

// unwritable is a connection that the other end has closed already.
type unwritable struct{ net.Conn }

func (u unwritable) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
}

// A server that closes a connection at once may be seen to do so at any step: the kernel reports it where it comes to be known.
func TestClosedAtOnce(t *testing.T) {
	mute := peer(t, func(net.Conn) {})
	for name, dial := range map[string]func() (net.Conn, error){
		"connect, broken pipe": func() (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EPIPE)}
		},
		"connect, reset": func() (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNRESET)}
		},
		"write": func() (net.Conn, error) {
			conn, err := net.Dial("tcp", mute)
			return unwritable{conn}, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(mute)
			cfg.ConnectTimeout = 1500 * time.Millisecond
			_, err := zkclient.ConnectWith(t.Context(), cfg, func(context.Context, string, string) (net.Conn, error) { return dial() })
			if err == nil || !strings.Contains(err.Error(), "closes the connection at once") {
				t.Error(err)
			}
		})
	}
}

func TestConnectGivesUpWithContext(t *testing.T) {
	for name, addr := range map[string]string{"refused": nobody(t), "mute": peer(t, func(net.Conn) {})} {
		ctx, cancel := context.WithCancel(t.Context())
		done := background(func() error {
			_, err := zkclient.Connect(ctx, config(addr))
			return err
		})
		time.Sleep(50 * time.Millisecond)
		cancel()
		if err := result(t, done); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that cannot be resolved, one that refuses and one that is mute do not keep the client
// from the one that works, wherever it begins to try. Neither does a list with commas.
func TestOneServerWorks(t *testing.T) {
	t.Parallel()
	bad := []string{"no-such-host.invalid", nobody(t), peer(t, func(net.Conn) {})}
	for range 4 {
		cfg := config(strings.Join(bad[:2], ","), bad[2], server.Addr())
		cfg.SessionTimeout = 3 * time.Second
		c := connect(t, cfg)
		if c.SessionID() == 0 {
			t.Error("no session id")
		}
		c.Close()
	}
}

// A server goes away: the session goes on with the other one.
func TestFailover(t *testing.T) {
	t.Parallel()
	a, b := zktest.NewProxy(t, server.Addr()), zktest.NewProxy(t, server.Addr())
	cfg := config(a.Addr(), b.Addr())
	cfg.SessionTimeout = 9 * time.Second // a sixth of it is what is left behind a mute server
	c := connect(t, cfg)
	path := base(t, c)
	made, err := c.Create(t.Context(), path+"/e", nil, zkclient.Ephemeral)
	check(t, err)
	for _, p := range []*zktest.Proxy{a, b} {
		p.Cut()
		_, found, err := c.Exists(patient(t), made)
		if err != nil || !found {
			t.Fatalf("with one server cut: %v %v", found, err)
		}
		p.Heal()
	}
	// The server it is on goes mute, which shows only after 2/3 of the timeout; the sixth that
	// is left is enough.
	id := c.SessionID()
	a.Stall()
	_, found, err := c.Exists(t.Context(), made)
	if err != nil || !found {
		t.Fatalf("with one server mute: %v %v", found, err)
	}
	a.Heal()
	b.Stall()
	_, found, err = c.Exists(t.Context(), made)
	if err != nil || !found || c.SessionID() != id {
		t.Fatalf("with the other server mute: %v %v", found, err)
	}
}

func TestChroot(t *testing.T) {
	plain := direct(t)
	path := base(t, plain)
	_, err := zkclient.Connect(t.Context(), config(server.Addr()+path+"/missing"))
	wantError(t, err, zkclient.ErrNoNode)
	if !strings.Contains(err.Error(), path+"/missing") {
		t.Errorf("the chroot is not in: %v", err)
	}

	c := connect(t, config("no-such-host.invalid,"+server.Addr()+path))
	made, err := c.CreatePath(t.Context(), "/a/b", []byte("x"), zkclient.Persistent)
	if err != nil || made != "/a/b" {
		t.Fatalf("made %q, %v", made, err)
	}
	made, err = c.Create(t.Context(), "/s-", []byte("x"), zkclient.Sequential)
	if err != nil || made != "/s-0000000001" {
		t.Fatalf("made %q, %v", made, err)
	}
	if got := read(t, plain, path+"/a/b"); got != "x" {
		t.Errorf("below the chroot: %q", got)
	}
	if names := children(t, c, "/"); len(names) != 2 {
		t.Errorf("children of the root: %v", names)
	}
	_, _, err = c.Get(t.Context(), "/nothing")
	wantError(t, err, zkclient.ErrNoNode)
	if want := path + "/nothing"; !strings.Contains(err.Error(), want) {
		t.Errorf("%s is not in: %v", want, err)
	}
	// Recipes and transactions live below it too.
	check(t, c.Multi(t.Context(), zkclient.OpCheck("/a/b", 0), zkclient.OpDelete("/a/b")))
	lock := c.Lock("/lock", "")
	check(t, lock.Acquire(t.Context()))
	if names := children(t, plain, path+"/lock"); len(names) != 1 {
		t.Errorf("lock nodes: %v", names)
	}
	q := c.Queue("/q")
	check(t, q.Put(t.Context(), 100, []byte("v")))
	e, err := q.Take(t.Context())
	check(t, err)
	check(t, e.Consume(t.Context()))
	check(t, c.DeleteTree(t.Context(), "/q"))
}

// The server takes any password; what is wrong shows at the first node of another user.
func TestWrongPassword(t *testing.T) {
	owner := direct(t)
	path := base(t, owner)
	cfg := config(server.Addr())
	cfg.Password = "wrong-" + password
	c := connect(t, cfg)
	_, err := c.Create(t.Context(), path+"/x", nil, zkclient.Persistent)
	wantError(t, err, zkclient.ErrNoAuth)
	for _, want := range []string{"wrong user or password", user, path + "/x", "cannot create"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	wantError(t, c.Multi(t.Context(), zkclient.OpSet(path, nil, -1)), zkclient.ErrNoAuth)
}

// A server that refuses digest credentials (-115 to the auth request) ends Connect, which says so.
func TestCredentialsRefused(t *testing.T) {
	addr := peer(t, func(c net.Conn) {
		go func() {
			buf := make([]byte, 1000)
			c.Read(buf)
			c.Write([]byte{0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 23, 112, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			n, err := c.Read(buf)
			if err != nil || n < 8 {
				return
			}
			reply := append([]byte{0, 0, 0, 16}, buf[4:8]...)
			reply = append(reply, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x8d)
			c.Write(reply)
			c.Close()
		}()
	})
	// Connect would wait for minutes for what may yet be well.
	_, err := zkclient.Connect(t.Context(), config(addr))
	wantError(t, err, zkclient.ErrSessionLost)
	if !strings.Contains(err.Error(), "refuses the digest credentials of user") {
		t.Error(err)
	}
}

// brittle is a connection on which the credentials cannot be written.
type brittle struct {
	net.Conn
	broken *atomic.Bool
}

func (b brittle) Write(p []byte) (int, error) {
	if len(p) >= 12 && binary.BigEndian.Uint32(p[8:]) == 100 && b.broken.Swap(false) {
		return 0, errors.New("broken pipe")
	}
	return b.Conn.Write(p)
}

// After a reconnect the library presents the credentials again. When it cannot write them it must
// not stop for good.
func TestReauthenticationFails(t *testing.T) {
	p := zktest.NewProxy(t, server.Addr())
	var broken atomic.Bool
	c, err := zkclient.ConnectWith(t.Context(), config(p.Addr()), func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		return brittle{conn, &broken}, err
	})
	check(t, err)
	defer c.Close()
	path := base(t, c)
	broken.Store(true)
	p.Cut()
	p.Heal()
	_, err = c.Set(patient(t), path, []byte("x"), -1)
	check(t, err)
	if broken.Load() {
		t.Error("the credentials were not presented again")
	}
}

// The library's lines go to the given logger, at debug level, and the password into no line at all.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	cfg := config(server.Addr())
	cfg.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := connect(t, cfg)
	check(t, c.EnsurePath(t.Context(), "/TestLog"))
	c.Close()
	for _, want := range []string{"level=DEBUG", "level=INFO msg=\"Connected to ZooKeeper at " + server.Addr()} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the log: %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "level=ERROR") {
		t.Errorf("log: %s", out.String())
	}
	if strings.Contains(out.String(), password) {
		t.Errorf("the password is in the log: %s", out.String())
	}
}
