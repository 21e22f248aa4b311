// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"errors"
	"flag"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

var update = flag.Bool("update", false, "write the screens that the tests see into testdata")

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// aRun is a session with a bit of everything.
func aRun(now time.Time) *status.Snapshot {
	load := 3.2
	clients := []status.Client{
		{Who: "io1.example.org:4127", Role: wire.RoleSource, Program: status.Go, Master: true, Host: "io1", Version: "1.4", Since: now.Add(-5 * time.Hour), Load: &load, Base: "/home"},
		{Who: "io2.example.org:388", Role: wire.RoleSource, Program: status.Go, Host: "io2", Version: "1.4", Since: now.Add(-5 * time.Hour), Load: &load, Base: "/home",
			Source: &status.Source{Jobs: 8, Busy: 3, Sent: 812_000_000_000, Rate: 210_000_000}},
		{Who: "io3.example.org:501", Role: wire.RoleSource, Program: status.Go, Host: "io3", Version: "1.4", Since: now.Add(-72 * time.Minute), Load: &load, Base: "/home",
			Source:  &status.Source{Jobs: 8, Busy: 2, Sent: 98_000_000_000, Rate: 94_300_000},
			Warning: &status.Warning{Time: now.Add(-3 * time.Minute), Text: "cannot reach new2.example.org:4444: no route to host"}},
		{Who: "old1.example.org:77", Role: wire.RoleSource, Program: status.Python, Source: &status.Source{Jobs: 1, Busy: 1}},
		{Who: "new1.example.org:911", Role: wire.RoleDestination, Program: status.Go, Host: "new1", Version: "1.4", Since: now.Add(-5 * time.Hour), Load: &load, Base: "/new/home",
			Dest: &status.Destination{Slots: 8, Busy: 5, State: wire.Active, Rate: 304_300_000, Size: 400e12, Free: 133e12, Inodes: 1e9, FreeInodes: 8e8}},
		{Who: "new2.example.org:912", Role: wire.RoleDestination, Program: status.Go, Host: "new2", Version: "1.4", Since: now.Add(-5 * time.Hour), Load: &load, Base: "/new/home",
			Dest: &status.Destination{Slots: 8, State: wire.Paused, Why: "its base /new/home is not there", Since: now.Add(-4 * time.Minute), Size: 400e12, Free: 2e12, Inodes: 1e9, FreeInodes: 8e8}},
		{Who: "old2.example.org:4444", Role: wire.RoleDestination, Program: status.Python, Dest: &status.Destination{Slots: 1, Busy: 1, State: wire.Active}},
	}
	run := func(path wire.Text, paths int, source, dest string, ago time.Duration, attempt int, sent, rate int64) status.Run {
		return status.Run{Path: path, Paths: paths, Source: source, Destination: dest, Began: now.Add(-ago), Attempt: attempt, Sent: sent, Rate: rate}
	}
	io2, io3, new1 := clients[1].Who, clients[2].Who, clients[4].Who
	return &status.Snapshot{
		Format: 1, Time: now, Session: "home-2026", State: status.Running, Master: clients[0].Who, Began: now.Add(-5 * time.Hour), Phase: "walking", Walk: 1,
		Paths:    status.Paths{Queued: 30000, Remaining: 17655, Working: 41, Completed: 12340, Failed: 3, Vanished: 2},
		Totals:   status.Totals{Files: 1_234_567, TransferredFiles: 301_111, Bytes: 3_400_000_000_000, Sent: 910_000_000_000, Deleted: 12},
		Rates:    status.Rates{Now: 304_300_000, Over: 300, Paths: 2.4, Bytes: 281_000_000},
		Estimate: status.Estimate{By: status.ByPaths, Guess: true, Percent: status.Range{Low: 38.2, High: 47}, Seconds: &status.Range{Low: 9000, High: 14520}},
		Clients:  clients,
		Runs: []status.Run{
			run("projects/2019/simulation-of-a-very-large-thing/output/run-0017/checkpoints", 1, io2, new1, 133*time.Minute, 2, 412_000_000_000, 150_000_000),
			run("users/vsc40001/データ/実験結果/とても長い名前のディレクトリ/二〇二六年/五月", 1, io3, new1, 41*time.Minute, 1, 61_000_000_000, 94_300_000),
			run("scratch/evil\x1b[2J\nname", 1, io2, new1, 12*time.Minute, 1, 9_000_000_000, 60_000_000),
			run("users/vsc40002", 1, clients[3].Who, clients[6].Who, 80*time.Second, 0, 0, 0),
			run("users/vsc40003/mail", 212, io2, new1, 4*time.Second, 1, 13_000_000, 0),
			run("users/vsc40017", 1, io3, new1, time.Second, 1, 0, 0),
		},
		Failures: []status.Failure{
			{Path: "users/vsc40009/private", Errors: []wire.Text{`rsync: [sender] opendir "/home/users/vsc40009/private" failed: Permission denied (13)`, "rsync error: some files/attrs were not transferred (code 23)"}},
			{Path: "users/vsc40011/\xff\xfe", Errors: []wire.Text{"rsync: [receiver] mkstemp failed: \x1b]0;owned\x07 Disk quota exceeded (122)"}},
			{Path: "users/vsc40012"},
		},
		FailuresLeft: 0,
	}
}

