// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	levels "vsc-zk/internal/level"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/zkclient"
)

// role is what a client does.
type role string

const (
	master role = "master"
	slave  role = "slave"
	dest   role = "destination"
)

func (r role) run(ctx context.Context, config session.Config) error {
	if r == dest {
		return session.Destination(ctx, config)
	}
	return session.Source(ctx, config)
}

// order is what a client is told, in a form that another process can read.
type order struct {
	Role    role
	Number  int // from 1; clients of one process have the same pid, so they have different hosts
	Base    string
	Jobs    int // or slots
	Inherit bool

	Server  string
	Timeout time.Duration // of the ZooKeeper session
	Session string

	Port           int
	TempDir        string
	Failed, Report string
	Options        options
}

func (o order) host() string { return fmt.Sprintf("127.0.0.%d", o.Number) }

// config is the same for the client itself. log is the handler of its messages.
func (o order) config(log slog.Handler) session.Config {
	config := session.Config{
		Member: member.Config{
			Zookeeper: zkclient.Config{
				Servers: []string{o.Server}, User: "root", Password: "admin",
				SessionTimeout: o.Timeout, ConnectTimeout: 30 * time.Second,
			},
			Session: o.Session, Host: o.host(),
			Logger: slog.New(log).With("client", o.Number),
			Timing: member.Timing{
				Poll: 50 * time.Millisecond, Progress: time.Second, Retry: 50 * time.Millisecond,
				PathCheck: 50 * time.Millisecond, NoDest: time.Second, SelfTest: 2 * time.Second, Away: 2 * time.Second,
				StatsFlush: 500 * time.Millisecond, Reconnect: 200 * time.Millisecond, SetAside: 500 * time.Millisecond, Leave: 5 * time.Second,
			},
		},
		Base:        guard.Config{Path: o.Base, VerifyPath: true},
		MaxDelete:   -1,
		Jobs:        o.Jobs,
		Leader:      leader.Config{Failed: o.Failed, Report: o.Report, LateRetries: 1},
		Destination: destination.Config{StartPort: o.Port, TempDir: o.TempDir, Slots: o.Jobs},
		Inherit:     o.Inherit,
	}
	if !o.Inherit {
		o.Options.set(&config)
	}
	o.Options.spread.set(&config)
	return config
}

// handler is the logger of all clients. watch is called with each message and its fields, before the
// client goes on.
type handler struct {
	slog.Handler
	watch func(message string)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.watch}
}
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.watch}
}
func (h handler) Handle(ctx context.Context, record slog.Record) error {
	err := h.Handler.Handle(ctx, record)
	message := record.Message
	record.Attrs(func(a slog.Attr) bool {
		message += " " + a.String()
		return true
	})
	h.watch(message)
	return err
}

// client is one of a run.
type client struct {
	order
	stop  context.CancelCauseFunc
	ended chan struct{}
	err   error // of the role, once it has ended

	pid    int         // of a process of its own, 0: it is in this one
	killed atomic.Bool // by the test
}

var (
	errStopped = errors.New("stopped by the test")
	errKilled  = errors.New("killed by the test")
)

func (c *client) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// signal is only for a client that is a process of its own.
func (c *client) signal(s syscall.Signal) {
	if s == syscall.SIGKILL {
		c.killed.Store(true)
	}
	_ = syscall.Kill(c.pid, s) // unless it has ended
}

// play has a client run in this process.
func (r *run) play(c *client) {
	config := c.config(handler{slog.NewTextHandler(r, &slog.HandlerOptions{Level: levels.Detail}), r.watch})
	r.change(&config)
	ctx, cancel := context.WithCancelCause(context.Background())
	c.stop = cancel
	go func() { r.end(c, c.Role.run(ctx, config)) }()
}

// end notes that a client has ended.
func (r *run) end(c *client, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.err = err
	close(c.ended)
	r.changed.Broadcast()
}

// clientOrder, in the environment, makes the test binary a client.
const clientOrder = "DIFFERENTIAL_CLIENT"

// report is what such a client writes to its standard output, in JSON: a piece of the log, a message, after
// which it waits for a byte on its standard input, or, at last, its end.
type report struct {
	Log, Message []byte
	Ended        bool
	Stopped      bool   // by the test
	Error        string // if it has not ended well
}

// fork has a client run in a process and a mount namespace of its own.
func (r *run) fork(c *client) {
	r.t.Helper()
	told, err := json.Marshal(c.order)
	r.must(err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), clientOrder+"="+string(told))
	cmd.Stderr = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS} // it ends with its standard input
	in, err := cmd.StdinPipe()
	r.must(err)
	out, err := cmd.StdoutPipe()
	r.must(err)
	r.must(cmd.Start())
	c.pid = cmd.Process.Pid
	c.stop = func(error) { in.Close() }
	go func() {
		ended := errors.New("its process has ended without a word")
		for reports := json.NewDecoder(out); ; {
			var said report
			if reports.Decode(&said) != nil {
				break
			}
			switch {
			case said.Stopped:
				ended = errStopped
			case said.Ended && said.Error == "":
				ended = nil
			case said.Ended:
				ended = errors.New(said.Error)
			case said.Message != nil:
				r.watch(string(said.Message))
				_, _ = in.Write([]byte{'\n'}) // it may have ended
			default:
				_, _ = r.Write(said.Log)
			}
		}
		_ = cmd.Wait() // said already
		if c.killed.Load() {
			ended = errKilled
		}
		r.end(c, ended)
	}()
}

// reporter is the other end of that.
type reporter struct {
	mu      sync.Mutex // of what is written
	out     *json.Encoder
	asking  sync.Mutex
	answers chan struct{} // closed when the test wants no more of this client
}

func (r *reporter) tell(what report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Encode(what) // unless nobody reads it
}

func (r *reporter) Write(p []byte) (int, error) {
	r.tell(report{Log: p})
	return len(p), nil
}

func (r *reporter) ask(message string) {
	r.asking.Lock()
	defer r.asking.Unlock()
	r.tell(report{Message: []byte(message)})
	<-r.answers
}

// runClient is the whole process of a client.
func runClient(told string) {
	r := &reporter{out: json.NewEncoder(os.Stdout), answers: make(chan struct{})}
	ctx, stop := context.WithCancelCause(context.Background())
	go func() {
		defer close(r.answers)
		for in := bufio.NewReader(os.Stdin); ; r.answers <- struct{}{} {
			if _, err := in.ReadByte(); err != nil {
				stop(errStopped)
				return
			}
		}
	}()
	var o order
	err := json.NewDecoder(bytes.NewReader([]byte(told))).Decode(&o)
	if err == nil {
		err = o.Role.run(ctx, o.config(handler{slog.NewTextHandler(r, &slog.HandlerOptions{Level: levels.Detail}), r.ask}))
	}
	last := report{Ended: true, Stopped: errors.Is(err, errStopped)}
	if err != nil {
		last.Error = err.Error()
	}
	r.tell(last)
}
