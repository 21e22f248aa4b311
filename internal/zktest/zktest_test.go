// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

var server *zktest.Server

func TestMain(m *testing.M) { os.Exit(zktest.Main(m, &server)) }

func connect(t *testing.T, addr string) *zkclient.Client {
	t.Helper()
	c, err := zkclient.Connect(t.Context(), zkclient.Config{
		Servers: []string{addr}, User: "u", Password: "p",
		SessionTimeout: 30 * time.Second, ConnectTimeout: time.Minute, PollInterval: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// until waits for something that must come true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// A restarted server has the same address and the same data, whether it was stopped or killed.
func TestRestartKeepsData(t *testing.T) {
	s := zktest.Start(t)
	c := connect(t, s.Addr())
	if _, err := c.Create(t.Context(), "/kept", []byte("x"), zkclient.Persistent); err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.Kill()
	if _, err := net.Dial("tcp", s.Addr()); err == nil {
		t.Fatal("the killed server still answers")
	}
	addr := s.Addr()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if s.Addr() != addr {
		t.Errorf("address %s became %s", addr, s.Addr())
	}
	data, _, err := connect(t, s.Addr()).Get(t.Context(), "/kept")
	if err != nil || string(data) != "x" {
		t.Errorf("after the restart: %q, %v", data, err)
	}
}

// An ensemble goes on with two of its servers, whichever is lost; the third catches up when it is back.
func TestEnsemble(t *testing.T) {
	e := zktest.StartEnsemble(t)
	leader := func() (server int) {
		t.Helper()
		until(t, "there is a leader", func() (ok bool) {
			var err error
			server, err = e.Leader(t.Context())
			return err == nil
		})
		return server
	}
	write := func(server int, path string) {
		t.Helper()
		if _, err := connect(t, e.Servers[server].Addr()).Create(t.Context(), path, nil, zkclient.Persistent); err != nil {
			t.Fatal(err)
		}
	}
	first := leader()
	e.Servers[first].Kill()
	second := leader()
	if first == second {
		t.Fatal("a killed server leads")
	}
	write(second, "/one-is-killed")
	if err := e.Revive(first); err != nil {
		t.Fatal(err)
	}
	if err := e.Await(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := connect(t, e.Servers[first].Addr()).Get(t.Context(), "/one-is-killed"); err != nil {
		t.Error(err)
	}
	e.Servers[second].Pause()
	write(leader(), "/one-is-paused")
	e.Servers[second].Continue()
	if _, _, err := connect(t, e.Servers[second].Addr()).Get(t.Context(), "/one-is-paused"); err != nil {
		t.Error(err)
	}
}

// A machine without java fails with the line to type.
func TestMissingJava(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := zktest.Launch(t.Context(), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("no java: %v", err)
	}
}

// A start that takes too long ends with its context and leaves no process behind.
func TestLaunchGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := zktest.Launch(ctx, t.TempDir())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("want the deadline, got %v", err)
	}
}

// echo is a server that sends back what it gets, and tells it to got.
func echo(t *testing.T) (addr string, got chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got = make(chan string, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 100)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					conn.Close()
					break
				}
				got <- string(buf[:n])
				conn.Write(buf[:n])
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), got
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func expect(t *testing.T, conn net.Conn, want string, wantErr error) {
	t.Helper()
	patience := 2 * time.Minute
	if wantErr == os.ErrDeadlineExceeded {
		patience = 300 * time.Millisecond
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, max(len(want), 1))
	n, err := io.ReadFull(conn, buf)
	if string(buf[:n]) != want || !errors.Is(err, wantErr) {
		t.Errorf("read %q, %v; want %q, %v", buf[:n], err, want, wantErr)
	}
}

func TestProxyFaults(t *testing.T) {
	target, got := echo(t)
	p := zktest.NewProxy(t, target)
	conn := dial(t, p.Addr())
	io.WriteString(conn, frame("one"))
	expect(t, conn, frame("one"), nil)
	<-got

	p.Stall()
	io.WriteString(conn, frame("two"))
	expect(t, conn, "", os.ErrDeadlineExceeded)
	if len(got) > 0 {
		t.Errorf("a stalled proxy has forwarded %q", <-got)
	}
	p.Heal()
	expect(t, conn, frame("two"), nil)
	<-got

	p.SwallowReplies()
	io.WriteString(conn, frame("three"))
	if s := <-got; s != frame("three") {
		t.Errorf("the server got %q", s)
	}
	expect(t, conn, "", os.ErrDeadlineExceeded)
	p.Heal()
	expect(t, conn, "", io.EOF)

	conn = dial(t, p.Addr())
	io.WriteString(conn, frame("four"))
	expect(t, conn, frame("four"), nil)
	<-got
	p.Cut()
	expect(t, conn, "", io.EOF)
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a cut proxy: %v", err)
	}
	if l, err := net.Listen("tcp", p.Addr()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the port of a cut proxy is up for grabs: %v, %v", l, err)
	}
	p.Heal()
	conn = dial(t, p.Addr())
	io.WriteString(conn, frame("five"))
	expect(t, conn, frame("five"), nil)
}

