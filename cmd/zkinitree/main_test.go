// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

var server *zktest.Server

func TestMain(m *testing.M) {
	testscript.Main(withServer{m}, map[string]func(){"zkinitree": main})
}

// withServer runs the tests, but not the commands of scripts, with a ZooKeeper.
type withServer struct{ m *testing.M }

func (s withServer) Run() int { return zktest.Main(s.m, &server) }

// place makes a chroot for one test, and returns the value of --servers for it.
func place(t *testing.T) string {
	t.Helper()
	anyone := connect(t, server.Addr(), "", "")
	chroot, err := anyone.Create(t.Context(), "/"+strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()), nil, zkclient.Sequential)
	if err != nil {
		t.Fatal(err)
	}
	return server.Addr() + chroot
}

// zkinitree runs the program, which must print nothing to stdout. It returns the exit status, and
// the lines of the log as "LEVEL message".
func zkinitree(t *testing.T, ctx context.Context, args ...string) (code int, lines []string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(ctx, args, nil, &stdout, &stderr)
	if stdout.Len() > 0 {
		t.Errorf("stdout: %s", &stdout)
	}
	for line := range strings.Lines(stderr.String()) {
		parts := logLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if parts == nil {
			t.Errorf("not a line of the log: %q", line)
			continue
		}
		lines = append(lines, parts[1]+" "+parts[2])
	}
	return code, lines
}

var logLine = regexp.MustCompile(`^[-0-9]{10} [:0-9]{8},\d{3} ([A-Z]+) +(?:zkinitree|ZooKeeper) +MainThread  (.*)$`)

// setUp runs zkinitree with a file, and wants success and these lines.
func setUp(t *testing.T, servers, text string, want ...string) {
	t.Helper()
	code, lines := zkinitree(t, t.Context(), "--servers="+servers, "--configfiles="+configFile(t, text))
	if code != 0 || !slices.Equal(lines, want) {
		t.Fatalf("exit %d, want 0; said %q, want %q", code, lines, want)
	}
}

// patience is how long tests wait on a machine that has other things to do.
const patience = 2 * time.Minute

func config(servers, user, password string) zkclient.Config {
	return zkclient.Config{
		Servers: []string{servers}, User: user, Password: password,
		SessionTimeout: 30 * time.Second, ConnectTimeout: patience,
	}
}

