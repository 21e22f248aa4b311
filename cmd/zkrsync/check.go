// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session"
)

// errCheck: --check has found something that is wrong, and has said so.
var errCheck = errors.New("something is wrong")

// check prints a line for each thing that has to be right before a session can work.
func (o *options) check(ctx context.Context, cfg session.Config, parsed *cli.Parsed, wrongFile error, stdout io.Writer) (err error) {
	tell := func(f session.Finding) {
		mark, text := "ok", f.Good
		if f.Err != nil {
			text = pathbuilder.Printable(traced(f.Err, parsed))
			if mark = "note"; !f.Note {
				mark, err = "wrong", errCheck
			}
		}
		fmt.Fprintf(stdout, "%-5s  %-11s  %s\n", mark, f.What, text)
	}
	for _, file := range parsed.Read {
		tell(session.Finding{What: "config file", Good: file + " is read"})
	}
	for _, warning := range parsed.Warnings() {
		tell(session.Finding{What: "options", Err: errors.New(warning), Note: true})
	}
	if wrongFile != nil {
		tell(session.Finding{What: "log file", Err: wrongFile})
	}
	session.Check(ctx, cfg, o.source, o.destination, tell)
	return err
}
