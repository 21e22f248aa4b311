// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// server serves all tests of the package; each has a chroot of its own.
var server *zktest.Server

func TestMain(m *testing.M) {
	testscript.Main(withServer{m}, map[string]func(){"zkrsync": main})
}

// withServer runs the tests, but not the commands of scripts, with a ZooKeeper.
type withServer struct{ m *testing.M }

func (s withServer) Run() int {
	// Scripts mostly wait, so more of them run at once than there are processors. -parallel on the
	// command line still decides.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	return zktest.Main(s.m, &server)
}

// The scripts run zkrsync as a process of its own, as users do. Each script has:
//
//   - $ZKRSYNC_SERVERS: the real ZooKeeper, with a chroot of the script's own;
//   - $ZKRSYNC_LOGFILE: empty, so that only scripts about it write a log file;
//   - $ZKRSYNC_STARTPORT: the first of some ports that are the script's own;
//   - $ZK: host:port of the ZooKeeper;
//   - $MUTEPORT: a port of this host that is taken and never answers.
//
// Beside the commands of testscript there are
//
//	usage MESSAGE PROGRAM ARGS…    the usage error, to the letter, and exit status 2
//	exits STATUS PROGRAM ARGS…     exec, with the exit status it must have
//	start NAME PROGRAM ARGS…       run it beside the script; its output is in NAME.out and NAME.err. Its
//	                               environment is that of the begin: use "env X=Y PROGRAM"
//	signal SIGNAL NAME|PIDFILE     send it a signal
//	ends STATUS NAME               wait until it ends, with this status ("killed" by SIGKILL)
//	soon STATUS NAME               the same, within the few seconds that a user waits
//	eventually PROGRAM ARGS…       exec, again and again until it succeeds
//	[!] alive NAME|PIDFILE         does the process run? (Not: it ends soon)
//	[!] running PATTERN            does a process of this script run whose command line matches?
//	                               (Not: none does soon)
//	clean PIDFILE FILE…            has a daemon only these files open, and its children none?
//	znodes FILE                    write the session's znodes into a file, a line each
//	[!] znode PATTERN              wait until a znode (a line of that file) matches (or none does)
//
//	answers FILE PATH PATTERN [HEADER]
//	                               wait until what the server answers whose address is the first in FILE matches:
//	                               its status, and the text in the lines behind it. "PATH FORM" posts a form
//
// All waits are bounded. A script must not leave a process behind.
func TestScript(t *testing.T) {
	mute, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("MUTEPORT", fmt.Sprint(mute.Addr().(*net.TCPAddr).Port))
			return setUp(t, env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"usage":      cmdUsage,
			"exits":      cmdExits,
			"start":      cmdStart,
			"signal":     cmdSignal,
			"ends":       cmdEnds,
			"soon":       cmdSoon,
			"running":    cmdRunning,
			"eventually": cmdEventually,
			"alive":      cmdAlive,
			"clean":      cmdClean,
			"znodes":     cmdZnodes,
			"znode":      cmdZnode,
			"answers":    cmdAnswers,
		},
	})
}

// patience is how long scripts wait for what should take a second or two: the machine may be busy
// with other tests.
const patience = 45 * time.Second

// promptness is the time in which a client has to end after a signal.
const promptness = 10 * time.Second

// scriptData is what the commands of one script share.
type scriptData struct {
	t       *testing.T
	chroot  string
	environ []string
	jobs    map[string]*job
	pids    map[string]int // by pid file
}

type dataKey struct{}

func dataOf(ts *testscript.TestScript) *scriptData { return ts.Value(dataKey{}).(*scriptData) }

func setUp(t *testing.T, env *testscript.Env) error {
	chroot, err := makeChroot(filepath.Base(env.WorkDir))
	if err != nil {
		return err
	}
	env.Setenv("ZK", server.Addr())
	env.Setenv("ZKRSYNC_SERVERS", server.Addr()+chroot)
	env.Setenv("ZKRSYNC_LOGFILE", "")
	env.Setenv("ZKRSYNC_STARTPORT", fmt.Sprint(zktest.Ports(t, 10)))
	env.Setenv("COLUMNS", "80")
	env.Setenv("GORACE", "atexit_sleep_ms=10") // with -race each process would sleep for a second at its end
	env.Setenv("LC_ALL", "C.UTF-8")
	data := &scriptData{t: t, chroot: chroot, environ: env.Vars, jobs: map[string]*job{}, pids: map[string]int{}}
	env.Values[dataKey{}] = data
	env.Defer(func() { data.tidy(env.WorkDir) })
	return nil
}

