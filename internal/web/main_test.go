// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zktest"
)

// server serves all tests of the package; each has sessions of its own.
var server *zktest.Server

// shots is where pictures of the page are kept, for people to look at.
var shots = flag.String("shots", "", "directory for pictures of the page in its states; none are kept without")

func TestMain(m *testing.M) { os.Exit(zktest.Main(m, &server)) }

// busyRun is a snapshot of a run with everything in it.
func busyRun(now time.Time) *status.Snapshot {
	load := 3.25
	s := &status.Snapshot{
		Format: 1, Time: now, Session: "home-2026", State: status.Running, Master: "node01.example.org:4711", Began: now.Add(-27*time.Hour - 31*time.Minute), Phase: "walking", Walk: 1,
		Waits:    []status.Wait{},
		Paths:    status.Paths{Queued: 184_312, Remaining: 10_214, Working: 311, Completed: 174_041, Failed: 3, Vanished: 12, Changed: 42},
		Totals:   status.Totals{Files: 61_204_889, TransferredFiles: 60_911_002, Bytes: 412_330_111_222_333, TransferredBytes: 409_330_111_222_333, Sent: 410_001_222_333_444, Deleted: 1201},
		Rates:    status.Rates{Now: 4_211_000_000, Over: 300, Paths: 2.4, Files: 811, Bytes: 4_200_000_000},
		Estimate: status.Estimate{By: status.ByWalk, Guess: true, Percent: status.Range{Low: 61, High: 74}, Seconds: &status.Range{Low: 9 * 3600, High: 17.5 * 3600}},
	}
	for i := range 4 {
		host := fmt.Sprintf("node%02d.example.org", i+1)
		c := status.Client{
			Who: host + ":4711", Role: wire.RoleSource, Program: status.Go, Master: i == 0, Host: host, Version: "1.0", Since: s.Began, Load: &load, Base: "/home",
			Source: &status.Source{Jobs: 8, Busy: 8 - i%2, Sent: 100_000_000_000_000 + int64(i)*1e12, Rate: 1_050_000_000 + int64(i)*7e6},
		}
		if i == 2 {
			c.Warning = &status.Warning{Time: now.Add(-time.Hour), Text: `Path 1_/home/vsc400/vsc40012/big failed, attempt 2: rsync: [sender] read errors mapping "/home/vsc400/vsc40012/big/core.4711": Input/output error (5)`}
		}
		s.Clients = append(s.Clients, c)
	}
	s.Clients = append(s.Clients, status.Client{Who: "old07.example.org:99", Role: wire.RoleSource, Program: status.Python, Source: &status.Source{Jobs: 1, Busy: 1}})
	for i := range 3 {
		host := fmt.Sprintf("store%02d.example.org", i+1)
		d := &status.Destination{
			Slots: 12, Busy: 11 - 2*i, State: wire.Active, Since: s.Began, Rate: 1_400_000_000, Size: 900e12, Free: uint64(500e12 - float64(i)*228e12), Inodes: 4e9, FreeInodes: 3e9,
		}
		if i == 2 {
			d.State, d.Why, d.Since, d.Busy, d.Rate = wire.Paused, "there is no room in /new/home: 44 TB are free, but the quota of the file set is used up", now.Add(-12*time.Minute), 0, 0
		}
		s.Clients = append(s.Clients, status.Client{Who: host + ":812", Role: wire.RoleDestination, Program: status.Go, Host: host, Version: "1.0", Since: s.Began, Load: &load, Base: "/new/home", Dest: d})
	}
	for i := range 24 {
		s.Runs = append(s.Runs, status.Run{
			Path: wire.Text(fmt.Sprintf("0_/home/vsc4%02d/vsc4%02d%02d/project-%d/results", i, i, i, i)), Paths: 1 + i%5*9, Source: s.Clients[i%4].Who, Destination: s.Clients[5+i%2].Who,
			Began: now.Add(-time.Duration(24-i) * 97 * time.Second), Attempt: 1 + i%7/6, Sent: int64(24-i) * 1_311_000_000, Rate: int64(100+i) * 1_000_000,
		})
	}
	s.Runs[3].Path = hostile
	s.Runs[4].Source, s.Runs[4].Attempt, s.Runs[4].Paths = "old07.example.org:99", 0, 1
	s.Failures = []status.Failure{
		{Path: "0_/home/vsc400/vsc40012/big", Errors: []wire.Text{`rsync: [sender] read errors mapping "/home/vsc400/vsc40012/big/core.4711": Input/output error (5)`, "rsync error: some files/attrs were not transferred (code 23)"}},
		{Path: "0_/home/vsc411/vsc41100/locked", Errors: []wire.Text{`rsync: [sender] opendir "/home/vsc411/vsc41100/locked" failed: Permission denied (13)`}},
	}
	s.FailuresLeft = 1
	return s
}

// hostile is a path that is markup, turns the direction of writing, and has a line end.
const hostile = "1_/home/<img src=x onerror=pwned=1><script>pwned=1</script>\u202egnp.exe\n"

// pastHour is a history, with a gap.
func pastHour(now time.Time) (all []point) {
	for at := now.Add(-58 * time.Minute).Truncate(grain); at.Before(now); at = at.Add(grain) {
		if x := now.Sub(at).Minutes(); x < 31 || x > 34 {
			all = append(all, point{at, 4.2e9 + 6e8*math.Sin(x/4) + 2e8*math.Sin(x*3), 800 + 300*math.Cos(x/7), 1})
		}
	}
	return all
}

// standIn serves what a function makes up instead of what is in ZooKeeper, until the test ends or end is called.
func standIn(t *testing.T, cfg Config, look func(context.Context) ([]*status.Snapshot, error)) (s *Server, end func()) {
	t.Helper()
	cfg.Version = "1.0"
	if cfg.Web == "" {
		cfg.Web = "127.0.0.1:0"
	}
	s = &Server{cfg: cfg, log: slog.New(slog.NewTextHandler(t.Output(), nil)), looker: &looker{}}
	s.feed = newFeed(look)
	s.feed.busy, s.feed.idle = 20*time.Millisecond, time.Hour
	if err := s.listen(); err != nil {
		t.Fatal(err)
	}
	return s, serve(t, s)
}

// serve runs a server until the test ends, or end is called.
func serve(t *testing.T, s *Server) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ctx) }()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return end
}

// always gives the same.
func always(all ...*status.Snapshot) func(context.Context) ([]*status.Snapshot, error) {
	return func(context.Context) ([]*status.Snapshot, error) { return all, nil }
}

// ask makes a request; headers are "Name: value", and Host is one.
func ask(t *testing.T, method, url string, headers ...string) (status int, body string, head http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data), answer.Header
}
