// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

// changed is busyRun with changes.
func changed(now time.Time, change func(*status.Snapshot)) *status.Snapshot {
	s := busyRun(now)
	change(s)
	return s
}

// one is a view of one session.
func one(at time.Time, s *status.Snapshot, over time.Time) view {
	return view{at: at, sessions: []seen{{name: s.Session, now: s, last: s, over: over, history: pastHour(at)}}}
}

// Each state of a run says what it is, can be read, and fits.
func TestStates(t *testing.T) {
	now := time.Now()
	young := &status.Snapshot{
		Time: now, Session: "home-2026", State: status.Still, Master: "node01.example.org:4711", Began: now.Add(-20 * time.Second), Phase: "walking", Walk: 1,
		Waits: []status.Wait{{For: wire.WaitClients, Since: now.Add(-15 * time.Second)}}, Paths: status.Paths{Queued: 12, Remaining: 12},
		Clients: []status.Client{{Who: "node01.example.org:4711", Role: wire.RoleSource, Program: status.Go, Master: true}},
	}
	long := changed(now, func(s *status.Snapshot) {
		for i := range 3000 {
			run := s.Runs[i%24]
			run.Path = wire.Text(fmt.Sprintf("0_/home/%d/%s", i, strings.Repeat("long/", 200)))
			s.Runs = append(s.Runs, run)
		}
		for i := range 400 {
			s.Clients = append(s.Clients, s.Clients[i%8])
			s.Failures = append(s.Failures, s.Failures[0])
		}
		s.FailuresLeft = 5000
	})
	b := newBrowser(t)
	for _, c := range []struct {
		name  string
		view  view
		query string
		says  map[string][]string // by selector
		never []string            // selectors of what is not there
	}{
		{"running", one(now, busyRun(now), time.Time{}), "", map[string][]string{
			"h1": {"home-2026"}, ".state": {"Running"}, ".facts": {"sending the tree", "1d03h", "master node01.example.org:4711"},
			"#progress":     {"~67 % (61 to 74)", "left", "174,098", "of 184,312 so far", "10,214", "311 in work", "12 vanished, 42 changed", "410 TB", "4.2 GB/s", "1,201"},
			"#graphs":       {"Bytes sent", "Files looked at", "60 min ago"},
			"#sources":      {"node02.example.org:4711", "7 of 8", "1.1 GB/s", "3.25", "Python", "master", "Input/output error"},
			"#destinations": {"paused for 12m00s", "the quota of the file set is used up", "11 of 12", "95 %", "44 TB"},
			"#runs":         {"24, the oldest first", "project-0/results", "and 9 more", `<script>pwned=1</script>\u202egnp.exe\n`, "38m48s"},
			"#failures":     {"3", "vsc40012/big", "Permission denied", "and 1 more"},
		}, []string{"#notes .note", "#steer", "nav", "#empty"}},
		{"still", one(now, changed(now, func(s *status.Snapshot) {
			s.State, s.Waits = status.Still, []status.Wait{{For: wire.WaitDestinations, Since: now.Add(-3 * time.Minute)}}
			s.Clients = slices.DeleteFunc(s.Clients, func(c status.Client) bool { return c.Dest != nil })
			s.Rates.Now, s.Runs, s.Failures, s.Paths.Failed, s.Estimate.Seconds = 0, nil, nil, 0, nil
		}), time.Time{}), "", map[string][]string{
			".state": {"Standing still"}, "#notes": {"Nothing goes on: no destination since "}, "#destinations": {"No destination is connected."},
			"#runs": {"Nothing is being sent."}, "#failures": {"No path has failed."}, ".left": {"no estimate"},
		}, nil},
		{"young", one(now, young, time.Time{}), "", map[string][]string{
			".state": {"Standing still"}, "#notes": {"no source and no destination since"}, ".percent": {"not known yet"}, "#sources": {"leads only"},
		}, nil},
		{"leaderless", one(now, changed(now, func(s *status.Snapshot) { s.State, s.Master = status.Leaderless, "" }), time.Time{}), "", map[string][]string{
			".state": {"No master"}, "#notes": {"Nobody is the master"},
		}, []string{"#notes .warn"}},
		{"paused", one(now, changed(now, func(s *status.Snapshot) {
			s.Control = status.Control{Paused: true, Skipped: []wire.Text{"vsc400/old", "<b>x</b>"}}
			s.Paths.Flushing, s.Paths.Skipped = 7, 2
		}), time.Time{}), "", map[string][]string{
			".state": {"Paused"}, "#notes": {"It is paused", "vsc400/old, <b>x</b>"}, "#progress": {"174,105", "7 to be flushed", "12 vanished, 42 changed, 2 skipped"},
		}, []string{"#notes .warn"}},
		{"over", one(now, busyRun(now), now), "", map[string][]string{
			".state": {"The run is over"}, "#progress": {"seen last", "174,098"}, "#failures": {"vsc40012/big"},
		}, []string{"#sources", "#runs", "#graphs", ".percent"}},
		{"none", view{at: now, sessions: []seen{{name: "home-2026", now: &status.Snapshot{Session: "home-2026"}}}}, "?session=home-2026", map[string][]string{
			"h1": {"home-2026"}, ".state": {"There is no run"}, "#empty": {"There is no run of the session home-2026."},
		}, []string{"#progress"}},
		{"nothing", view{at: now}, "", map[string][]string{"h1": {"zkrsync"}, "#empty": {"There is no run of any session."}}, nil},
		{"trouble", func() view {
			v := one(now, busyRun(now), time.Time{})
			v.err = errors.New("ZooKeeper has not answered for 5s")
			return v
		}(), "", map[string][]string{"#notes": {"ZooKeeper cannot be read.", "has not answered", "What follows is of"}, "#progress": {"174,098"}}, nil},
		{"several", func() view {
			v := one(now, busyRun(now), time.Time{})
			v.sessions = append(v.sessions, seen{name: "<b>odd & \u202eno", now: young, last: young}, seen{name: "old", over: now, last: young})
			return v
		}(), "?session=%3Cb%3Eodd%20%26%20%E2%80%AEno", map[string][]string{
			"h1": {`"<b>odd & \u202eno"`}, ".state": {"Standing still"}, "nav": {"home-2026", "old"}, "nav [aria-current]": {"<b>odd"},
		}, []string{"h1 b"}},
		{"long", one(now, long, time.Time{}), "", map[string][]string{
			"#runs": {"3,024", "and 2,924 more"}, "#sources": {"and 155 more"}, "#destinations": {"and 53 more"}, "#failures": {"and 5,302 more"},
		}, []string{"#runs tbody tr:nth-child(101)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := standIn(t, Config{}, func(ctx context.Context) ([]*status.Snapshot, error) { <-ctx.Done(); return nil, ctx.Err() })
			s.feed.mu.Lock()
			s.feed.now = c.view
			s.feed.busy = time.Hour // it is fresh
			s.feed.mu.Unlock()
			b.t = t
			b.size(1280, 900)
			b.open(s.URLs()[0] + c.query)
			b.soon("the page is followed", func() bool { return b.value("live.dataset.updates") == "1" })
			for selector, texts := range c.says {
				for _, text := range texts {
					if got := b.text(selector); !strings.Contains(got, text) {
						t.Errorf("%s does not say %q, but:\n%s", selector, text, got)
					}
				}
			}
			for _, selector := range c.never {
				if got := b.value(fmt.Sprintf("document.querySelectorAll(%q).length", selector)); got != "0" {
					t.Errorf("there is %s", selector)
				}
			}
			if got := b.value("typeof pwned"); got != "undefined" {
				t.Error("a name was run as a script")
			}
			if got := b.value("document.title"); !strings.HasSuffix(got, "zkrsync") {
				t.Errorf("title %q", got)
			}
			for _, scheme := range []string{"light", "dark"} {
				b.scheme(scheme)
				if got := b.value(pale); got != "" {
					t.Errorf("%s, hard to read:\n%s", scheme, got)
				}
				if *shots != "" {
					b.photograph(filepath.Join(*shots, c.name+"-"+scheme+".png"))
				}
			}
			if got := b.value(unlabelled); got != "" {
				t.Errorf("without a label:\n%s", got)
			}
			for _, width := range []int{1280, 390} {
				b.size(width, 900)
				if got := b.value("document.documentElement.scrollWidth"); got != fmt.Sprint(width) {
					t.Errorf("it is %s wide in a window of %d", got, width)
				}
			}
			if *shots != "" {
				b.photograph(filepath.Join(*shots, c.name+"-narrow.png"))
			}
		})
	}
}

