// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"vsc-zk/internal/getent"
	"vsc-zk/internal/private"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/wire"
)

// What is wrong with the value of an option is found at the start: what would only show hours later is tried
// then.

// checkLeader tries what only a leader needs; whether this source becomes one shows later.
func (c Config) checkLeader() error {
	if c.Inherit {
		return nil
	}
	return c.Leader.Check()
}

// checkBase refuses a base that is not there, or not what it should be.
func checkBase(base *guard.Base) error {
	if err := base.CheckStart(); err != nil {
		return &OptionError{Option: "rsyncpath", Err: err}
	}
	return nil
}

// checkExclude looks the user up whose directories are excluded.
func (c Config) checkExclude(ctx context.Context) error {
	if c.Base.Exclude == nil || c.Base.ExcludeUser == "" {
		return nil
	}
	if _, err := getent.UserID(ctx, c.Base.ExcludeUser); err != nil {
		return leader.BadValue("excl_usr", c.Base.ExcludeUser, err)
	}
	return nil
}

// checkDestination tries what a destination needs once there is a leader. A name that sources are to find it
// by must at least be known to itself.
func (c Config) checkDestination(ctx context.Context, whoami string) error {
	host := wire.HostOf(whoami)
	for _, name := range []struct{ option, value string }{{"host", c.Member.Host}, {"domain", c.Member.Domain}} {
		if name.value == "" {
			continue
		}
		if err := getent.CheckHost(ctx, host); err != nil {
			return leader.BadValue(name.option, name.value, fmt.Errorf("sources could not reach this destination: %w", err))
		}
		break
	}
	// The port is tried again later; what is wrong with it then may pass, what is wrong now will not.
	if c.Destination.Port != 0 || c.Destination.Bind != "" {
		listener, err := net.Listen("tcp", net.JoinHostPort(c.Destination.Bind, strconv.Itoa(c.Destination.Port)))
		if err != nil && (c.Destination.Port == 0 || errors.Is(err, syscall.EADDRNOTAVAIL)) {
			return leader.BadValue("bind", c.Destination.Bind, err)
		}
		if err != nil {
			return leader.BadValue("rsyncport", strconv.Itoa(c.Destination.Port), fmt.Errorf("cannot listen on port %d: %w", c.Destination.Port, err))
		}
		listener.Close()
	}
	dir, err := private.TempDir(c.Destination.TempDir, "zkrsync-")
	if err != nil {
		return fmt.Errorf("cannot make temporary files in %s (set TMPDIR to a directory that can be written): %w", cmp.Or(c.Destination.TempDir, os.TempDir()), err)
	}
	return os.Remove(dir)
}
