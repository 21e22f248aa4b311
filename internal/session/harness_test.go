// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vsc-zk/internal/level"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/destination"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// What the tests know of the parts.
const (
	attempts    = 3   // at a path
	morePasses  = 3   // walks after the first
	maxExamples = 100 // differences of a run that the leader is told of
)

// pythonReads is how a Python program sees a done-file.
func pythonReads(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("/usr/bin/python3", "-c", "import gzip,sys; sys.stdout.write(gzip.open(sys.argv[1]).read().decode())", path).CombinedOutput()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	return string(out)
}

// server serves all tests of the package; each test has a session of its own.
var server *zktest.Server

func TestMain(m *testing.M) {
	if parameters := os.Getenv(scaleMaster); parameters != "" {
		if err := runScaleMaster(parameters); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if parameters := os.Getenv(elsewhereSource); parameters != "" {
		if err := runElsewhere(parameters); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0)))); err != nil { // they wait more than they compute
		panic(err)
	}
	os.Exit(zktest.Main(m, &server))
}

// rig is a session under test. Its clients run in this process; they have to
// have different hosts, as they have the same pid.
type rig struct {
	t        *testing.T
	addr     string
	name     string
	src, dst string
	ports    int // the first one its destinations may use
	log      *logBuffer
}

// rigs counts the rigs made: destinations of sessions at work at the same time
// need not look for free ports in each other's way.
var rigs atomic.Int32

// newRig makes a session for a test that runs beside others.
func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	return newRigAlone(t)
}

// newRigAlone is for a test that changes what the whole process has.
func newRigAlone(t *testing.T) *rig {
	t.Helper()
	dir, n := t.TempDir(), int(rigs.Add(1))
	r := &rig{
		t: t, addr: server.Addr(),
		name: regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(t.Name(), "-") + fmt.Sprint(n),
		src:  filepath.Join(dir, "src"), dst: filepath.Join(dir, "dst"),
		ports: 14444 + 20*n,
		log:   &logBuffer{},
	}
	if err := os.Mkdir(r.dst, 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) makeTree(o testtree.TreeOptions) {
	r.t.Helper()
	if err := testtree.MakeTree(r.src, o); err != nil {
		r.t.Fatal(err)
	}
}

// smallTree has 1 + 3 + 6 directories.
var smallTree = testtree.TreeOptions{Fanout: []int{3, 2}, Files: 2, Size: 100}

// shortTiming is for sessions of a second.
var shortTiming = member.Timing{
	Poll: 50 * time.Millisecond, Progress: 100 * time.Millisecond, Retry: 50 * time.Millisecond,
	PathCheck: 50 * time.Millisecond, NoDest: time.Second,
	StatsFlush: 100 * time.Millisecond, Reconnect: 200 * time.Millisecond, Leave: 5 * time.Second,
	Flush: 100 * time.Millisecond, Away: time.Second,
}

// config is a client's configuration; n is its number, and its host.
func (r *rig) config(n int, path string, change ...func(*Config)) Config {
	c := Config{
		Member: member.Config{
			Zookeeper: zkclient.Config{
				Servers: []string{r.addr}, User: "root", Password: "admin",
				SessionTimeout: 4 * time.Second, ConnectTimeout: 10 * time.Second,
			},
			Session: r.name, Host: fmt.Sprintf("127.0.0.%d", n),
			Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: level.Detail})),
			Timing: shortTiming,
		},
		Base: guard.Config{Path: path, VerifyPath: true}, MaxDelete: -1, Prefetch: 4,
		Leader:      leader.Config{Depth: 2},
		Destination: destination.Config{StartPort: r.ports, TempDir: r.t.TempDir()},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// running is a client at work.
type running struct {
	stop context.CancelCauseFunc
	done chan error
}

var errStopped = errors.New("stopped by the test")

func (r *rig) start(role func(context.Context, Config) error, c Config) *running {
	ctx, cancel := context.WithCancelCause(context.Background())
	run := &running{stop: cancel, done: make(chan error, 1)}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		run.done <- role(ctx, c)
	}()
	r.t.Cleanup(func() {
		cancel(errStopped)
		<-finished
	})
	return run
}

func (r *rig) source(n int, change ...func(*Config)) *running {
	return r.start(Source, r.config(n, r.src, change...))
}

func (r *rig) destination(n int, change ...func(*Config)) *running {
	return r.start(Destination, r.config(n, r.dst, change...))
}

// wait returns what the client returned.
func (r *rig) wait(run *running) error {
	r.t.Helper()
	select {
	case err := <-run.done:
		return err
	case <-time.After(120 * time.Second):
		r.t.Fatalf("a client did not end; log:\n%s", r.log)
		return nil
	}
}

// waitFor waits until the log has the text.
func (r *rig) waitFor(text string) {
	r.t.Helper()
	r.until("the log says "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain until %s; log:\n%s", what, r.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// finish waits for clients that should all end well.
func (r *rig) finish(runs ...*running) {
	r.t.Helper()
	for i, run := range runs {
		if err := r.wait(run); err != nil {
			r.t.Errorf("client %d: %v", i, err)
		}
	}
	if r.t.Failed() {
		r.t.Logf("log:\n%s", r.log)
	}
}

// age makes directories of the source old: rsync leaves a time alone that
// differs by less than a second.
func (r *rig) age(names ...string) {
	r.t.Helper()
	old := time.Unix(1500000000, 123)
	for _, name := range append(names, "") {
		if err := os.Chtimes(filepath.Join(r.src, name), old, old); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) identical() {
	r.t.Helper()
	differences, err := testtree.Compare(r.src, r.dst)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(differences) > 0 {
		r.t.Errorf("source and destination differ:\n%s\nlog:\n%s", strings.Join(differences, "\n"), r.log)
	}
}

// frail has a client lose its ZooKeeper session soon after the proxy has cut it off.
func frail(proxy *zktest.Proxy) func(*Config) {
	return func(c *Config) {
		c.Member.Zookeeper.Servers, c.Member.Zookeeper.SessionTimeout = []string{proxy.Addr()}, 2*time.Second
	}
}

// zk is a connection beside the clients.
func (r *rig) zk() *zkclient.Client {
	r.t.Helper()
	return r.zkAt(r.addr)
}

func (r *rig) zkAt(addr string) *zkclient.Client {
	r.t.Helper()
	c, err := zkclient.Connect(r.t.Context(), zkclient.Config{Servers: []string{addr}, User: "root", Password: "admin"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

func (r *rig) read(path string) string {
	r.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

func (r *rig) tree() wire.Tree {
	t, err := wire.NewTree(r.name)
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

// left fails the test unless the session's znodes are those that stay after a
// clean-up.
func (r *rig) left() {
	r.t.Helper()
	names, err := r.zk().Children(r.t.Context(), r.tree().Root())
	if err != nil {
		r.t.Fatal(err)
	}
	stay := map[string]bool{"lock": true, "watch": true, "parties": true, "portlock": true, "usedports": true, "portmap": true, "dests": true, "destslock": true, "keys": true, "status": true}
	for _, name := range names {
		if !stay[name] {
			r.t.Errorf("znode %s is left after the clean-up", name)
		}
	}
}

// logBuffer collects log lines of several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// oneByOne has each path sent in a run of its own.
func oneByOne(c *Config) { c.Worker.Batch = 1 }

// sendLines is the transport of a netcat test in which nothing is sent.
type sendLines func(names []string)

func (send sendLines) Run(_ context.Context, job rsyncrunner.Job) (rsyncrunner.Result, error) {
	send(job.Names)
	return rsyncrunner.Result{}, nil
}

func noLines([]string) {}
