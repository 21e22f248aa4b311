// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sendTimeout bounds SendLine.
const sendTimeout = 10 * time.Second

// Netcat copies the lines of any number of connections to a writer, as `nc -l -k PORT` does.
type Netcat struct {
	listener net.Listener
	out      io.Writer
	logger   *slog.Logger
	conns    sync.WaitGroup
	cancel   context.CancelFunc
	done     chan struct{}
	err      error
}

// StartNetcat listens on port, on one address or, if that is "", on all, until Stop or until ctx ends.
func StartNetcat(ctx context.Context, address string, port int, out io.Writer, logger *slog.Logger) (*Netcat, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("cannot listen on port %d: %w", port, err)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Netcat{listener: listener, out: share(out), logger: logger, cancel: cancel, done: make(chan struct{})}
	go n.accept(ctx)
	return n, nil
}

func (n *Netcat) accept(ctx context.Context) {
	defer close(n.done)
	defer n.conns.Wait()
	defer n.cancel()
	stop := context.AfterFunc(ctx, func() { _ = n.listener.Close() })
	defer stop()
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			if ctx.Err() == nil {
				n.err = fmt.Errorf("cannot accept connections: %w", err)
				_ = n.listener.Close()
			}
			return
		}
		n.conns.Go(func() { n.copy(ctx, conn) })
	}
}

func (n *Netcat) copy(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	lines := &lineWriter{out: n.out}
	defer lines.flush()
	if _, err := io.Copy(lines, conn); err != nil && !errors.Is(err, net.ErrClosed) {
		n.logger.Debug(fmt.Sprintf("reading from %s failed: %v", conn.RemoteAddr(), err), "error", err)
	}
}

// Done is closed when the listener has ended.
func (n *Netcat) Done() <-chan struct{} { return n.done }

// Err says why the listener ended by itself. It is nil while the listener runs, and after Stop or
// the end of its context.
func (n *Netcat) Err() error {
	select {
	case <-n.done:
		return n.err
	default:
		return nil
	}
}

// Stop ends the listener and its connections.
func (n *Netcat) Stop() {
	n.cancel()
	<-n.done
}

// LineSender is to Netcat what Sender is to Daemon: it sends a line for each name of a job, as the
// name is given, and looks at no file. Its methods may be called at the same time.
type LineSender struct {
	Who string // begins each line: "WHO is sending NAME"
}

// Run sends the lines to the host and port of the job's URL. The result is what rsync's would be:
// 10, the destination's fault, if no Netcat can be reached, and 23 if a name does not fit into a
// line. An error says that ctx ended; which lines have arrived is not known then.
func (s *LineSender) Run(ctx context.Context, job Job) (Result, error) {
	start := time.Now()
	addr, _, _ := strings.Cut(strings.TrimPrefix(job.URL, "rsync://"), "/")
	var result Result
	for _, name := range job.Names {
		err := SendLine(ctx, addr, s.Who+" is sending "+name)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return Result{}, fmt.Errorf("cannot finish sending to %s: %w", addr, context.Cause(ctx))
		}
		result.Code, result.Errors = codePartial, append(result.Errors, err.Error())
		if !errors.Is(err, errLineEnd) {
			result.Code = codeNetwork
			break
		}
	}
	result.Duration = time.Since(start)
	return result, nil
}

var errLineEnd = errors.New("it has a line end")

// SendLine sends one line to the listener at addr ("host:port").
func SendLine(ctx context.Context, addr, line string) error {
	if strings.Contains(line, "\n") {
		return fmt.Errorf("cannot send %q to %s as a line: %w", line, addr, errLineEnd)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot send a line: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = io.WriteString(conn, line+"\n")
	if closeErr := conn.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("cannot send a line to %s: %w", addr, err)
	}
	return nil
}
