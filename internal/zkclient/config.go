// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"log/slog"
	"time"
)

// Config says where to connect, as whom, and how patiently.
type Config struct {
	Servers        []string      // "host", "host:port", "[::1]:2181", also several in one separated by commas; the last may end in "/chroot"
	User, Password string        // digest credentials, and with all rights the ACL of every node made; no user: open to all
	SessionTimeout time.Duration // asked of the server, which may grant another; 0: 10 s
	ConnectTimeout time.Duration // for Connect; 0: 15 s
	PollInterval   time.Duration // what a watch waits for is looked at this often all the same; 0: 30 s
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