// connect connects as a user, or as nobody in particular if that is empty.
func connect(t *testing.T, servers, user, password string) *zkclient.Client {
	t.Helper()
	zk, err := zkclient.Connect(t.Context(), config(servers, user, password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(zk.Close)
	return zk
}

// dump returns a line for each node at and below /admin.
func dump(t *testing.T, servers string) (nodes []string) {
	t.Helper()
	addr, chroot, _ := strings.Cut(servers, "/")
	for _, n := range zktest.Dump(t, addr, "root", "r00t", "/"+chroot+"/admin") {
		nodes = append(nodes, strings.TrimPrefix(n.String(), "/"+chroot))
	}
	return nodes
}

// line is what dump returns for a node. Each ACL ends in the letters of its rights.
func line(path, data string, acl ...string) string {
	return fmt.Sprintf("%s persistent %q %s", path, data, strings.Join(acl, ","))
}

func digest(user, password, letters string) string {
	a := zkclient.DigestACL(user, password, 0)
	return a.Scheme + ":" + a.ID + ":" + letters
}

func TestTree(t *testing.T) {
	server := place(t)
	text := users + `
[/admin/x/y/z]
value=data
makepath=1
r=alice
[/admin/x]
all=alice
[/admin]
`
	setUp(t, server, text)
	root := connect(t, server, "root", "r00t")
	rootAll, aliceAll, aliceReads := digest("root", "r00t", "rwcda"), digest("alice", "al%ice:x", "rwcda"), digest("alice", "al%ice:x", "r")
	want := []string{
		line("/admin", "", rootAll),
		line("/admin/x", "", rootAll, aliceAll),
		line("/admin/x/y", "", rootAll, aliceReads),
		line("/admin/x/y/z", "data", rootAll, aliceReads),
	}
	if diff := cmp.Diff(want, dump(t, server)); diff != "" {
		t.Fatalf("want -, got +:\n%s", diff)
	}

	again := []string{"WARNING node /admin already exists", "WARNING node /admin/x already exists", "WARNING node /admin/x/y/z already exists"}
	setUp(t, server, text, append(again, "WARNING nothing to change: all nodes are there, with these rights")...)
	if diff := cmp.Diff(want, dump(t, server)); diff != "" {
		t.Fatalf("second run: want -, got +:\n%s", diff)
	}

	// New rights replace the old ones. Data stays, and so do nodes that the file no longer names.
	setUp(t, server, users+"[/admin]\nr=bob\n[/admin/x/y/z]\nvalue=other\n", again[0], again[2])
	want[0] = line("/admin", "", rootAll, digest("bob", "b,ob", "r"))
	want[3] = line("/admin/x/y/z", "data", rootAll)
	if diff := cmp.Diff(want, dump(t, server)); diff != "" {
		t.Fatalf("changed file: want -, got +:\n%s", diff)
	}

	// --info tells what was done. A sequence node is new each time.
	file := configFile(t, users+"[/admin/new/n-]\nsequence=1\nmakepath=1\n[/admin/x]\n")
	code, lines := zkinitree(t, t.Context(), "--servers="+server, "--info", "--configfiles="+file)
	lines = slices.DeleteFunc(lines, func(l string) bool { return !strings.Contains(l, "node ") })
	wantLines := []string{"INFO created node /admin/new", "WARNING node /admin/x already exists", "INFO replaced the ACL of node /admin/x",
		"INFO created node /admin/new/n-0000000000"}
	slices.Sort(lines)
	slices.Sort(wantLines)
	if code != 0 || !slices.Equal(lines, wantLines) {
		t.Errorf("exit %d, said %q, want %q", code, lines, wantLines)
	}
	setUp(t, server, users+"[/admin/new/n-]\nsequence=1\n")
	names, err := root.Children(t.Context(), "/admin/new")
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"n-0000000000", "n-0000000001"}) {
		t.Errorf("sequence nodes: %q, %v", names, err)
	}

	// A plain node of that name is a node of its own.
	text = users + "[/admin/new/m-]\nsequence=1\n[/admin/new/m-/x]\nmakepath=1\n"
	setUp(t, server, text)
	setUp(t, server, text, "WARNING node /admin/new/m-/x already exists")
}

// Each letter gives a user who logs in that right and no other.
func TestRights(t *testing.T) {
	server := place(t)
	text := "[root]\npasswd=r00t\n[/admin]\n"
	for _, key := range []string{"r", "w", "c", "d", "a", "cd", "wr", "all"} {
		text += fmt.Sprintf("[user-%s]\npasswd=pw %s\n[/admin/%s]\n%s=user-%s\n[/admin/%s/child]\n", key, key, key, key, key, key)
	}
	setUp(t, server, text)
	for _, key := range []string{"r", "w", "c", "d", "a", "cd", "wr", "all"} {
		letters := strings.ReplaceAll(key, "all", "rwcda")
		user := connect(t, server, "user-"+key, "pw "+key)
		p, ctx := "/admin/"+key, t.Context()
		_, _, readErr := user.Get(ctx, p)
		_, writeErr := user.Set(ctx, p, []byte("new"), -1)
		_, createErr := user.Create(ctx, p+"/new", nil, zkclient.Persistent)
		deleteErr := user.Delete(ctx, p+"/child")
		adminErr := user.SetACL(ctx, p, []zkclient.ACL{acl("user-"+key, "pw "+key, zkclient.PermAll)})
		for _, c := range []struct {
			letter string
			err    error
		}{{"r", readErr}, {"w", writeErr}, {"c", createErr}, {"d", deleteErr}, {"a", adminErr}} {
			if strings.Contains(letters, c.letter) != (c.err == nil) || c.err != nil && !errors.Is(c.err, zkclient.ErrNoAuth) {
				t.Errorf("right %s of a user with %s: %v", c.letter, key, c.err)
			}
		}
	}
	for _, stranger := range []*zkclient.Client{connect(t, server, "user-all", "wrong"), connect(t, server, "user-r", "pw all")} {
		if _, _, err := stranger.Get(t.Context(), "/admin/all"); !errors.Is(err, zkclient.ErrNoAuth) {
			t.Errorf("a stranger reads: %v", err)
		}
	}
}

