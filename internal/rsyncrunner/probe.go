// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
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

// Probe asks the rsync daemon at addr ("host:port") for its modules and returns nil if module is
// among them.
func Probe(ctx context.Context, addr, module string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot reach an rsync daemon: %w", err)
	}
	defer conn.Close()
	found := false
	err = converse(ctx, conn, "#list", func(line string) (over bool) {
		name, _, _ := strings.Cut(line, "\t")
		found = found || strings.TrimRight(name, " ") == module
		return strings.HasPrefix(line, "@RSYNCD: EXIT")
	})
	switch {
	case err != nil:
		return fmt.Errorf("cannot ask %s for its rsync modules: %w", addr, err)
	case !found:
		return fmt.Errorf("cannot use the rsync daemon at %s: it has no module %q, so it is another program's", addr, module)
	}
	return nil
}

// Enter asks the rsync daemon at the other end of a connection for a module, as a client does that is
// about to transfer, and returns when it is let in: the daemon has then read its config file, has done
// its chroot and is in the module's path.
func Enter(ctx context.Context, conn net.Conn, module string) error {
	ctx, cancel := context.WithTimeout(ctx, enterTimeout)
	defer cancel()
	return converse(ctx, conn, module, func(line string) bool { return strings.HasPrefix(line, "@RSYNCD: OK") })
}

// converse speaks the text part of rsync's daemon protocol: both sides send their version, the client first
// (a link's listener waits for that), then the client what it wants, "#list" or a module, and the daemon lines until one is the last. It names version 31: from 32
// on a digest list is expected with it, and nothing newer is needed.
func converse(ctx context.Context, conn net.Conn, wanted string, last func(line string) bool) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := readLines(conn, wanted, last)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func readLines(conn net.Conn, wanted string, last func(line string) bool) error {
	if _, err := io.WriteString(conn, "@RSYNCD: 31.0\n"); err != nil {
		return err
	}
	answer := bufio.NewScanner(io.LimitReader(conn, maxProbeAnswer))
	if !answer.Scan() {
		return endError(answer.Err())
	}
	if !strings.HasPrefix(answer.Text(), "@RSYNCD: ") {
		return fmt.Errorf("%q is no rsync daemon's greeting", cut(answer.Text(), 80))
	}
	if _, err := io.WriteString(conn, wanted+"\n"); err != nil {
		return err
	}
	for answer.Scan() {
		line := answer.Text()
		if strings.HasPrefix(line, "@ERROR") {
			return fmt.Errorf("it says %q", cut(line, 200))
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
