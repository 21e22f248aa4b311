// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"vsc-zk/internal/level"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/watch"
	"vsc-zk/internal/zkclient"
)

// stateFound is the exit status that tells what --state or --watch has found, and has said.
type stateFound struct{ status int }

func (s *stateFound) Error() string { return fmt.Sprintf("the state has exit status %d", s.status) }

// statuses of --state and --watch, of several sessions the highest counts: a run that needs somebody, rather than none.
var statuses = map[status.State]int{status.Running: 0, status.None: exitNoSession, status.Still: exitStill, status.Leaderless: exitLeaderless}

// answer has the state of the session logged each time somebody asks, until end is called.
func (o *options) answer(ctx context.Context, cfg session.Config) (end func()) {
	log := cfg.Member.Logger
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			select {
			case <-o.asked:
			case <-ctx.Done():
				return
			}
			text, err := stateText(ctx, cfg, o.session)
			if err != nil {
				text = err.Error()
			}
			if ctx.Err() == nil {
				log.Log(ctx, level.Notice, "The state, as a signal has asked for it: "+strings.TrimSpace(text), "event", "state")
			}
		}
	})
	return func() { cancel(); answering.Wait() }
}

// stateText is what --state prints of a session.
func stateText(ctx context.Context, cfg session.Config, name string) (string, error) {
	zk, err := zkclient.Connect(ctx, cfg.Member.Zookeeper)
	if err != nil {
		return "", err
	}
	defer zk.Close()
	s, err := status.Read(ctx, zk, name)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = s.Text(&text)
	return text.String(), err
}

// showState shows how far the session is, or all sessions of which there is a run if none is named.
func (o *options) showState(ctx context.Context, cfg session.Config, stdout io.Writer) error {
	log := cfg.Member.Logger.With("logger", "RsyncSource")
	zookeeper := cfg.Member.Zookeeper
	zookeeper.Logger = cfg.Member.Logger.With("logger", "zkclient")
	zk, err := zkclient.Connect(ctx, zookeeper)
	if err != nil {
		return err
	}
	defer zk.Close()
	readers, name := status.NewReaders(zk), o.session
	if o.allSessions {
		name = ""
	}
	seen, err := readers.Read(ctx, name)
	if o.allSessions && (err == nil && len(seen) == 0 || errors.Is(err, zkclient.ErrNoAuth)) { // then it is the one with the default name
		seen, err = readers.Read(ctx, o.session)
	}
	if err != nil {
		return err
	}
	found := 0
	for i, s := range seen {
		code := statuses[s.State]
		found = max(found, code)
		if log.Info(s.Headline(), "remaining", s.Paths.Remaining, "failed", s.Paths.Failed, "status", code); o.stateForm == "json" {
			err = s.JSON(stdout)
		} else {
			if i > 0 {
				fmt.Fprintln(stdout)
			}
			err = s.Text(stdout)
		}
		if err != nil {
			return fmt.Errorf("cannot show the state: %w", err)
		}
	}
	if found > 0 {
		return &stateFound{found}
	}
	return nil
}

// showWatch shows a session while it goes on, or the list of all if none is named.
func (o *options) showWatch(ctx context.Context, cfg session.Config, environ []string, stdout io.Writer) error {
	cfg.Member.Logger = slog.New(slog.DiscardHandler) // the screen is taken
	state, err := watch.Run(ctx, watch.Config{
		Steer: func(ctx context.Context, name string, pause bool) string {
			cfg := cfg // the last one may still be under way
			cfg.Member.Session = name
			answer, err := session.Steer(ctx, cfg, session.Order{Pause: pause, Unpause: !pause})
			return steered(answer, pause, err)
		},
		Zookeeper: cfg.Member.Zookeeper, Session: o.session, All: o.allSessions, Stdin: os.Stdin, Stdout: stdout, Environ: environ,
	})
	if code := statuses[state]; err == nil && code > 0 {
		err = &stateFound{code}
	}
	return err
}

// steered says in one line what came of a pause, or of its end.
func steered(answer session.Answer, pause bool, err error) string {
	switch {
	case err != nil:
		return wire.Text(err.Error()).String()
	case answer.Ended:
		return "The run is over."
	}
	text := "Goes on"
	if pause {
		text = "Paused, with " + status.Plural(answer.Running, "transfer") + " still under way"
	}
	text += "; " + following(answer.Sources)
	if n := len(answer.Silent); n > 0 {
		text += fmt.Sprintf(", not noted yet by %d", n)
	}
	if n := len(answer.Python); n > 0 {
		text += fmt.Sprintf(", without %d of the Python version", n)
	}
	return text + "."
}