// A part is never said to be more than it is.
func TestNothingIsRoundedUp(t *testing.T) {
	s, _ := standIn(t, Config{}, always(changed(time.Now(), func(s *status.Snapshot) {
		s.Estimate.Percent = status.Range{Low: 99.9, High: 99.9}
		s.Clients[6].Dest.Size, s.Clients[6].Dest.Free = 1000, 4
	})))
	_, body, _ := ask(t, "GET", s.URLs()[0])
	for _, text := range []string{`aria-valuenow="99"`, `</svg>99 %</td>`} {
		if !strings.Contains(body, text) {
			t.Errorf("the page has no %s", text)
		}
	}
}

// pale finds texts with less contrast than 4.5 to 1 (WCAG 2, AA).
const pale = `(() => {
	const rgb = (c) => c.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
	const bad = new Set();
	for (const e of document.querySelectorAll("body *:not(.unseen)")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
		const a = light(rgb(getComputedStyle(e).color)), b = light(behind(e));
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (contrast < 4.5) bad.add(e.tagName + "." + e.className + " " + e.textContent.slice(0, 30) + ": " + contrast.toFixed(2));
	}
	return [...bad].join("\n");
})()`

// unlabelled finds what a screen reader could only spell out: pictures, fields and regions without a name, header cells
// without a direction, more than one title.
const unlabelled = `(() => {
	const bad = [...document.querySelectorAll("svg:not([aria-hidden=true]):not([aria-label]), [role=region]:not([aria-label]), [tabindex]:not([aria-label]), input:not([id]), th:not([scope]), button:empty, a:empty")];
	for (const input of document.querySelectorAll("input[id]")) if (!document.querySelector("label[for=" + input.id + "]")) bad.push(input);
	if (document.querySelectorAll("h1").length !== 1 || !document.documentElement.lang || !document.querySelector("main")) bad.push(document.body);
	return bad.map((e) => e.outerHTML.slice(0, 100)).join("\n");
})()`

