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
	"golang.org/x/sync/errgroup"
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

// StartEnsemble runs three servers for one test, which fails when they cannot be had.
func StartEnsemble(t testing.TB) *Ensemble {
	t.Helper()
	e, err := launchEnsemble(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// Main runs the tests of a package with one server for all, which it puts into server before the
// first of them. It returns the exit code: that of the tests, or 1 when there is no server or a
// goroutine was left behind.
//
// A script that runs tests in its background has them started with SIGINT ignored, and nohup with
// SIGHUP. Main undoes that: programs go on ignoring such signals, and tests would wait for their
// end.
func Main(m *testing.M, server **Server) int {
	return mainWith(m, func(dir string) (stop func(), err error) {
		s, err := launchIn(dir, nil)
		if err != nil {
			return nil, err
		}
		*server = s
		return s.Stop, nil
	})
}

// MainEnsemble is Main with three servers.
func MainEnsemble(m *testing.M, ensemble **Ensemble) int {
	return mainWith(m, func(dir string) (stop func(), err error) {
		e, err := launchEnsemble(dir)
		if err != nil {
			return nil, err
		}
		*ensemble = e
		return e.Stop, nil
	})
}

func mainWith(m *testing.M, start func(dir string) (stop func(), err error)) int {
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
	stop, err := start(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	stop()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// EachRequest has a play played once without a fault, and then once for each of its requests and each way in which that
// can fail, many at a time, as they wait most of the time: the connection breaks before the server has carried the
// request out, or after, and the client goes on, or dies there. A play calls fault as soon as its client is connected
// through a proxy, tells how many requests followed, and whether the client's session was lost. It has to make so many
// requests at least, and is not to lose a session that lasts.
func EachRequest(t *testing.T, least int, play func(t *testing.T, lasts bool, fault func(*Proxy)) (requests int, died bool)) {
	t.Helper()
	requests, _ := play(t, true, func(*Proxy) {})
	if requests < least {
		t.Fatalf("it has made %d requests", requests)
	}
	var points errgroup.Group
	points.SetLimit(32)
	point := func(name string, try func(t *testing.T)) {
		points.Go(func() error {
			t.Run(name, try)
			return nil
		})
	}
	for at := 1; at <= requests; at++ {
		for when, before := range map[string]bool{"before": true, "after": false} {
			fault := func(fail func(p *Proxy, request int, before bool)) func(*Proxy) {
				return func(p *Proxy) {
					reads, writes := p.Requests()
					fail(p, reads+writes+at, before)
				}
			}
			point(fmt.Sprintf("%s %d", when, at), func(t *testing.T) {
				if _, died := play(t, true, fault((*Proxy).BreakAt)); died {
					t.Error("the session was lost")
				}
			})
			point(fmt.Sprintf("dead %s %d", when, at), func(t *testing.T) { play(t, false, fault((*Proxy).DieAt)) })
		}
	}
	points.Wait()
}

func launchIn(dir string, tls *secure) (*Server, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errNoAnswer)
	defer cancel()
	return launchServer(ctx, dir, tls)
}
