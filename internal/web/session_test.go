// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/session"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// A real session is seen in a real browser, from before it begins until it is over, with names that are markup and one
// that is no text; and it leaves metrics that Prometheus likes.
func TestRealSession(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	for _, name := range []string{`<script>pwned=1<`, `"><img src=x onerror=pwned=1>`, "\xff\u202eodd\n"} {
		if err := os.MkdirAll(filepath.Join(src, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name, "file"), make([]byte, 400_000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dst, 0o755); err != nil {
		t.Fatal(err)
	}
	zookeeper := zkclient.Config{Servers: []string{server.Addr()}, User: "root", Password: "admin"}
	config := func(host, base string) session.Config {
		return session.Config{
			Member: member.Config{
				Zookeeper: zookeeper, Session: "real", Host: host,
				Timing: member.Timing{Poll: 50 * time.Millisecond, Status: 100 * time.Millisecond, Flush: 100 * time.Millisecond, StatsFlush: 100 * time.Millisecond},
			},
			Base: guard.Config{Path: base, VerifyPath: true}, MaxDelete: -1, Jobs: 3, Leader: leader.Config{Depth: 1},
			Destination: destination.Config{StartPort: zktest.Ports(t, 2), TempDir: dir, Slots: 3},
		}
	}
	s, err := Open(t.Context(), Config{Zookeeper: zookeeper, Web: "127.0.0.1:0"}) // all sessions
	if err != nil {
		t.Fatal(err)
	}
	s.feed.busy = 100 * time.Millisecond
	serve(t, s)
	b := newBrowser(t)
	b.size(1280, 900)
	b.open(s.URLs()[0])
	b.until("#empty", "There is no run of any session.")

	ctx, stop := context.WithCancelCause(context.Background())
	ended := make(chan error, 2)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop(errors.New("the test is over"))
	source := config("127.0.0.1", src)
	source.Rsync.Extra = []string{"bwlimit:60"} // some seconds for each
	clients.Go(func() { ended <- session.Source(ctx, source) })
	b.until("h1", "real")
	b.until("#destinations", "No destination is connected.")
	clients.Go(func() { ended <- session.Destination(ctx, config("127.0.0.2", dst)) })
	b.until(".state", "Running")
	for _, text := range []string{`<script>pwned=1<`, `"><img src=x onerror=pwned=1>`, `\xff\u202eodd\n`, "127.0.0.2:"} {
		b.until("#runs", text)
	}
	b.until("#sources", "3 of 3")
	b.until("#destinations", "active")
	b.soon("bytes are seen", func() bool { return b.text("#graphs b") != "0 B/s" })
	if got := b.value("typeof pwned"); got != "undefined" {
		t.Error("a name was run as a script")
	}
	if *shots != "" {
		b.photograph(filepath.Join(*shots, "real.png"))
	}
	var snapshot status.Snapshot
	_, body, _ := ask(t, "GET", s.URLs()[0]+"api/state")
	if err := json.Unmarshal([]byte(body), &snapshot); err != nil || snapshot.Session != "real" || len(snapshot.Runs) != 3 {
		t.Errorf("%v: %s", err, body)
	}
	_, body, _ = ask(t, "GET", s.URLs()[0]+"metrics")
	promtool(t, body, "check", "metrics")
	if !strings.Contains(body, `zkrsync_source_jobs_busy{host="127.0.0.1",session="real"} 3`) || strings.Contains(body, "pwned") {
		t.Error(body)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	b.until(".state", "The run is over")
	b.until("#failures", "No path has failed.")
	if got, _, _ := ask(t, "GET", s.URLs()[0]+"api/state"); got != 404 {
		t.Errorf("state of a session that is over: %d", got)
	}
}