// An open page follows the run; it says when nobody answers any more, and goes on when somebody does.
func TestLivePage(t *testing.T) {
	var n atomic.Int64
	now := time.Now()
	look := func(context.Context) ([]*status.Snapshot, error) {
		return []*status.Snapshot{changed(now, func(s *status.Snapshot) {
			s.Paths.Working, s.Runs[0].Sent, s.Failures = int(n.Load()), n.Load(), s.Failures[:n.Load()%3]
		})}, nil
	}
	s, end := standIn(t, Config{}, look)
	b := newBrowser(t)
	b.size(390, 900)
	b.open(s.URLs()[0])
	b.until("#progress", "0 in work")
	// What somebody reads stays where it is.
	b.value("window.before = document.querySelector('#sources'); window.box = document.querySelector('#runs .scroll'); box.scrollLeft = 50; box.focus(); 0")
	n.Store(17)
	b.until("#progress", "17 in work")
	b.until("#failures", "locked")
	if got := b.value("document.querySelector('#sources') === before"); got != "true" {
		t.Error("what has not changed was written again")
	}
	b.soon("the runs are written again", func() bool { return b.value("box.isConnected") == "false" })
	if got := b.value("document.querySelector('#runs .scroll').scrollLeft + ' ' + (document.activeElement === document.querySelector('#runs .scroll'))"); got != "50 true" {
		t.Errorf("scrolled and focused: %s", got)
	}
	if got := b.value("lost.hidden"); got != "true" {
		t.Error("it says that it is lost")
	}
	end()
	b.soon("it says that nobody answers", func() bool { return b.value("lost.checkVisibility()") == "true" })
	n.Store(20)
	standIn(t, Config{Web: strings.TrimSuffix(strings.TrimPrefix(s.URLs()[0], "http://"), "/")}, look)
	b.until("#progress", "20 in work")
	if got := b.value("lost.hidden"); got != "true" {
		t.Error("it still says that it is lost")
	}
}

// A page that does not change is told so: its script knows that somebody is there.
func TestBeat(t *testing.T) {
	now, looks := time.Now(), 0 // the feed has one goroutine
	s, _ := standIn(t, Config{}, func(context.Context) ([]*status.Snapshot, error) {
		if looks++; looks > 1 { // then even the time of the page stays
			return nil, errors.New("away")
		}
		return []*status.Snapshot{busyRun(now)}, nil
	})
	b := newBrowser(t)
	b.open(s.URLs()[0])
	b.until("#notes", "ZooKeeper cannot be read.")
	b.value("window.later = heard = Date.now() + 1e9; 0") // so that it does not begin anew for want of beats
	b.soon("a beat is heard", func() bool { return b.value("heard < later") == "true" })
}

// With a token the page steers the run; what came of it is shown.
func TestSteering(t *testing.T) {
	asked := make(chan string, 10)
	var paused atomic.Bool
	s, _ := standIn(t, Config{Token: token, Steer: func(_ context.Context, session, option, value string) (string, error) {
		asked <- strings.TrimSpace(session + " " + option + " " + value)
		paused.Store(option == "pause")
		if option == "set" {
			return "", errors.New("cannot use <b>that</b>")
		}
		return "4 sources follow.\n", nil
	}}, func(context.Context) ([]*status.Snapshot, error) {
		return []*status.Snapshot{changed(time.Now(), func(s *status.Snapshot) { s.Control.Paused = paused.Load() })}, nil
	})
	b := newBrowser(t)
	b.size(1280, 900)
	page := strings.Replace(s.URLs()[0], "http://", "http://any:"+token+"@", 1)
	for _, c := range []struct{ has, before, press, want, says string }{
		{"Pause", "", "pause", "home-2026 pause", "4 sources follow."},
		{"Go on", "", "unpause", "home-2026 unpause", "4 sources follow."},
		{"Pause", "", "requeue", "home-2026 requeue failed", "4 sources follow."},
		{"Pause", "document.querySelector('#steer summary').click()", "stop", "home-2026 stop", "4 sources follow."},
		{"Pause", "document.querySelector('#rate').value = ' 200M'", "bwlimit", "home-2026 set bwlimit=200M", "cannot use <b>that</b>"},
	} {
		b.open(page)
		b.until("#steer", c.has)
		b.value(c.before + "; setTimeout(() => document.querySelector('#steer [value=" + c.press + "]').click()); 0")
		b.until("main", c.says)
		select {
		case got := <-asked:
			if got != c.want {
				t.Errorf("%s: %q", c.press, got)
			}
		default:
			t.Errorf("%s: nothing was asked for", c.press)
		}
	}
	b.value("setTimeout(() => document.querySelector('.back a').click()); 0")
	b.until("#steer", "Pause")
	if *shots != "" {
		b.photograph(filepath.Join(*shots, "steer.png"))
	}
}