// stage is a model on a screen of some size.
type stage struct {
	t *testing.T
	*model
	chosen  []string
	steered []bool
}

func onStage(t *testing.T, session string, width, height int) *stage {
	s := &stage{t: t}
	s.model = newModel(session, "zk1,zk2,zk3", func(name string) { s.chosen = append(s.chosen, name) }, func(_ string, pause bool) { s.steered = append(s.steered, pause) })
	s.send(tea.WindowSizeMsg{Width: width, Height: height})
	s.send(tick(noon))
	return s
}

func (s *stage) send(msg tea.Msg) tea.Cmd {
	_, cmd := s.Update(msg)
	return cmd
}

func (s *stage) see(at time.Time, seen ...*status.Snapshot) {
	s.send(look{at: at, session: s.session, seen: seen})
	s.send(tick(at))
}

// watched is a model that has seen a run for five minutes.
func watched(t *testing.T, width, height int) *stage {
	s := onStage(t, "home-2026", width, height)
	for at := noon.Add(-5 * time.Minute); !at.After(noon); at = at.Add(2 * time.Second) {
		snapshot := aRun(at)
		step := int64(at.Sub(noon)/time.Second) + 300
		snapshot.Rates.Now = 100_000_000 + step*680_000
		if step > 120 && step < 150 {
			snapshot.Rates.Now = 0
		}
		s.see(at, snapshot)
	}
	return s
}

// keys presses keys by their names.
func (s *stage) press(names ...string) (cmd tea.Cmd) {
	special := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "down": tea.KeyDown, "up": tea.KeyUp, "pgdown": tea.KeyPgDown, "end": tea.KeyEnd, "backspace": tea.KeyBackspace}
	for _, name := range names {
		msg := tea.KeyPressMsg{Text: name, Code: []rune(name)[0]}
		if code, ok := special[name]; ok {
			msg = tea.KeyPressMsg{Code: code}
		}
		if name == "space" {
			msg = tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
		}
		cmd = s.send(msg)
	}
	return cmd
}