// Children that are being forked have copies of listening sockets: no port may be lost to them.
func TestPortsAmongForks(t *testing.T) {
	stop := make(chan struct{})
	var forks sync.WaitGroup
	for range 2 {
		forks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					exec.Command("/bin/true").Run()
				}
			}
		})
	}
	defer forks.Wait()
	defer close(stop)
	target, got := echo(t)
	for range 20 {
		p := zktest.NewProxy(t, target)
		for range 20 {
			p.Cut()
			p.Heal()
		}
		conn := dial(t, p.Addr())
		io.WriteString(conn, frame("hello"))
		expect(t, conn, frame("hello"), nil)
		<-got
		conn.Close()
	}
}

// The ports of a test refuse connections, nobody else finds them free, and servers can listen
// there.
func TestPorts(t *testing.T) {
	const n = 3
	first := zktest.Ports(t, n)
	for port := first; port < first+n; port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens, and there is an answer: %v", err)
		}
		if l, err := exclusive.Listen(t.Context(), "tcp", addr); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("port %d seems free: %v, %v", port, l, err)
		}
		for range 2 {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
	}
}

// exclusive listens only where nobody else has the port.
var exclusive = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
	return errors.Join(c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
	}), err)
}}

// The port of a server that is stopped is not given to proxies and other servers, and the server
// starts there again.
func TestServerKeepsPort(t *testing.T) {
	s := zktest.Start(t)
	c := connect(t, s.Addr())
	before, err := s.Zxid()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := c.Multi(t.Context(), zkclient.OpCreate(fmt.Sprintf("/a%d", i), nil, zkclient.Persistent),
			zkclient.OpCreate(fmt.Sprintf("/b%d", i), nil, zkclient.Persistent)); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := s.Zxid(); err != nil || after-before != 5 {
		t.Errorf("%d transactions, want 5 (%v)", after-before, err)
	}
	c.Close()
	s.Stop()
	if _, err := s.Zxid(); err == nil || !strings.Contains(err.Error(), "cannot read the last transaction") {
		t.Errorf("stopped: %v", err)
	}
	if l, err := exclusive.Listen(t.Context(), "tcp", s.Addr()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the port of a stopped server is free: %v, %v", l, err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	connect(t, s.Addr())
}

// frame is text as ZooKeeper's protocol would carry it: a length, then eight bytes of head, for the
// proxy, then the text.
func frame(text string) string {
	return string(rune(0)) + string(rune(0)) + string(rune(0)) + string(rune(8+len(text))) + "headhead" + text
}

// The proxy tells requests that change something from others, and events from replies.
func TestProxySwallowsByKind(t *testing.T) {
	p := zktest.NewProxy(t, server.Addr())
	c, watcher := connect(t, p.Addr()), connect(t, server.Addr())
	const path = "/kinds"
	if err := watcher.EnsurePath(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.WatchData(ctx, path, func(data []byte, _ zkclient.Stat, _ bool) { seen <- string(data) })
	}()
	set := func(ctx context.Context, text string) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := c.Set(ctx, path, []byte(text), -1)
			done <- err
		}()
		return done
	}
	stuck := func(text string) {
		t.Helper()
		ctx, cancel := context.WithCancel(ctx)
		done := set(ctx, text)
		until(t, "the change has met the fault", p.Swallowing)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("the reply to a change has passed: %v", err)
		}
	}
	read := func() string {
		t.Helper()
		data, _, err := watcher.Get(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	<-seen
	p.SwallowEvents()
	if err := <-set(ctx, "one"); err != nil {
		t.Fatalf("a reply is missing: %v", err)
	}
	select {
	case got := <-seen:
		t.Fatalf("an event has passed: %q", got)
	case <-time.After(200 * time.Millisecond):
	}
	p.SwallowWrites()
	if _, _, err := c.Get(ctx, path); err != nil || p.Swallowing() {
		t.Fatalf("a read was swallowed: %v", err)
	}
	stuck("two")
	until(t, "the change has arrived", func() bool { return read() == "two" })
	p.Heal()
	if got := <-seen; got != "two" {
		t.Errorf("after the reconnect: %q", got)
	}
	p.LoseWrites()
	if _, _, err := c.Get(ctx, path); err != nil || p.Swallowing() {
		t.Fatalf("a read was lost: %v", err)
	}
	reads, writes := p.Requests()
	stuck("three")
	if got := read(); got != "two" {
		t.Fatalf("the change has arrived: %q", got)
	}
	if r, w := p.Requests(); r != reads || w != writes+1 {
		t.Errorf("a change counts as %d reads and %d writes", r-reads, w-writes)
	}
	p.Heal()
	if _, _, err := c.Get(ctx, path); err != nil {
		t.Fatal(err)
	}
	if r, _ := p.Requests(); r <= reads {
		t.Error("a read does not count")
	}
	p.HoldWrites()
	if _, _, err := c.Get(ctx, path); err != nil || p.Swallowing() {
		t.Fatalf("a read is held: %v", err)
	}
	held := set(ctx, "four")
	until(t, "the change is held", p.Swallowing)
	if got := read(); got != "two" {
		t.Fatalf("the change has arrived: %q", got)
	}
	p.Heal()
	if err := <-held; err != nil || read() != "four" {
		t.Fatalf("a change that was held: %v", err)
	}
	cancel()
	<-done
}

func TestDump(t *testing.T) {
	c := connect(t, server.Addr())
	if err := c.DeleteTree(t.Context(), "/dump"); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]zkclient.Mode{"/dump/b": zkclient.Persistent, "/dump/a/x": zkclient.Ephemeral} {
		if _, err := c.CreatePath(t.Context(), path, []byte("d"), mode); err != nil {
			t.Fatal(err)
		}
	}
	acl := " digest:u:" + strings.TrimPrefix(zkclient.DigestACL("u", "p", zkclient.PermAll).ID, "u:") + ":rwcda"
	want := []string{
		`/dump persistent ""` + acl,
		`/dump/a persistent ""` + acl,
		`/dump/a/x ephemeral "d"` + acl,
		`/dump/b persistent "d"` + acl,
	}
	var have []string
	for _, n := range zktest.Dump(t, server.Addr(), "u", "p", "/dump") {
		have = append(have, n.String())
	}
	if strings.Join(have, "\n") != strings.Join(want, "\n") {
		t.Errorf("dump:\n%s\nwant:\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	if n := zktest.Dump(t, server.Addr(), "u", "p", "/nothing"); n != nil {
		t.Errorf("dump of nothing: %v", n)
	}
}