// The example file is all that its user rsync needs to run sessions, with this client and with
// kazoo.
func TestExample(t *testing.T) {
	server := server.Addr()
	private := filepath.Join(t.TempDir(), "examples")
	if err := zktest.PrivateCopy("../../examples", private); err != nil {
		t.Fatal(err)
	}
	example := filepath.Join(private, "zkinitree.cfg")
	code, lines := zkinitree(t, t.Context(), "--configfiles="+example, "--servers="+server)
	if code != 0 || len(lines) > 0 {
		t.Fatalf("exit %d, said %q", code, lines)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		root, err := zkclient.Connect(ctx, config(server, "root", "change-me-root"))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if err := root.DeleteTree(ctx, "/admin"); err != nil {
			t.Error(err)
		}
	})
	const base = "/admin/rsync"
	ctx := t.Context()
	user := connect(t, server, "rsync", "change-me-rsync")
	work := func(c *zkclient.Client, session string) error {
		s := base + "/" + session
		if _, err := c.CreatePath(ctx, s+"/watch/ready", []byte("start"), zkclient.Persistent); err != nil {
			return err
		}
		party := c.Party(s+"/parties/allsd", "host:1")
		lock := c.Lock(s+"/lock", "")
		queue := c.Queue(s + "/pathQueue")
		held, err := lock.TryAcquire(ctx)
		if err != nil || !held {
			return fmt.Errorf("lock: %v, %w", held, err)
		}
		if err := errors.Join(party.Join(ctx), queue.Ensure(ctx), queue.Put(ctx, zkclient.DefaultPriority, []byte("1_/x"))); err != nil {
			return err
		}
		entry, err := queue.Take(ctx)
		if err != nil {
			return err
		}
		_, err = c.Set(ctx, s+"/watch/ready", []byte("stop"), -1)
		return errors.Join(err, entry.Consume(ctx), lock.Release(ctx), c.Delete(ctx, party.Node()), c.DeleteTree(ctx, s))
	}
	if err := work(user, "one"); err != nil {
		t.Errorf("a session of user rsync: %v", err)
	}

	operator := connect(t, server, "operator", "change-me-operator")
	if _, err := operator.Children(ctx, base); err != nil {
		t.Errorf("operator: %v", err)
	}
	stranger := connect(t, server, "rsync", "wrong")
	for name, c := range map[string]*zkclient.Client{"operator": operator, "stranger": stranger} {
		if err := work(c, "two"); !errors.Is(err, zkclient.ErrNoAuth) {
			t.Errorf("a session of %s: %v", name, err)
		}
	}

	kazoo := exec.Command("/usr/bin/python3", "-c", `
import sys
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import make_digest_acl
acl = [make_digest_acl("rsync", "change-me-rsync", all=True)]
def work(password):
    c = KazooClient(sys.argv[1], timeout=30, auth_data=[("digest", "rsync:" + password)], default_acl=acl)
    c.start(timeout=120)
    try:
        q = c.LockingQueue("/admin/rsync/py/pathQueue")
        q.put(b"1_/x")
        assert q.get() == b"1_/x" and q.consume()
        c.delete("/admin/rsync/py", recursive=True)
    finally:
        c.stop(); c.close()
work("change-me-rsync")
try:
    work("wrong")
    sys.exit("a wrong password was taken")
except NoAuthError:
    print("done")
`, server)
	out, err := kazoo.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "done" {
		t.Errorf("kazoo: %v: %s", err, out)
	}

	// Nobody must take the placeholders for passwords.
	b, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^passwd=(.*)$`).FindAllStringSubmatch(string(b), -1) {
		if !strings.HasPrefix(m[1], "change-me") {
			t.Errorf("password %q does not ask to be changed", m[1])
		}
	}
}

// Whatever is wrong, nothing is written.
func TestMistakesWriteNothing(t *testing.T) {
	server := place(t)
	for _, c := range mistakes {
		file := configFile(t, users+c.text+"[/admin/good]\nmakepath=1\n")
		code, lines := zkinitree(t, t.Context(), "--servers="+server, "--configfiles="+file)
		if code != 1 {
			t.Errorf("%s: exit %d", c.name, code)
		}
		checkLines(t, c.name, lines, c.want)
		for _, line := range lines {
			if !strings.HasPrefix(line, "ERROR cannot ") {
				t.Errorf("%s: %s", c.name, line)
			}
		}
	}
	anyone := connect(t, server, "", "")
	if _, found, err := anyone.Exists(t.Context(), "/admin"); found || err != nil {
		t.Errorf("/admin was made, or %v", err)
	}
}

func TestMissingParents(t *testing.T) {
	server := place(t)
	file := configFile(t, users+"[/admin/a/b/c]\n[/admin/a/b]\n[/admin/a/b/d/n-]\nsequence=1\n[/admin/ok]\nmakepath=1\n")
	code, lines := zkinitree(t, t.Context(), "--servers="+server, "--configfiles="+file)
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	checkLines(t, "missing", lines, []string{
		"cannot set up /admin/a/b (FILE:12): parent node(s) of znode /admin/a/b missing: /admin/a is neither in ZooKeeper nor in the file",
		"cannot set up /admin/a/b/d/n- (FILE:13): parent node(s) of znode /admin/a/b/d/n- missing: /admin/a/b/d is neither",
	})
	root := connect(t, server, "root", "r00t")
	if _, found, err := root.Exists(t.Context(), "/admin"); found || err != nil {
		t.Errorf("/admin was made, or %v", err)
	}

	// Parents that are in ZooKeeper need no section.
	setUp(t, server, users+"[/admin/a]\nmakepath=1\n")
	setUp(t, server, users+"[/admin/a/b/c]\n[/admin/a/b]\n")

	// A node whose name the server completes is no parent of others.
	file = configFile(t, users+"[/admin/q]\nsequence=1\n[/admin/q/x]\n")
	code, lines = zkinitree(t, t.Context(), "--servers="+server, "--configfiles="+file)
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	checkLines(t, "sequence", lines, []string{"parent node(s) of znode /admin/q/x missing"})

	if _, err := root.Create(t.Context(), "/admin/a/gone-soon", nil, zkclient.Ephemeral); err != nil {
		t.Fatal(err)
	}
	file = configFile(t, users+"[/admin/a/gone-soon/x]\n")
	code, lines = zkinitree(t, t.Context(), "--servers="+server, "--configfiles="+file)
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	checkLines(t, "ephemeral", lines, []string{"/admin/a/gone-soon is an ephemeral node"})
}

func TestOtherRootPassword(t *testing.T) {
	server := place(t)
	setUp(t, server, users+"[/admin]\n[/admin/x]\n")
	root := connect(t, server, "root", "r00t")
	// The ACL of a node that anybody may read can be read with any password.
	public := []zkclient.ACL{rootAll, {Scheme: "world", ID: "anyone", Perms: zkclient.PermRead}}
	if err := root.SetACL(t.Context(), "/admin/x", public); err != nil {
		t.Fatal(err)
	}
	before := dump(t, server)
	other := strings.Replace(users, "r00t", "n3w", 1)
	for text, want := range map[string]string{
		"[/admin/new]\n[/admin]\nr=bob\n[/admin/x]\n": "cannot change /admin, /admin/x: user root with the password of [root] has no right to",
		"[/admin/x/y]\n":             "cannot change /admin/x: user root",
		"[/admin/p/q]\nmakepath=1\n": "cannot change /admin: user root",
	} {
		code, lines := zkinitree(t, t.Context(), "--servers="+server, "--configfiles="+configFile(t, other+text))
		if code != 1 {
			t.Errorf("%q: exit %d", text, code)
		}
		checkLines(t, text, lines, []string{want})
		for _, line := range lines {
			if strings.Contains(line, "n3w") || strings.Contains(line, "r00t") {
				t.Errorf("the password is in %q", line)
			}
		}
	}
	if diff := cmp.Diff(before, dump(t, server)); diff != "" {
		t.Errorf("changed: before -, after +:\n%s", diff)
	}

	// Nodes that are open to all, or to an address, can be taken over.
	open := connect(t, server, "", "")
	if err := root.SetACL(t.Context(), "/admin", []zkclient.ACL{{Scheme: "world", ID: "anyone", Perms: zkclient.PermAll}}); err != nil {
		t.Fatal(err)
	}
	if err := open.SetACL(t.Context(), "/admin", []zkclient.ACL{{Scheme: "ip", ID: "127.0.0.1", Perms: zkclient.PermAll}}); err != nil {
		t.Fatal(err)
	}
	setUp(t, server, other+"[/admin]\n", "WARNING node /admin already exists")
}

// While the reply to the making of a node is missing somebody else makes it, open to all; or nobody
// does, and it was made. Either way its rights are those of the file in the end.
func TestLostReply(t *testing.T) {
	for name, fault := range map[string]func(*zktest.Proxy){
		"not made": (*zktest.Proxy).LoseWrites,
		"made":     (*zktest.Proxy).SwallowWrites,
	} {
		t.Run(name, func(t *testing.T) {
			servers := place(t)
			anyone := connect(t, servers, "", "")
			p := zktest.NewProxy(t, server.Addr())
			fault(p)
			args := []string{
				"--servers=" + strings.Replace(servers, server.Addr(), p.Addr(), 1),
				"--configfiles=" + configFile(t, users+"[/admin]\n"),
			}
			ended := make(chan int, 1)
			go func() {
				code, _ := zkinitree(t, t.Context(), args...)
				ended <- code
			}()
			there := func() bool {
				_, found, err := anyone.Exists(t.Context(), "/admin")
				if err != nil {
					t.Fatal(err)
				}
				return found
			}
			for !p.Swallowing() || name == "made" && !there() {
				select {
				case code := <-ended:
					t.Fatalf("exit %d before anything was to be made", code)
				case <-time.After(time.Millisecond):
				}
			}
			p.Cut()
			if name == "not made" {
				if _, err := anyone.Create(t.Context(), "/admin", nil, zkclient.Persistent); err != nil {
					t.Fatal(err)
				}
			}
			p.Heal()
			if code := <-ended; code != 0 {
				t.Errorf("exit %d", code)
			}
			want := []string{line("/admin", "", digest("root", "r00t", "rwcda"))}
			if diff := cmp.Diff(want, dump(t, servers)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestChroot(t *testing.T) {
	server := place(t)
	file := configFile(t, users+"[/admin]\n")
	code, lines := zkinitree(t, t.Context(), "--servers="+server+"/site", "--configfiles="+file)
	if code != 1 || len(lines) != 1 || !strings.Contains(lines[0], "/site") {
		t.Errorf("exit %d, said %q", code, lines)
	}
	anyone := connect(t, server, "", "")
	if _, err := anyone.Create(t.Context(), "/site", nil, zkclient.Persistent); err != nil {
		t.Fatal(err)
	}
	setUp(t, server+"/site", users+"[/admin]\n")
	if _, found, err := anyone.Exists(t.Context(), "/site/admin"); !found || err != nil {
		t.Errorf("/site/admin: %v, %v", found, err)
	}
}

func TestWithoutServersOrFiles(t *testing.T) {
	code, lines := zkinitree(t, t.Context())
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	checkLines(t, "nothing", lines, []string{"ERROR cannot connect to ZooKeeper: No servers given!", "ERROR cannot set up a tree: Root user not configured"})

	// Without anything to do it does not connect.
	file := configFile(t, "[MAIN]\nservers=127.0.0.1:1\n[root]\npasswd=r00t\n")
	code, lines = zkinitree(t, t.Context(), "--configfiles="+file)
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	checkLines(t, "no node", lines, []string{"WARNING no section begins with /"})
}

func TestUsage(t *testing.T) {
	for arg, want := range map[string]struct {
		code int
		text string
	}{
		"--help": {0, "makepath"}, "-h": {0, "shorthelp"}, "--version": {0, "zkinitree"}, "--confighelp": {0, "servers"},
		"--bogus": {2, "zkinitree: error: no such option: --bogus"}, "stray": {2, "Invalid arguments"},
	} {
		var said bytes.Buffer
		if code := run(t.Context(), []string{arg}, nil, &said, &said); code != want.code || !strings.Contains(said.String(), want.text) {
			t.Errorf("%s: exit %d, said %s", arg, code, &said)
		}
	}
}

// A signal most likely has to end the wait for a server that takes the connection and says nothing.
func TestSignal(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	file := configFile(t, users+"[/admin]\n")
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		var clients sync.WaitGroup
		clients.Go(func() {
			conn, err := mute.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = syscall.Kill(os.Getpid(), s)
			_, _ = io.Copy(io.Discard, conn) // until the client goes
		})
		ctx, stop := cli.WithSignals(t.Context(), nil)
		code, lines := zkinitree(t, ctx, "--servers="+mute.Addr().String(), "--configfiles="+file)
		stop()
		clients.Wait()
		// At the end of its patience the client would say something else.
		if code != 128+int(s) || len(lines) != 1 || !strings.Contains(lines[0], s.String()) {
			t.Errorf("%v: exit %d, said %q", s, code, lines)
		}
	}
}
