// SPDX-License-Identifier: LGPL-2.1-or-later

package getent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long one answer may take. A host has a name without it, a user no id.
const (
	userTimeout = 30 * time.Second
	hostTimeout = 10 * time.Second
)

// kind names what has an id, where getent has it, and who knows it where there is no getent.
type kind struct {
	name, database string
	local          func(name string) (id string, err error)
}

var (
	users = kind{"user", "passwd", func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	}}
	groups = kind{"group", "group", func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	}}
)

// UserID returns the numeric id of a user. Where there is no getent it reads /etc/passwd.
func UserID(ctx context.Context, name string) (uint32, error) { return users.id(ctx, name) }

// GroupID is UserID for groups.
func GroupID(ctx context.Context, name string) (uint32, error) { return groups.id(ctx, name) }

func (k kind) id(ctx context.Context, name string) (uint32, error) {
	text, err := k.ask(ctx, name)
	if errors.Is(err, exec.ErrNotFound) {
		text, err = k.local(name)
		if errors.As(err, new(user.UnknownUserError)) || errors.As(err, new(user.UnknownGroupError)) {
			err = k.unknown()
		}
	}
	if err != nil {
		return 0, fmt.Errorf("cannot look up %s %q: %w", k.name, name, err)
	}
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot look up %s %q: %s id %q is not a number", k.name, name, k.name, text)
	}
	return uint32(id), nil
}

func (k kind) unknown() error { return fmt.Errorf("there is no such %s on this machine", k.name) }

func (k kind) ask(ctx context.Context, name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "\x00:\n") {
		return "", k.unknown()
	}
	out, err := query(ctx, userTimeout, k.database, name)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 2: // getent(1): key not found
		return "", k.unknown()
	case err != nil:
		return "", err
	}
	fields := strings.Split(strings.TrimSuffix(out, "\n"), ":")
	if len(fields) < 3 {
		return "", fmt.Errorf("getent %s printed %q", k.database, out)
	}
	return fields[2], nil
}

// FQDN returns the full name of a host as Python's socket.getfqdn does, or Go and Python clients of
// one host would have different names: of the names that the host's address has, the canonical one
// first and then the aliases, it takes the first with a dot, and the canonical one if none has a
// dot. A host whose address or names cannot be found keeps the name it was given.
func FQDN(ctx context.Context, host string) string {
	addresses, err := query(ctx, hostTimeout, "ahosts", host)
	fields := strings.Fields(addresses)
	if err != nil || len(fields) == 0 {
		return host
	}
	names, err := query(ctx, hostTimeout, "hosts", fields[0])
	names, _, _ = strings.Cut(names, "\n")
	fields = strings.Fields(names)
	if err != nil || len(fields) < 2 || net.ParseIP(fields[0]) == nil {
		return host
	}
	for _, name := range fields[1:] {
		if strings.Contains(name, ".") {
			return name
		}
	}
	return fields[1]
}

// CheckHost tells why this node cannot find an address of a host, nil if it can, or if nobody can say.
func CheckHost(ctx context.Context, host string) error {
	_, err := query(ctx, hostTimeout, "ahosts", host)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 { // getent(1): key not found
		return fmt.Errorf("no address is known for host %q on this machine", host)
	}
	return nil
}

// query returns what getent prints about a key of a database.
func query(ctx context.Context, timeout time.Duration, database, key string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("getent did not answer within %v", timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, "getent", database, "--", key)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("getent %s: %w", database, err)
	}
	return string(out), nil
}
