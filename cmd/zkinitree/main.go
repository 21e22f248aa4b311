// SPDX-License-Identifier: LGPL-2.1-or-later

// Zkinitree sets up the znodes that the clients of zkrsync work below, with the
// rights of their users, as config files describe them.
//
// Exit status: 0 when the tree is there; 1 for a mistake in the files or a
// failure, with a line that says what to do; 2 for a wrong command line;
// 128+n when ended by signal n.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/zkclient"
)

func main() {
	ctx, stop := untilSignal(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var servers []string
	program := newProgram(&servers)
	parsed, err := program.Parse(args, environ, stdout, stderr)
	var exit *cli.Exit
	if errors.As(err, &exit) {
		return exit.Code
	}
	if err != nil {
		fmt.Fprintln(stderr, "zkinitree:", err)
		return 1
	}
	log, err := cli.OpenLog(cli.LogConfig{Level: program.Level(), Program: "zkinitree", Stderr: stderr})
	if err != nil {
		fmt.Fprintln(stderr, "zkinitree:", err)
		return 1
	}
	defer log.Close()
	logger := log.Logger()
	for _, warning := range parsed.Warnings {
		logger.Warn(warning)
	}

	err = initTree(ctx, servers, parsed.Sections, log)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			logger.Error(strings.TrimSuffix(line, "\n"))
		}
	}
	var ended *signalError
	switch {
	case err == nil:
		return 0
	case errors.As(context.Cause(ctx), &ended):
		return 128 + int(ended.signal)
	}
	return 1
}

// initTree does the work. Nothing is written before everything was checked.
func initTree(ctx context.Context, servers []string, sections []cli.Section, log *cli.Log) error {
	t, err := readTree(sections)
	if len(servers) == 0 {
		err = errors.Join(errors.New("cannot connect to ZooKeeper: No servers given! Write servers=host:port,… into [MAIN], or use --servers"), err)
	}
	if err != nil {
		return err
	}
	if len(t.nodes) == 0 {
		log.Logger().Warn("no section begins with /: there is no node to set up")
		return nil
	}
	zk, err := zkclient.Connect(ctx, zkclient.Config{
		Servers:  servers,
		User:     rootUser,
		Password: t.rootPassword,
		Logger:   log.Logger(),
	})
	if err != nil {
		return err
	}
	defer zk.Close()
	a := applier{zk: zk, tree: t, log: log.Logger()}
	if err := a.check(ctx); err != nil {
		return err
	}
	return a.write(ctx)
}

// signalError is the cause of a context that a signal has ended.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string {
	return fmt.Sprintf("stopped by signal %d (%v)", e.signal, e.signal)
}

// untilSignal gives a context that ends with the first of the signals; a second
// one then ends the program the hard way.
func untilSignal(ctx context.Context, signals ...os.Signal) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, signals...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-arrived:
			signal.Stop(arrived)
			cancel(&signalError{s.(syscall.Signal)})
		case <-ctx.Done():
			signal.Stop(arrived)
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}
