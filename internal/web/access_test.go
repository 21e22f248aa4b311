// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

const token = "0123456789abcdef"

// Who is answered, and who is not.
func TestAccess(t *testing.T) {
	open, _ := standIn(t, Config{}, always(busyRun(time.Now())))
	asked := ""
	secret, _ := standIn(t, Config{Token: token, Steer: func(_ context.Context, session, option, value string) (string, error) {
		asked += session + " " + option + " " + value + ";"
		return "", nil
	}}, always(busyRun(time.Now())))
	secret.feed.latest(t.Context())
	right, wrong := "Authorization: Bearer "+token, "Authorization: Bearer "+token+"x"
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+token))
	for _, c := range []struct {
		server       *Server
		method, path string
		headers      []string
		want         int
	}{
		{open, "GET", "", nil, 200},
		{open, "HEAD", "", nil, 200},
		{open, "GET", "nothing", nil, 404},
		{open, "GET", "assets/page.html", nil, 404},
		{open, "GET", "style.css", nil, 200},
		{open, "GET", "api/state", []string{"Host: localhost"}, 200},
		{open, "GET", "api/state", []string{"Host: LOCALHOST.:80"}, 200},
		{open, "GET", "api/state", []string{"Host: 127.3.2.1:1"}, 200},
		{open, "GET", "api/state", []string{"Host: [::1]:8080"}, 200},
		// A name that was made to lead here.
		{open, "GET", "api/state", []string{"Host: evil.example.org"}, 421},
		{open, "GET", "api/state", []string{"Host: localhost.evil.example.org:8080"}, 421},
		{open, "GET", "api/state", []string{"Host: 127.0.0.1.evil.example.org"}, 421},
		{open, "GET", "", []string{"Host: 10.0.0.1"}, 421},
		{open, "GET", "metrics", []string{"Host: evil.example.org"}, 421},
		// Pages of others.
		{open, "GET", "api/state", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, 403},
		{open, "GET", "events", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, 403},
		{open, "GET", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{open, "GET", "", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200}, // a link
		{open, "GET", "api/state", []string{"Sec-Fetch-Site: same-origin"}, 200},
		{open, "GET", "api/state?session=home-2026", nil, 200},
		{open, "GET", "api/state?session=other", nil, 404},
		// Nothing can be asked for without a token.
		{open, "POST", "", nil, 405},
		{open, "POST", "steer?session=home-2026&do=pause", nil, 404},
		{secret, "GET", "", nil, 401},
		{secret, "GET", "style.css", nil, 401},
		{secret, "GET", "metrics", nil, 401},
		{secret, "GET", "api/state", []string{wrong}, 401},
		{secret, "GET", "api/state", []string{"Authorization: Bearer "}, 401},
		{secret, "GET", "api/state", []string{"Authorization: " + token}, 401},
		{secret, "GET", "api/state", []string{right}, 200},
		{secret, "GET", "api/state", []string{basic}, 200},
		{secret, "GET", "", []string{right, "Host: node1.example.org"}, 200},
		{secret, "POST", "steer?session=home-2026&do=pause", nil, 401},
		{secret, "POST", "steer?session=home-2026&do=stop", []string{right, "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		{secret, "POST", "steer?session=home-2026&do=stop", []string{right, "Origin: http://evil.example.org"}, 403},
		{secret, "GET", "steer?session=home-2026&do=stop", []string{right}, 405},
	} {
		got, body, head := ask(t, c.method, c.server.URLs()[0]+c.path, c.headers...)
		if got != c.want {
			t.Errorf("%s /%s %q: %d, want %d: %.100s", c.method, c.path, c.headers, got, c.want, body)
		}
		if !strings.Contains(head.Get("Content-Security-Policy"), "default-src 'none'") || head.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s /%s: the head is %v", c.method, c.path, head)
		}
		if asked := strings.Contains(head.Get("WWW-Authenticate"), "Basic"); asked != (got == 401) {
			t.Errorf("%s /%s: status %d, the head is %v", c.method, c.path, got, head)
		}
	}
	if asked != "" {
		t.Errorf("done without the right to: %s", asked)
	}
	var snapshot status.Snapshot
	_, body, _ := ask(t, "GET", open.URLs()[0]+"api/state")
	if err := json.Unmarshal([]byte(body), &snapshot); err != nil || snapshot.Runs[3].Path != hostile || snapshot.Paths.Queued != 184_312 {
		t.Errorf("%v, %.300s", err, body)
	}
	if _, body, _ := ask(t, "GET", open.URLs()[0]+"api/sessions"); strings.Join(strings.Fields(body), "") != `[{"session":"home-2026","state":"running"}]` {
		t.Error(body)
	}
}

// Addresses that others reach need a token, and an error says what is wrong.
func TestAddresses(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	at := taken.Listener.Addr().String()
	for _, c := range []struct {
		cfg   Config
		is    error
		words []string
	}{
		{Config{Web: "0.0.0.0:0"}, ErrWeb, []string{"--web=0.0.0.0:0 without --web-token-file"}},
		{Config{Web: ":0"}, ErrWeb, []string{"--web=:0 without --web-token-file"}},
		{Config{Web: "[::]:0"}, ErrWeb, []string{"without --web-token-file"}},
		{Config{Web: at}, ErrWeb, []string{at, "address already in use"}},
		{Config{Web: "8080"}, ErrWeb, []string{"--web=8080: ", "missing port"}},
		{Config{Web: "127.0.0.1:0", Token: "short"}, ErrToken, []string{"16 characters"}},
		{Config{Metrics: at}, ErrMetrics, []string{"--metrics=" + at}},
	} {
		if s, err := Open(t.Context(), c.cfg); !errors.Is(err, c.is) {
			t.Errorf("%+v: %v, %v", c.cfg, s, err)
		} else {
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%+v: %v, want %q", c.cfg, err, word)
				}
			}
		}
	}
	s, _ := standIn(t, Config{Web: "0.0.0.0:0", Token: token, Metrics: "0.0.0.0:0"}, always())
	if got, _, _ := ask(t, "GET", s.URLs()[1], "Host: node1.example.org"); got != 200 {
		t.Errorf("metrics: %d", got)
	}
	if got, _, _ := ask(t, "GET", strings.Replace(s.URLs()[1], "/metrics", "/", 1)); got != 404 {
		t.Errorf("beside the metrics: %d", got)
	}
}