// screen is what is seen, without colours, and checked for what no screen may have.
func (s *stage) screen() string {
	s.t.Helper()
	content := s.View().Content
	lines := strings.Split(content, "\n")
	if len(lines) > s.height {
		s.t.Errorf("%d lines on %d", len(lines), s.height)
	}
	for i, line := range lines {
		plain := ansi.Strip(line)
		if wide := ansi.StringWidth(line); wide > s.width {
			s.t.Errorf("line %d has %d columns of %d: %q", i, wide, s.width, plain)
		}
		if strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
			s.t.Errorf("line %d has control characters: %q", i, plain)
		}
		lines[i] = strings.TrimRight(plain, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// golden compares the screen with the one in testdata.
func (s *stage) golden(name string) {
	s.t.Helper()
	got := s.screen()
	file := filepath.Join("testdata", fmt.Sprintf("%s-%dx%d.txt", name, s.width, s.height))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		s.t.Errorf("the screen is not that of %s (go test -update writes it):\n%s", file, diff)
	}
}

// has fails the test unless the screen has all of these, in this order.
func (s *stage) has(texts ...string) {
	s.t.Helper()
	rest := s.screen()
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !found {
			s.t.Fatalf("%q is not there, or not behind what is before it:\n%s", text, s.screen())
		}
		rest = after
	}
}

var sizes = [][2]int{{80, 24}, {120, 40}}

func TestScreens(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			s := watched(t, size[0], size[1])
			s.golden("running")
			s.press("3")
			s.golden("destinations")
			s.press("4", "enter")
			s.golden("failure")
			s.press("esc", "?")
			s.golden("help")
		})
	}
}

var errAway = errors.New("no answer")

// What a run is like is said in words, with the reason and since when.
func TestStates(t *testing.T) {
	s := onStage(t, "home-2026", 80, 24)
	s.has("home-2026", "looking…")
	s.see(noon, &status.Snapshot{Time: noon, Session: "home-2026", State: status.None})
	s.has("no active session; waiting for one")

	run := aRun(noon)
	s.see(noon, run)
	s.has("running, sending the tree, since 07:00:00 (5h00m)", "~42 % (38 to 47)", "~3h16m (2h30m to 4h02m) left")

	still := aRun(noon)
	still.State, still.Waits = status.Still, []status.Wait{{For: wire.WaitDestinations, Since: noon.Add(-3 * time.Minute)}}
	still.Estimate.Seconds = nil
	s.see(noon, still)
	s.has("standing still: no destination since 11:57:00")

	orphan := aRun(noon)
	orphan.State, orphan.Master = status.Leaderless, ""
	s.see(noon, orphan)
	s.has("no master: nobody keeps the account")

	s.send(look{at: noon.Add(8 * time.Second), session: "home-2026", err: errAway})
	s.send(tick(noon.Add(65 * time.Second)))
	s.has("ZooKeeper does not answer; this is as of 12:00:00, 1m05s ago", "12,345 of 30,000")
	s.see(noon.Add(70*time.Second), run)
	s.has("● running")
	// a look that hangs says nothing
	s.send(tick(noon.Add(90 * time.Second)))
	s.has("ZooKeeper does not answer; this is as of 12:01:10, 20s ago")

	s.see(noon.Add(95*time.Second), &status.Snapshot{Time: noon, Session: "home-2026", State: status.None})
	s.has("the run is over since 12:01:35; this is what was seen last", "12,345 of 30,000")
	if got := s.state(); got != status.None {
		t.Errorf("the state is %s", got)
	}
	s.see(noon.Add(100*time.Second), run)
	s.has("● running")
	if got := s.state(); got != status.Running {
		t.Errorf("the state is %s", got)
	}
	if n := len(s.history.samples); n != 1 {
		t.Errorf("%d samples of another run are kept", n-1)
	}
}

// Under a Python master little is known, and nothing is made up.
func TestPythonMaster(t *testing.T) {
	s := onStage(t, "old", 80, 24)
	s.see(noon, &status.Snapshot{
		Time: noon, Session: "old", State: status.Running, Master: "io1:1", Paths: status.Paths{Queued: 10, Remaining: 4},
		Clients: []status.Client{
			{Who: "io1:1", Program: status.Python, Role: wire.RoleSource, Master: true},
			{Who: "new1:1", Program: status.Python, Role: wire.RoleDestination, Dest: &status.Destination{Slots: 1}},
			{Who: "io9:1", Program: status.Go},
		},
	})
	s.press("3")
	s.has("● running\n", "how far it is nobody can say yet\n", "6 of 10", "io1 ", "master; Python", "has just come", "new1", "has not offered itself yet")
	s.press("enter")
	s.has("Program      Python")
}

