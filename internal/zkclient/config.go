// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"log/slog"
	"time"
)

// Config says where to connect, as whom, and how patiently.
type Config struct {
	// Servers are written as "host", "host:port" or "[::1]:2181"; one string may hold several,
	// separated by commas. The last one may end in a chroot: "host:2181/chroot".
	Servers []string

	// User and Password are digest credentials. They have all rights on every node that is
	// made; without a user all have.
	User, Password string

	TLS *TLS // speak TLS with the servers; nil: do not

	SessionTimeout time.Duration // asked of the server, which may grant another; 0: 10 s
	ConnectTimeout time.Duration // for Connect; 0: 15 s
	PollInterval   time.Duration // what a watch waits for is read so often, too; 0: 30 s
	Logger         *slog.Logger  // nil: none
}

func (cfg Config) withDefaults() Config {
	if cfg.SessionTimeout <= 0 {
		cfg.SessionTimeout = 10 * time.Second
	}
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = 15 * time.Second
	}
	if cfg.PollInterval <= 0 {
		cfg.PollInterval = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}
