// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// Start runs a server for one test, which fails when that cannot be had.
func Start(t testing.TB) *Server {
	t.Helper()
	return started(t, nil)
}

// StartSecure runs a server for one test that has a port for TLS, too, where it takes clients only that show a
// certificate of the authority. Its own is for these hosts.
func StartSecure(t testing.TB, a *Authority, hosts ...string) *Server {
	t.Helper()
	_, _, both := a.Issue("server", hosts...)
	return started(t, &secure{identity: both, ca: a.File})
}

func started(t testing.TB, tls *secure) *Server {
	t.Helper()
	s, err := launchIn(t.TempDir(), tls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Main runs the tests of a package with one server for all, which it puts into server before the
// first of them. It returns the exit code: that of the tests, or 1 when there is no server or a
// goroutine was left behind.
//
// A script that runs tests in its background has them started with SIGINT ignored, and nohup with
// SIGHUP. Main undoes that: programs go on ignoring such signals, and tests would wait for their
// end.
func Main(m *testing.M, server **Server) int {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	dir, err := os.MkdirTemp("", "zktest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	s, err := launchIn(dir, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*server = s
	code := m.Run()
	s.Stop()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func launchIn(dir string, tls *secure) (*Server, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errNoAnswer)
	defer cancel()
	return launchServer(ctx, dir, tls)
}
