// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"io"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/session"
	"vsc-zk/internal/status"
)

// How far a run is: on a terminal in one line that is always there, below what is logged; else in a line a minute, which
// only the master writes.
const (
	liveEvery = 2 * time.Second
	lineEvery = time.Minute
)

// showProgress has whoever has started this client see how far the session is.
func showProgress(cfg *session.Config, log *cli.Log, stdout, stderr io.Writer) (end func()) {
	if file, ok := stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		cfg.Stdout = log.Beside(stdout)
		cfg.WatchEvery = liveEvery
		cfg.Watch = func(s *status.Snapshot, _ string) {
			line := ""
			if s.State != status.None {
				line = s.Line()
			}
			if columns, _, err := term.GetSize(int(file.Fd())); err == nil {
				line = shorten(line, columns-1)
			}
			log.Live(line)
		}
		return func() { log.Live("") }
	}
	cfg.WatchEvery = lineEvery
	cfg.Watch = func(s *status.Snapshot, whoami string) {
		if s.State != status.None && s.Master == whoami {
			log.Pass(s.Line())
		}
	}
	return func() {}
}

// shorten bounds a line: a terminal would break a longer one, and take back only what is behind the break.
func shorten(line string, columns int) string {
	if columns <= 0 || utf8.RuneCountInString(line) <= columns {
		return line
	}
	return string([]rune(line)[:columns-1]) + "…"
}
