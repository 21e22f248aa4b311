// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lookupTimeout is how long a directory service may take to name a user.
const lookupTimeout = 30 * time.Second

// LookupUser gives the numeric id of a user. It asks getent, which knows the
// users of LDAP and SSSD too (a static binary does not), and reads /etc/passwd
// where there is no getent.
func LookupUser(ctx context.Context, name string) (uint32, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookupTimeout,
		fmt.Errorf("getent did not answer within %v", lookupTimeout))
	defer cancel()

	id, err := getentID(ctx, name)
	if errors.Is(err, exec.ErrNotFound) {
		id, err = passwdID(name)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot look up user %s: %w", Printable(name), err)
	}
	uid, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("cannot look up user %s: user id %q is not a number", Printable(name), id)
	}
	return uint32(uid), nil
}

var errNoUser = errors.New("there is no such user on this machine")

func getentID(ctx context.Context, name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "\x00:\n") {
		return "", errNoUser
	}
	cmd := exec.CommandContext(ctx, "getent", "passwd", "--", name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() == 2: // getent(1): key not found
		return "", errNoUser
	case err != nil:
		return "", fmt.Errorf("getent passwd: %w", err)
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\n"), ":")
	if len(fields) < 3 {
		return "", fmt.Errorf("getent passwd printed %q", out)
	}
	return fields[2], nil
}

func passwdID(name string) (string, error) {
	u, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		return "", errNoUser
	}
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}
