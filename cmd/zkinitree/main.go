// SPDX-License-Identifier: LGPL-2.1-or-later

// Zkinitree sets up the znodes that the clients of zkrsync work below, with the rights of their
// users, as config files describe them.
//
// Exit status: 0 when the tree is there; 1 for a mistake in the files or a failure, with a line
// that says what to do; 2 for a wrong command line; 128+n when ended by signal n.
package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/zkclient"
)

func main() {
	ctx, stop := cli.WithSignals(context.Background(), nil)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var o options
	program := newProgram(&o)
	parsed, err := program.Parse(args, environ, stdout, stderr)
	var exit *cli.Exit
	if errors.As(err, &exit) {
		return exit.Code
	}
	log := cli.NewLog(cli.LogConfig{Level: program.Level(), Program: "zkinitree", Stderr: stderr}).Logger()
	parsed.Warn(log)

	err = o.initTree(ctx, parsed, log)
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		log.Error(line, "error", line)
	}
	if ended := cli.EndedBy(ctx); ended != nil {
		return ended.ExitStatus()
	}
	return 1
}

// initTree does the work. It writes nothing before it has checked everything.
func (o options) initTree(ctx context.Context, parsed *cli.Parsed, log *slog.Logger) error {
	t, err := readTree(parsed)
	if len(o.servers) == 0 {
		err = errors.Join(parsed.Missing(errors.New("cannot connect to ZooKeeper: No servers given! Write servers=host:port,… into [MAIN], or use --servers")), err)
	}
	if _, wrong := o.tls.Problem(); wrong != nil {
		err = errors.Join(wrong, err)
	}
	if err != nil {
		return err
	}
	if len(t.nodes) == 0 {
		log.Warn("no section begins with /: there is no node to set up")
		return nil
	}
	zk, err := zkclient.Connect(ctx, zkclient.Config{
		Servers:  o.servers,
		User:     rootUser,
		Password: t.rootPassword,
		TLS:      o.tls.Config(),
		Logger:   log,
	})
	if err != nil {
		return err
	}
	defer zk.Close()
	a := applier{zk: zk, tree: t, log: log}
	if err := a.check(ctx); err != nil {
		return err
	}
	return a.write(ctx)
}
