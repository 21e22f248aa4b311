// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// probeTimeout bounds one question to a daemon, and enterTimeout one to its module: that has to be looked up
// in a file system.
const (
	probeTimeout = 2 * time.Second
	enterTimeout = 30 * time.Second
)

// maxProbeAnswer bounds, in bytes, what is read of an answer.
const maxProbeAnswer = 1 << 20

// ErrStranger says that another program has the port, or had it for the moment of the daemon's
// start, so that the daemon does not answer everywhere. Waiting does not help then, another port
// does.
var ErrStranger = errors.New("another program answers there")

// Probe asks the rsync daemon at addr ("host:port") for its modules and returns nil if module is
// among them.
func Probe(ctx context.Context, addr, module string) error {
	return probe(ctx, addr, module, "")
}

// probe is Probe for a module with a certain comment, unless that is "".
func probe(ctx context.Context, addr, module, comment string) error {
	found := false
	err := converse(ctx, probeTimeout, addr, "#list", func(line string) (over bool) {
		name, about, _ := strings.Cut(line, "\t")
		if strings.TrimRight(name, " ") == module && (comment == "" || about == comment) {
			found = true
		}
		return strings.HasPrefix(line, "@RSYNCD: EXIT")
	})
	switch {
	case errors.As(err, new(refusal)):
		return fmt.Errorf("%w: %w", err, ErrStranger)
	case err == nil && !found:
		return fmt.Errorf("cannot use the rsync daemon at %s: it has no module %q of ours: %w", addr, module, ErrStranger)
	}
	return err
}

// ProbeHidden is an error only if the rsync daemon at addr says that it has no such module.
func ProbeHidden(ctx context.Context, addr, module string) error {
	err := enter(ctx, addr, module)
	var said refusal
	if errors.As(err, &said) && strings.Contains(string(said), "Unknown module") {
		return fmt.Errorf("cannot use the rsync daemon at %s, is it that of another session? %w: %w", addr, err, ErrStranger)
	}
	return nil
}

// enter asks for a module, as a client does that is about to transfer, and leaves when it is let in.
func enter(ctx context.Context, addr, module string) error {
	return converse(ctx, enterTimeout, addr, module, func(line string) bool { return strings.HasPrefix(line, "@RSYNCD: OK") })
}

// refusal is what a daemon answers that does not do what it is asked for.
type refusal string

func (r refusal) Error() string { return fmt.Sprintf("it says %q", string(r)) }

// converse speaks the text part of rsync's daemon protocol: both sides send their version, the client what it
// wants, "#list" or a module, and the daemon lines until one is the last. It names version 31: from 32
// on a digest list is expected with it, and nothing newer is needed.
func converse(ctx context.Context, timeout time.Duration, addr, wanted string, last func(line string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot reach an rsync daemon: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := readLines(conn, wanted, last); err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, ErrStranger) {
			err = cause
		}
		return fmt.Errorf("cannot ask %s for its rsync modules: %w", addr, err)
	}
	return nil
}

func readLines(conn net.Conn, wanted string, last func(line string) bool) error {
	answer := bufio.NewScanner(io.LimitReader(conn, maxProbeAnswer))
	if !answer.Scan() {
		if errors.Is(answer.Err(), bufio.ErrTooLong) {
			return ErrStranger
		}
		return endError(answer.Err())
	}
	if !strings.HasPrefix(answer.Text(), "@RSYNCD: ") {
		return fmt.Errorf("%q is no rsync daemon's greeting: %w", cut(answer.Text(), 80), ErrStranger)
	}
	if _, err := io.WriteString(conn, "@RSYNCD: 31.0\n"+wanted+"\n"); err != nil {
		return err
	}
	for answer.Scan() {
		line := answer.Text()
		if strings.HasPrefix(line, "@ERROR") {
			return refusal(cut(line, 200))
		}
		if last(line) {
			return nil
		}
	}
	return endError(answer.Err())
}

func endError(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

func cut(text string, limit int) string { return text[:min(len(text), limit)] }

// PortFree returns nil if a daemon could listen on port now, on every address and in every address
// family that this host has.
func PortFree(port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("cannot listen on port %d: ports are 1 to 65535", port)
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		if err := bindable(network, port); err != nil {
			return fmt.Errorf("cannot listen on port %d: %w", port, err)
		}
	}
	return nil
}

// bindable tries to listen on port on all addresses of one family. A family that the host does not
// have is no hindrance.
func bindable(network string, port int) error {
	// A child that is made meanwhile would have the listener too, until its program runs, and would
	// keep the daemon from the port that was found free.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	listener, err := net.Listen(network, ":"+strconv.Itoa(port))
	switch {
	case err == nil:
		return listener.Close()
	case errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil
	}
	return err
}