// Those who follow the page share one reader, are bounded, and are let go at the end.
func TestFollowers(t *testing.T) {
	looks := 0 // the feed has one goroutine
	s, end := standIn(t, Config{}, func(context.Context) ([]*status.Snapshot, error) {
		looks++
		snapshot := busyRun(time.Now())
		snapshot.Paths.Completed = looks
		return []*status.Snapshot{snapshot}, nil
	})
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var streams []*bufio.Reader
	for range maxFollowers {
		answer, err := client.Get(s.URLs()[0] + "events")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status)
		}
		streams = append(streams, bufio.NewReader(answer.Body))
	}
	next := func(r *bufio.Reader) event {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				var e event
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
	}
	before := next(streams[0])
	for _, stream := range streams {
		next(stream)
	}
	for next(streams[0]) == before { // it goes on
	}
	if got, _, _ := ask(t, "GET", s.URLs()[0]+"events"); got != 503 {
		t.Errorf("one more: %d", got)
	}
	end()
	for _, stream := range streams {
		for {
			if _, err := stream.ReadByte(); err != nil {
				break
			}
		}
	}
	if looks > 1000 {
		t.Errorf("%d looks", looks)
	}
}

// While nobody looks, the feed rests; who comes gets what is true now.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		f := newFeed(func(context.Context) ([]*status.Snapshot, error) { looks.Add(1); return nil, nil })
		go f.run(t.Context())
		after := func(d time.Duration, want int64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := looks.Swap(0); n != want {
				t.Errorf("%d looks, want %d", n, want)
			}
		}
		after(time.Hour-time.Second, 240) // the first at once
		after(2*time.Second, 1)
		time.Sleep(5 * time.Second)
		if at := f.latest(t.Context()).at; !at.Equal(time.Now()) {
			t.Errorf("who comes sees what was true %v ago", time.Since(at))
		}
		f.latest(t.Context()) // this one shares it
		after(time.Second, 1)
		done, _ := f.follow(1)
		after(time.Minute, 30)
		done()
		after(time.Minute, 4) // of these, one that was still asked for
	})
}

// A ZooKeeper that is away is said; what was seen last stays, and comes back by itself.
func TestZookeeperAway(t *testing.T) {
	proxy := zktest.NewProxy(t, server.Addr())
	s, err := Open(t.Context(), Config{Zookeeper: zkclient.Config{Servers: []string{proxy.Addr()}, SessionTimeout: 2 * time.Second}, Session: "away", Web: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	s.feed.busy = 50 * time.Millisecond
	serve(t, s)
	state := func() int { got, _, _ := ask(t, "GET", s.URLs()[0]+"api/state"); return got }
	until := func(what string, want int) {
		t.Helper()
		for end := time.Now().Add(time.Minute); state() != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("in vain: %s", what)
			}
		}
	}
	until("it is read", 200)
	proxy.Cut()
	until("it is away", 503)
	if _, body, _ := ask(t, "GET", s.URLs()[0]); !strings.Contains(body, "ZooKeeper cannot be read.") {
		t.Error(body)
	}
	if _, body, _ := ask(t, "GET", s.URLs()[0]+"metrics"); !strings.Contains(body, "\nzkrsync_zookeeper_up 0\n") {
		t.Error(body)
	}
	proxy.Heal()
	until("it is back", 200)
}