func TestKeys(t *testing.T) {
	s := watched(t, 80, 24)
	if s.press("q") == nil {
		t.Error("q does not quit")
	}
	s.press("tab")
	s.has("━ 2 Sources")
	s.press("1", "s") // by the first column: the oldest first
	s.has("FOR▼", "2h13m", "41m00s")
	s.press("r")
	s.has("FOR▲", "1s", "4s", "1m20s")
	s.press("s", "s", "s", "s", "s", "s", "s", "r") // back to the order of the snapshot
	s.has("   FOR  PATH ", "2h13m")

	// the cursor stays on its path when others end and come
	s.press("down", "down", "down")
	on := func() wire.Text { p := s.panels[runsPanel].(*part[status.Run]); return p.rows[p.cursor].Path }
	if on() != "users/vsc40002" {
		t.Fatalf("on %s", on())
	}
	fewer := aRun(noon)
	fewer.Runs = fewer.Runs[1:]
	s.see(noon, fewer)
	if on() != "users/vsc40002" {
		t.Errorf("on %s", on())
	}
	s.press("enter")
	s.has("Path         users/vsc40002", "Source       old1.example.org:77", "Destination  old2.example.org:4444", "Began        11:58:40, for 1m20s")
	later := aRun(noon.Add(time.Minute))
	later.Runs[3].Began = noon.Add(-80 * time.Second)
	s.see(noon.Add(time.Minute), later)
	s.has("Path         users/vsc40002", "for 2m20s")
	later.Runs = later.Runs[:3]
	s.see(noon.Add(time.Minute), later)
	s.has("Path         users/vsc40002", "for 2m20s", "it is no longer there")
	s.see(noon, fewer)
	s.press("esc", "end")
	if on() != "users/vsc40017" {
		t.Errorf("on %s", on())
	}

	s.press("/", "N", "e", "w", "x", "backspace", "2", "enter")
	s.has("━ 1 Running paths 0 of 5 match", "Sources 1 of 4 match", "io3", "Destinations 1 of 3 match", "new2", "filter: New2")
	s.press("esc")
	s.has("━ 1 Running paths 5 ")

	s.press("space")
	s.see(noon.Add(time.Minute), aRun(noon))
	s.has("held at 12:00:00", "Running paths 5 ")
	s.press("space")
	s.has("● running", "Running paths 6 ")

	s.press("?")
	s.has("next panel", "sorted by this column")
	s.press("?")
	s.has("Running paths 6 ")
	s.press("esc")
	if len(s.chosen) > 0 || s.session == "" {
		t.Error("there is a list, of one who has named the session")
	}
}

// Of what is free no more is said than there is.
func TestFree(t *testing.T) {
	for n, want := range map[uint64]string{0: "0%", 4: "<1%", 999: "99%", 1000: "100%"} {
		if got := free(n, 1000, false); got != want {
			t.Errorf("%d of 1000: %s, want %s", n, got, want)
		}
	}
}

// A view that is held before anything was seen is held at the first snapshot.
func TestHoldAtOnce(t *testing.T) {
	s := onStage(t, "home-2026", 80, 24)
	s.press("space")
	s.has("looking…")
	s.see(noon, aRun(noon))
	s.has("held at 12:00:00", "Running paths 6 ")
}

// The session is paused, or goes on, only if that is confirmed.
func TestPause(t *testing.T) {
	s := watched(t, 80, 24)
	s.press("p")
	s.has("Pause the session for all?")
	s.press("n")
	s.has("Tab next panel")
	if len(s.steered) > 0 {
		t.Error("it was paused, not confirmed")
	}
	s.press("p", "y")
	s.has("asking the sources…")
	s.send(steered{"other", "no"})
	s.send(steered{"home-2026", "Paused; 3 sources follow."})
	s.has("Paused; 3 sources follow.")
	paused := aRun(noon)
	paused.Control.Paused = true
	s.see(noon, paused)
	s.has("● paused, as was asked for")
	s.press("p")
	s.has("Have the session go on?")
	s.press("y")
	if fmt.Sprint(s.steered) != "[true false]" {
		t.Errorf("it was asked for %v", s.steered)
	}
	s.see(noon, &status.Snapshot{Session: "home-2026", State: status.None})
	s.press("p")
	s.has("there is nothing to pause")
}

