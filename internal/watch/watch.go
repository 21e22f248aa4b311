// SPDX-License-Identifier: LGPL-2.1-or-later

package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
)

// Config says what to watch, and where to show it.
type Config struct {
	Zookeeper zkclient.Config
	Session   string        // that is shown
	All       bool          // all are, in a list; Session is the one of a user who may not list them
	Every     time.Duration // between two looks; 0: two seconds

	// Steer pauses a session, or has it go on, and says what came of it.
	Steer func(ctx context.Context, session string, pause bool) string

	Stdin   *os.File
	Stdout  io.Writer
	Environ []string
}

// Run shows the session until the user has seen enough, or ctx ends, whose cause it returns; without a screen, until
// there is no run any more. It returns the state that was seen last; of several sessions the worst counts.
func Run(ctx context.Context, cfg Config) (status.State, error) {
	cfg.Every = cmp.Or(cfg.Every, 2*time.Second)
	f, err := newFeed(ctx, cfg)
	if err != nil {
		return status.None, err
	}
	defer f.close()
	if !cfg.hasScreen() {
		l := &lines{to: cfg.Stdout, name: cfg.All}
		err := f.follow(ctx, l.show)
		return l.state, cmp.Or(l.err, err)
	}
	return screen(ctx, cfg, f)
}

// hasScreen tells whether there is a terminal to draw on, and to take keys from.
func (cfg Config) hasScreen() bool {
	out, ok := cfg.Stdout.(*os.File)
	if !ok || cfg.Stdin == nil || !term.IsTerminal(int(out.Fd())) || !term.IsTerminal(int(cfg.Stdin.Fd())) {
		return false
	}
	for _, entry := range cfg.Environ {
		if kind, found := strings.CutPrefix(entry, "TERM="); found {
			return kind != "" && kind != "dumb"
		}
	}
	return false
}

func screen(ctx context.Context, cfg Config, f *feed) (status.State, error) {
	looking, stop := context.WithCancel(ctx)
	var program *tea.Program
	var tasks sync.WaitGroup
	m := newModel(f.session, strings.Join(cfg.Zookeeper.Servers, ","), f.choose, func(session string, pause bool) {
		tasks.Go(func() { program.Send(steered{session, cfg.Steer(looking, session, pause)}) })
	})
	program = tea.NewProgram(m, tea.WithInput(cfg.Stdin), tea.WithOutput(cfg.Stdout), tea.WithEnvironment(cfg.Environ), tea.WithoutSignalHandler())
	defer context.AfterFunc(ctx, program.Quit)()
	tasks.Go(func() {
		_ = f.follow(looking, func(l look) bool { program.Send(l); return true })
	})
	_, err := program.Run()
	stop()
	tasks.Wait()
	if ctx.Err() != nil {
		return m.state(), context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, tea.ErrInterrupted) {
		return m.state(), fmt.Errorf("cannot go on with the screen: %w", err)
	}
	return m.state(), nil
}

// lines writes what looks have found as lines.
type lines struct {
	to    io.Writer
	name  bool // of the session, too
	state status.State
	told  map[string]told
	away  bool
	err   error // of writing
}

// told is what was said of a session last.
type told struct {
	at       time.Time
	state    string
	master   string
	failures int
	sources  int
	dests    int
}

// same tells whether nothing has changed since.
func (t told) same(before told) bool {
	t.at = before.at
	return t == before
}

// aMinute is how often a line comes when nothing else is to be said.
const aMinute = time.Minute

func (l *lines) show(seen look) (more bool) {
	if seen.err != nil {
		if !l.away {
			l.print(seen.at, "ZooKeeper does not answer: "+seen.err.Error())
		}
		l.away = true
		return l.err == nil
	}
	if l.away {
		l.print(seen.at, "ZooKeeper answers again")
	}
	l.away = false
	running := map[string]told{}
	l.state = worst(seen.seen)
	for _, s := range seen.seen {
		before, known := l.told[s.Session]
		if s.State == status.None {
			continue
		}
		n := s.Count()
		now := told{seen.at, s.FormatState(), s.Master, s.Paths.Failed, n.Sources, n.Dests}
		if known && now.same(before) && seen.at.Sub(before.at) < aMinute {
			running[s.Session] = before
			continue
		}
		running[s.Session] = now
		l.print(seen.at, l.of(s.Session)+s.Line())
	}
	for name := range l.told {
		if _, still := running[name]; !still {
			l.print(seen.at, l.of(name)+"the run is over")
		}
	}
	if len(running) == 0 && len(l.told) == 0 {
		l.print(seen.at, "no active session")
	}
	l.told = running
	return len(running) > 0 && l.err == nil
}

// of is the beginning of a line about a session.
func (l *lines) of(session string) string {
	if !l.name {
		return ""
	}
	return wire.Text(session).String() + ": "
}

func (l *lines) print(at time.Time, text string) {
	if _, err := fmt.Fprintln(l.to, at.Format("15:04:05"), text); err != nil && l.err == nil {
		l.err = fmt.Errorf("cannot write: %w", err)
	}
}

// worst is the state of that session which needs somebody most.
func worst(seen []*status.Snapshot) status.State {
	order := []status.State{status.None, status.Running, status.Still, status.Leaderless}
	found := 0
	for _, s := range seen {
		found = max(found, slices.Index(order, s.State))
	}
	return order[found]
}
