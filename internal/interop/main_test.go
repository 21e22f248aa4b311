// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// The credentials of every client here; peer.py has the same ones by default.
const user, password = "root", "admin"

// mortal is the session timeout of clients that are going to be killed, which is noticed only when
// it is over. All other clients have a timeout that a busy machine does not break.
const mortal = 5 * time.Second

// mortalOption is the same for peer.py.
var mortalOption = fmt.Sprintf("--session-timeout=%g", mortal.Seconds())

// lasting is the session timeout of those others. peer.py has it too.
const lasting = 30 * time.Second

// server is one ZooKeeper for all tests. Each test has a znode of its own.
var server *zktest.Server

func TestMain(m *testing.M) {
	if what := os.Getenv(holdVariable); what != "" {
		os.Exit(hold(what))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	// Most of what a test does here is to wait for a timeout.
	_ = flag.Set("test.parallel", "8")
	var err error
	if built, err = os.MkdirTemp("", "interop-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built)
	return zktest.Main(m, &server)
}

// connect is a Go client that ends with the test.
func connect(t testing.TB) *zkclient.Client {
	t.Helper()
	c, err := zkclient.Connect(t.Context(), zkclient.Config{
		Servers: []string{server.Addr()}, User: user, Password: password,
		SessionTimeout: lasting, ConnectTimeout: patience,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// stepped is a Python client to be led step by step; args are options of peer.py.
func stepped(t testing.TB, args ...string) *Peer {
	t.Helper()
	return StartPeer(t, server.Addr(), append(args, "step")...)
}

// own is a path below a znode that belongs to this run of this test alone. Its parents need not
// exist.
func own(t testing.TB, names ...string) string {
	t.Helper()
	unique := filepath.Base(filepath.Dir(t.TempDir()))
	return path.Join(append([]string{"/interop", unique}, names...)...)
}

// limited is the test's context, with an end before that of the test binary.
func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// until looks again and again until something is so.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for this: %s", what)
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