// Without a session there is a list to choose from, and to come back to.
func TestSessions(t *testing.T) {
	s := onStage(t, "", 80, 24)
	s.see(noon)
	s.has("Sessions at zk1,zk2,zk3", "no active session")
	other := aRun(noon)
	other.Session, other.State, other.Waits = "scratch", status.Still, []status.Wait{{For: wire.WaitSources}}
	s.see(noon, aRun(noon), other)
	s.golden("sessions")
	s.press("down", "enter")
	if s.session != "scratch" || len(s.chosen) != 1 || s.chosen[0] != "scratch" {
		t.Fatalf("chosen are %q", s.chosen)
	}
	s.send(look{at: noon, seen: []*status.Snapshot{aRun(noon)}}) // of the list; it was on its way
	s.has("scratch", "looking…")
	s.see(noon, other)
	s.has("standing still: no source", "Esc list")
	s.press("esc")
	s.see(noon, other)
	s.has("Sessions at", "scratch")
	s.press("/", "z", "enter", "enter")
	if s.session != "" {
		t.Error("a session was chosen that the filter leaves out")
	}
}

// No screen is too small, and none too large.
func TestEverySize(t *testing.T) {
	s := watched(t, 80, 24)
	for _, prepare := range []func(){
		func() {},
		func() { s.press("4", "enter") },
		func() { s.press("esc", "?") },
		func() { s.press("esc", "/", "f") },
	} {
		prepare()
		for height := 1; height < 70; height += 1 + height/12 {
			for width := 1; width < 230; width += 1 + width/9 {
				s.send(tea.WindowSizeMsg{Width: width, Height: height})
				s.screen()
				if t.Failed() {
					t.Fatalf("at %dx%d", width, height)
				}
			}
		}
	}
	s.send(tea.WindowSizeMsg{Width: 59, Height: 24})
	s.has("59x24 is too small, this needs 60x14; q quits")
}

// Of thousands of rows only those are made that are seen.
func TestManyRows(t *testing.T) {
	s := onStage(t, "home-2026", 80, 24)
	big := aRun(noon)
	for i := range 20_000 {
		big.Runs = append(big.Runs, status.Run{Path: wire.Text(fmt.Sprintf("dir/%05d", i)), Paths: 1, Source: big.Clients[1].Who, Destination: big.Clients[4].Who, Began: noon})
	}
	for i := range 500 {
		big.Clients = append(big.Clients, status.Client{Who: fmt.Sprintf("node%03d.example.org:1", i), Role: wire.RoleSource, Program: status.Go, Source: &status.Source{Jobs: 4}})
	}
	made := 0
	p := s.panels[runsPanel].(*part[status.Run])
	cell := p.columns[1].cell
	p.columns[1].cell = func(r status.Run) string { made++; return cell(r) }
	s.see(noon, big)
	s.has("Running paths 20,006", "Sources 504")
	if made > 24 {
		t.Errorf("%d rows are made for 24 lines", made)
	}
	s.press("end")
	s.has("dir/19999")
	s.press("up", "up")
	s.has("dir/19999") // the view does not move before the cursor is at its edge
	s.press("g")
	s.has("2h13m")
}

// Both grounds have colours of their own, and no colour says what words do not say.
func TestColours(t *testing.T) {
	s := watched(t, 80, 24)
	dark, words := s.View().Content, s.screen()
	s.send(tea.BackgroundColorMsg{Color: color.White})
	if light := s.View().Content; light == dark {
		t.Error("a light ground changes nothing")
	}
	if s.screen() != words {
		t.Error("the words are others on a light ground")
	}
}