// What a history keeps, and what a run leaves that is over.
func TestView(t *testing.T) {
	now := time.Now().Truncate(grain)
	run := func(began time.Time, rate int64) *status.Snapshot {
		return &status.Snapshot{Session: "a", State: status.Running, Began: began, Rates: status.Rates{Now: rate}}
	}
	var v view
	for i := range 500 { // 83 minutes
		at := now.Add(time.Duration(i) * grain)
		v = v.next(at, []*status.Snapshot{run(now, 100)}, nil)
		v = v.next(at.Add(grain/2), []*status.Snapshot{run(now, 200)}, nil)
	}
	s := v.sessions[0]
	if n := len(s.history); n < 360 || n > 361 || s.history[17].bytes != 150 || s.history[17].looks != 2 {
		t.Errorf("%d points, %+v", n, s.history[17])
	}
	end := now.Add(500 * grain)
	v = v.next(end, []*status.Snapshot{{Session: "a", State: status.None}}, nil)
	if s := v.sessions[0]; s.state() != "over" || !s.over.Equal(end) || s.last.Rates.Now != 200 {
		t.Errorf("%+v", s)
	}
	failed := v.next(end, nil, errors.New("away"))
	if failed.err == nil || !failed.at.Equal(v.at) || len(failed.sessions) != 1 {
		t.Errorf("%+v", failed)
	}
	v = v.next(end.Add(time.Hour), []*status.Snapshot{run(end, 1)}, nil) // the next run
	if s := v.sessions[0]; s.state() != "running" || len(s.history) != 1 {
		t.Errorf("%+v", s)
	}
	v = v.next(end.Add(2*time.Hour), nil, nil) // all sessions are shown, and this one has gone
	if s := v.sessions[0]; s.state() != "over" || s.now != nil {
		t.Errorf("%+v", s)
	}
}

// Of the sessions that are over, those stay that ended last.
func TestOverLast(t *testing.T) {
	now := time.Now()
	var all []*status.Snapshot
	for i := range 2 * maxOver {
		all = append(all, &status.Snapshot{Session: fmt.Sprintf("%02d", i), State: status.Running})
	}
	v := view{}.next(now, all, nil)
	for len(all) > 0 { // each second one ends
		now, all = now.Add(time.Second), all[1:]
		v = v.next(now, all, nil)
	}
	if n := len(v.sessions); n != maxOver || v.sessions[0].name != "20" || v.sessions[n-1].name != "39" {
		t.Errorf("%d, the first is %s", n, v.sessions[0].name)
	}
}

// A graph has a line for each time in which somebody has looked, within its box.
func TestGraph(t *testing.T) {
	now := time.Now()
	g := draw("x", pastHour(now), now, func(p point) float64 { return p.bytes }, status.FormatRate[float64])
	if strings.Count(g.Line, "M") != 2 || strings.Count(g.Area, "Z") != 2 || g.Max != "5.0 GB/s" || g.Span != "60 min" || strings.Contains(g.Line, "NaN") {
		t.Errorf("%+v", g)
	}
	g = draw("x", pastHour(now)[300:], now, func(p point) float64 { return 0 }, status.FormatRate[float64])
	if g.Max != "1 B/s" || g.Span != "15 min" || strings.Contains(g.Line, "NaN") {
		t.Errorf("%+v", g)
	}
	if g = draw("x", nil, now, func(p point) float64 { return 0 }, status.FormatRate[float64]); g.Line != "" || g.Now != "0 B/s" {
		t.Errorf("%+v", g)
	}
	for v, want := range map[float64]float64{0: 1, 1: 1, 1.1: 2, 2.1: 5, 5.1: 10, 999: 1000, 4.4e9: 5e9} {
		if got := nice(v); got != want {
			t.Errorf("%v: %v", v, got)
		}
	}
}
