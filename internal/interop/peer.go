// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed peer.py
var peerScript []byte

// interpreter is Debian's: only that one sees Debian's python3-kazoo.
const interpreter = "/usr/bin/python3"

const install = "install them with: apt-get install python3 python3-kazoo"

// patience is how long a test waits for what must come true, however busy the machine is.
const patience = 3 * time.Minute

// Peer is a running peer.py. Its methods are for the goroutine of the test, unless they say
// otherwise.
type Peer struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when the process is gone and all it said has been read
	code  int           // its exit status; -1: a signal ended it. Valid after done

	mu      sync.Mutex
	events  []Event
	changed chan struct{} // closed and replaced with every event
	read    map[string]int
	calls   int
}

// Fields are the parameters of a step, by the names that peer.py's methods have for them. Byte
// strings go in as Raw.
type Fields map[string]any

// Event is a line that a peer has printed, as far as tests read it. Which fields are set depends on
// Name.
type Event struct {
	Name string `json:"event"`

	// An answer to a step.
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`

	// What happened in a step.
	Path Raw  `json:"path"`
	Data *Raw `json:"data"` // nil: there is no node

	// What happened in a role.
	Whoami     string           `json:"whoami"`
	Count      int              `json:"count"`
	Remaining  int              `json:"remaining"`
	Total      int              `json:"total"`
	Unfinished int              `json:"unfinished"`
	Failed     int              `json:"failed"`
	Completed  int              `json:"completed"`
	Stats      map[string]int64 `json:"stats"`
	Port       int              `json:"port"`
	Was        string           `json:"was"`
	Active     bool             `json:"active"`
	Text       string           `json:"text"`
}

// Raw is a byte string. JSON cannot carry one, so it travels as Latin-1: one character a byte.
type Raw string

// MarshalJSON makes a character of each byte.
func (r Raw) MarshalJSON() ([]byte, error) {
	text := make([]rune, len(r))
	for i := range len(r) {
		text[i] = rune(r[i])
	}
	return json.Marshal(string(text))
}

// UnmarshalJSON makes a byte of each character.
func (r *Raw) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	var bytes []byte
	for _, char := range text {
		if char > 0xff {
			return fmt.Errorf("cannot read %s as bytes: it is not Latin-1", data)
		}
		bytes = append(bytes, byte(char))
	}
	*r = Raw(bytes)
	return nil
}

// StartPeer starts peer.py against the ZooKeeper server at addr (host:port) and waits until it is
// connected. A peer with a role is in its parties then. args are peer.py's, without --servers.
func StartPeer(t testing.TB, addr string, args ...string) *Peer {
	t.Helper()
	if _, err := os.Stat(interpreter); err != nil {
		t.Fatalf("cannot run the Python peer: %v; %s", err, install)
	}
	script := filepath.Join(t.TempDir(), "peer.py")
	if err := os.WriteFile(script, peerScript, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Peer{
		t:       t,
		cmd:     exec.Command(interpreter, append([]string{script, "--servers", addr, "--leash"}, args...)...),
		done:    make(chan struct{}),
		changed: make(chan struct{}),
		read:    map[string]int{},
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err1 := p.cmd.StdinPipe()
	stdout, err2 := p.cmd.StdoutPipe()
	stderr, err3 := p.cmd.StderrPipe()
	if err := errors.Join(err1, err2, err3, p.cmd.Start()); err != nil {
		t.Fatalf("cannot run the Python peer: %v", err)
	}
	p.stdin = stdin

	var readers sync.WaitGroup
	readers.Go(func() { p.readEvents(stdout) })
	readers.Go(func() { p.readErrors(stderr) })
	go func() {
		state, err := p.cmd.Process.Wait()
		p.killGroup() // what it leaves behind would hold the pipes open, and ports
		readers.Wait()
		p.code = -1
		if err == nil {
			p.code = state.ExitCode()
		}
		close(p.done)
	}()
	t.Cleanup(p.Kill)

	if _, err := p.next("ready"); err != nil {
		if missing := p.All("no kazoo"); len(missing) > 0 {
			t.Fatalf("cannot run the Python peer: %s; %s", missing[0].Text, install)
		}
		t.Fatal(err)
	}
	return p
}

// Pid is the process of the peer, the number in its whoami.
func (p *Peer) Pid() int { return p.cmd.Process.Pid }

// Whoami is the name of a peer that plays a role.
func (p *Peer) Whoami() string { return p.All("ready")[0].Whoami }

// Do has one step done and returns what it answers. A step that fails, fails the test.
func (p *Peer) Do(step string, fields Fields) json.RawMessage {
	p.t.Helper()
	return p.Begin(step, fields).Wait()
}

// Call is a step that may still be under way.
type Call struct {
	peer *Peer
	step string
	id   int
}

// Begin starts a step and does not wait for it. Steps that have been begun run side by side.
func (p *Peer) Begin(step string, fields Fields) *Call {
	p.t.Helper()
	p.calls++
	call := &Call{p, step, p.calls}
	request := map[string]any{"do": step, "id": call.id}
	for name, value := range fields {
		request[name] = value
	}
	line, err := json.Marshal(request)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		p.t.Fatalf("cannot ask the peer for %q: %v", step, err)
	}
	return call
}

// Answered says whether the step is done.
func (c *Call) Answered() bool {
	return c.reply() != nil
}

// Wait waits for the answer to a step. A step that fails, fails the test.
func (c *Call) Wait() json.RawMessage {
	c.peer.t.Helper()
	reply, err := c.peer.wait(fmt.Sprintf("the answer to %q", c.step), c.reply)
	if err != nil {
		c.peer.t.Fatal(err)
	}
	if reply.Error != "" {
		c.peer.t.Fatalf("the peer's %q failed: %s", c.step, reply.Error)
	}
	return reply.Value
}

// Err waits for the answer to a step that is meant to fail and returns kazoo's error; "" if it did
// not fail.
func (c *Call) Err() string {
	c.peer.t.Helper()
	reply, err := c.peer.wait(fmt.Sprintf("the answer to %q", c.step), c.reply)
	if err != nil {
		c.peer.t.Fatal(err)
	}
	return reply.Error
}

func (c *Call) reply() *Event {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	for i := range c.peer.events {
		if e := &c.peer.events[i]; e.Name == "reply" && e.ID == c.id {
			return e
		}
	}
	return nil
}

// Await returns the next event of this name. Each call returns the one after; events of other names
// are set aside.
func (p *Peer) Await(name string) Event {
	p.t.Helper()
	event, err := p.next(name)
	if err != nil {
		p.t.Fatal(err)
	}
	return event
}

func (p *Peer) next(name string) (Event, error) {
	nth := p.read[name]
	event, err := p.wait(fmt.Sprintf("event %q", name), func() *Event {
		if all := p.All(name); len(all) > nth {
			return &all[nth]
		}
		return nil
	})
	if err != nil {
		return Event{}, err
	}
	p.read[name]++
	return *event, nil
}

// All returns the events of this name so far, whether Await has returned them or not. Any goroutine
// may call it.
func (p *Peer) All(name string) []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Event
	for _, e := range p.events {
		if e.Name == name {
			all = append(all, e)
		}
	}
	return all
}

// wait calls find at every event until it returns something. It gives up when the peer has ended.
func (p *Peer) wait(what string, find func() *Event) (*Event, error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		ended := false
		select {
		case <-p.done:
			ended = true
		default:
		}
		if event := find(); event != nil {
			return event, nil
		}
		if ended {
			return nil, fmt.Errorf("the peer ended (status %d) before %s: %s", p.code, what, p.errorText())
		}
		select {
		case <-changed:
		case <-p.done:
		case <-timeout.C:
			return nil, fmt.Errorf("the peer has not come to %s in %v", what, patience)
		}
	}
}

func (p *Peer) errorText() string {
	if all := p.All("error"); len(all) > 0 {
		return all[len(all)-1].Text
	}
	return "it gave no reason"
}

// Exit waits until the peer has ended of itself, and returns its exit status; -1: a signal ended
// it.
func (p *Peer) Exit() int {
	p.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		p.t.Fatalf("the peer has not ended in %v", patience)
	}
	return p.code
}

// Close ends a peer that is stepped, by the end of its input. The peer closes its ZooKeeper session
// first.
func (p *Peer) Close() {
	p.t.Helper()
	p.stdin.Close()
	if code := p.Exit(); code != 0 {
		p.t.Fatalf("the peer ended with status %d: %s", code, p.errorText())
	}
}

// Kill ends the peer and every process that it has started with SIGKILL. As when a node dies,
// ZooKeeper hears of it only by the session timeout. It returns when they are gone. Any goroutine
// may call it, again too.
func (p *Peer) Kill() {
	select {
	case <-p.done:
		return
	default:
	}
	p.killGroup()
	<-p.done
}

// Terminate asks the peer to end, as kill does. A Python client just dies of that, and ZooKeeper
// hears of it only by the session timeout.
func (p *Peer) Terminate() {
	// No such process: it has ended.
	_ = syscall.Kill(p.Pid(), syscall.SIGTERM)
}

func (p *Peer) killGroup() {
	// No such group: all of it is gone.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

func (p *Peer) readEvents(stdout io.ReadCloser) {
	defer stdout.Close()
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // the end, perhaps in the middle of a line if it was killed
		}
		var event Event
		if err := json.Unmarshal(line, &event); err != nil {
			p.t.Errorf("the peer printed %q: %v", line, err)
			continue
		}
		p.mu.Lock()
		p.events = append(p.events, event)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *Peer) readErrors(stderr io.ReadCloser) {
	defer stderr.Close()
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.t.Logf("peer %d: %s", p.Pid(), lines.Text())
	}
	_, _ = io.Copy(io.Discard, stderr) // after a line that is too long
}
