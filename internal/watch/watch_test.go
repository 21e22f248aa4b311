// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// server serves all tests of the package.
var server *zktest.Server

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(zktest.Main(m, &server))
}

// Without a screen a line comes when something has changed, or a minute has passed.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	l := &lines{to: &out}
	show := func(at time.Duration, s *status.Snapshot) bool {
		return l.show(look{at: noon.Add(at), session: "home-2026", seen: []*status.Snapshot{s}})
	}
	none := &status.Snapshot{Session: "home-2026", State: status.None}
	still := aRun(noon)
	still.State, still.Waits = status.Still, []status.Wait{{For: wire.WaitBytes, Since: noon}}
	for i, ok := range []bool{
		show(0, aRun(noon)),
		show(30*time.Second, aRun(noon)), // nothing new
		show(61*time.Second, aRun(noon)),
		show(63*time.Second, still),
		l.show(look{at: noon.Add(70 * time.Second), err: errAway}),
		l.show(look{at: noon.Add(80 * time.Second), err: errAway}),
		show(90*time.Second, aRun(noon)),
		!show(95*time.Second, none),
	} {
		if !ok {
			t.Errorf("look %d: it goes on where it should not, or the other way round", i)
		}
	}
	run := "~42 % (38 to 47), 12,345 of 30,000 paths, 1,234,567 files, 910 GB, 304 MB/s, 5h00m, ~3h16m (2h30m to 4h02m) left, 3 sources, 6 of 17 slots, 3 failed\n"
	want := "12:00:00 " + run + "12:01:01 " + run + "12:01:03 " + strings.TrimSuffix(run, "\n") + ", standing still: nothing moves since 12:00:00\n" +
		"12:01:10 ZooKeeper does not answer: no answer\n12:01:30 ZooKeeper answers again\n12:01:30 " + run + "12:01:35 the run is over\n"
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	if l.state != status.None {
		t.Errorf("the state is %s", l.state)
	}

	out.Reset()
	l = &lines{to: &out, name: true}
	if l.show(look{at: noon}) || out.String() != "12:00:00 no active session\n" {
		t.Errorf("of no session: %s", out.String())
	}
	out.Reset()
	l.show(look{at: noon, seen: []*status.Snapshot{aRun(noon), none}})
	if !strings.HasPrefix(out.String(), "12:00:00 home-2026: ~42 %") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("of two sessions: %s", out.String())
	}
	out.Reset()
	odd := aRun(noon)
	odd.Session = "\x1b[2Jx"
	l.show(look{at: noon, seen: []*status.Snapshot{odd}})
	if strings.ContainsRune(out.String(), 0x1b) || strings.Count(out.String(), "[2Jx") != 1 {
		t.Errorf("of one with an odd name: %q", out.String())
	}

	l = &lines{to: brokenPipe{}}
	if l.show(look{at: noon, seen: []*status.Snapshot{aRun(noon)}}) || l.err == nil {
		t.Error("it goes on although nobody reads")
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// Of all sessions those are seen that the user may read.
func TestFeedOfOthers(t *testing.T) {
	zktest.Foreign(t, server.Addr(), "/others/admin/rsync/mine/watch/ready", "/others/admin/rsync/theirs/watch/ready", "/others/admin/rsync/theirs/lock")
	f, err := newFeed(t.Context(), Config{Zookeeper: zkclient.Config{Servers: []string{server.Addr() + "/others"}, User: "root", Password: "admin"}, All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if l := f.look(t.Context()); l.err != nil || len(l.seen) != 1 || l.seen[0].Session != "mine" {
		t.Errorf("%+v", l)
	}
	f.choose("theirs")
	if l := f.look(t.Context()); !errors.Is(l.err, zkclient.ErrNoAuth) {
		t.Errorf("one that nobody may read: %+v", l)
	}
}

// A look without ZooKeeper says so, and the next one that is answered is as any other. Asking for another session
// has one come at once.
func TestFeedWithoutZookeeper(t *testing.T) {
	proxy := zktest.NewProxy(t, server.Addr())
	cfg := Config{
		Zookeeper: zkclient.Config{Servers: []string{proxy.Addr()}, User: "root", Password: "admin", SessionTimeout: 2 * time.Second, ConnectTimeout: 2 * time.Second},
		All:       true, Every: 50 * time.Millisecond,
	}
	f, err := newFeed(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var seen []string
	err = f.follow(ctx, func(l look) bool {
		what := "answered " + l.session
		if l.err != nil {
			what = "away"
		}
		if len(seen) > 0 && seen[len(seen)-1] == what {
			return true
		}
		switch seen = append(seen, what); len(seen) {
		case 1:
			proxy.Cut()
		case 2:
			proxy.Heal()
		case 3:
			f.choose("home")
		case 4:
			if len(l.seen) != 1 || l.seen[0].State != status.None {
				t.Errorf("of a session that there is not: %+v", l.seen)
			}
			return false
		}
		return true
	})
	if got := strings.Join(seen, ", "); err != nil || got != "answered , away, answered , answered home" {
		t.Errorf("%v: %s", err, got)
	}
}
