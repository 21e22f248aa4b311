// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/session"
	"vsc-zk/internal/web"
)

// shows tells whether this process shows sessions over HTTP, and onlyShows that it does nothing else.
func (o *options) shows() bool { return o.web != "" || o.metrics != "" }

func (o *options) onlyShows() bool {
	return o.shows() && !o.hasRole() && !o.aside()
}

// openWeb listens, and connects to ZooKeeper. No session is all of them.
func (o *options) openWeb(ctx context.Context, cfg session.Config, name string) (*web.Server, error) {
	token := ""
	if o.webTokenFile != "" {
		var err error
		if token, err = cli.ReadSecretLine(o.webTokenFile); err != nil {
			return nil, &session.OptionError{Option: "web-token-file", Err: fmt.Errorf("cannot use --web-token-file: %w", err)}
		}
	}
	server, err := web.Open(ctx, web.Config{
		Zookeeper: cfg.Member.Zookeeper, Session: name, Web: o.web, Token: token, Metrics: o.metrics,
		Steer: steerFor(cfg), Version: cfg.Member.Version, Logger: cfg.Member.Logger,
	})
	switch {
	case errors.Is(err, web.ErrWeb):
		return nil, &session.OptionError{Option: "web", Err: err}
	case errors.Is(err, web.ErrToken):
		return nil, &session.OptionError{Option: "web-token-file", Err: err}
	case errors.Is(err, web.ErrMetrics):
		return nil, &session.OptionError{Option: "metrics", Err: err}
	}
	return server, err
}

// show is for a process that does nothing else. It says where there is something to see.
func (o *options) show(ctx context.Context, cfg session.Config, stdout io.Writer) error {
	name := cfg.Member.Session
	if o.allSessions {
		name = ""
	}
	server, err := o.openWeb(ctx, cfg, name)
	if err != nil {
		return err
	}
	for _, url := range server.URLs() {
		fmt.Fprintln(stdout, url)
	}
	cfg.Member.Joined()
	defer o.answer(ctx, cfg)()
	return server.Serve(ctx)
}

// accompany shows how the session of a client is, over HTTP and when a signal asks for it, until end is called.
func (o *options) accompany(ctx context.Context, cfg session.Config) (end func(), err error) {
	if !o.shows() {
		return o.answer(ctx, cfg), nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it shows how the client ends, too
	server, err := o.openWeb(ctx, cfg, cfg.Member.Session)
	if err != nil {
		cancel()
		return nil, err
	}
	log := cfg.Member.Logger.With("logger", "web")
	for _, url := range server.URLs() {
		log.Info("The session is shown at "+url, "url", url)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(ctx); ctx.Err() == nil {
			log.Warn(err.Error()+"; the session goes on", "error", err)
		}
	})
	silent := o.answer(ctx, cfg)
	return func() { cancel(); silent(); serving.Wait() }, nil
}

// steerFor has the page do what an option does.
func steerFor(cfg session.Config) func(ctx context.Context, name, option, value string) (string, error) {
	return func(ctx context.Context, name, option, value string) (string, error) {
		var o options
		switch option {
		case "pause":
			o.pause = true
		case "unpause":
			o.unpause = true
		case "stop":
			o.stop = true
		case "requeue":
			o.requeue = value
		case "set":
			o.set = []string{value}
		}
		cfg := cfg // others may steer at the same time
		cfg.Member.Session = name
		var said strings.Builder
		err := o.steer(ctx, cfg, &said)
		return said.String(), err
	}
}