// makeChroot makes the znode that a script works below.
func makeChroot(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	zk, err := zkclient.Connect(ctx, zkclient.Config{Servers: []string{server.Addr()}})
	if err != nil {
		return "", err
	}
	defer zk.Close()
	return zk.Create(ctx, "/"+script+"-", nil, zkclient.Sequential)
}

// tidy ends what a failed script has left. It fails any other script that leaves something.
func (d *scriptData) tidy(workDir string) {
	for _, j := range d.jobs {
		if j.running() {
			_ = j.cmd.Process.Kill()
			<-j.done
		}
	}
	left := eventuallyNone(func() []process { return processesWith("WORK=" + workDir) })
	for _, p := range left {
		d.t.Errorf("%s left process %d behind: %s", filepath.Base(workDir), p.pid, p.args)
		p.kill()
	}
}

func cmdUsage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: usage MESSAGE PROGRAM ARGS…")
	}
	cmdExits(ts, false, append([]string{"2"}, args[1:]...))
	program := filepath.Base(args[1])
	want := fmt.Sprintf("Usage: %s [options]\n\n%[1]s: error: %s\n", program, args[0])
	if got := ts.ReadFile("stderr"); got != want {
		ts.Fatalf("stderr is\n%s\nwant\n%s", got, want)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout is %q, want nothing", out)
	}
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARGS…")
	}
	status, err := exitStatusOf(ts.Exec(args[1], args[2:]...))
	ts.Check(err)
	if status != args[0] {
		ts.Fatalf("exit status %s, want %s", status, args[0])
	}
}

func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: eventually PROGRAM ARGS…")
	}
	var err error
	if !eventually(func() bool { err = ts.Exec(args[0], args[1:]...); return err == nil }) {
		ts.Fatalf("not within %v: %v", patience, err)
	}
}

func cmdZnodes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: znodes FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(dataOf(ts).znodes()), 0o644))
}

func cmdZnode(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] znode PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var znodes string
	if !eventually(func() bool { znodes = dataOf(ts).znodes(); return pattern.MatchString(znodes) != neg }) {
		ts.Fatalf("after %v there are:\n%s", patience, znodes)
	}
}

func cmdAnswers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: answers FILE PATH PATTERN [HEADER]")
	}
	pattern, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	var got string
	if !eventually(func() bool {
		base := regexp.MustCompile(`http://\S+:\d+/`).FindString(ts.ReadFile(args[0]))
		path, form, post := strings.Cut(args[1], " ")
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		request, err := http.NewRequest(method, base+path, strings.NewReader(form))
		ts.Check(err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if len(args) > 3 {
			name, value, _ := strings.Cut(args[3], ": ")
			request.Header.Set(name, value)
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		answer, err := client.Do(request)
		if err != nil {
			got = err.Error()
			return false
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		got = fmt.Sprintf("%d\n%s", answer.StatusCode, body)
		return err == nil && pattern.MatchString(got)
	}) {
		ts.Fatalf("after %v the answer is:\n%s", patience, got)
	}
}

// znodes returns a line for each znode below /admin, without the chroot.
func (d *scriptData) znodes() string {
	var b strings.Builder
	for _, n := range zktest.Dump(d.t, server.Addr(), "root", "admin", d.chroot+"/admin") {
		fmt.Fprintln(&b, strings.TrimPrefix(n.String(), d.chroot))
	}
	return b.String()
}

// eventually asks until the answer is yes or patience is at its end, and returns the last answer.
func eventually(ask func() bool) bool {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if ask() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// eventuallyNone asks until there is nothing or patience is at its end, and returns what there is
// then.
func eventuallyNone[T any](ask func() []T) (left []T) {
	eventually(func() bool { left = ask(); return len(left) == 0 })
	return left
}

// lookUp finds a program as the shell does.
func lookUp(ts *testscript.TestScript, program string) string {
	path, err := exec.LookPath(program)
	ts.Check(err)
	return path
}
