// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// kind says which implementation a client is of.
type kind string

const (
	golang kind = "Go"
	python kind = "Python"
)

// host is the host in the name of every client of a whole session.
const host = "localhost"

// client is a running client of a session, of either kind.
type client interface {
	Whoami() string
	Exit() int  // waits for the end; -1: a signal ended it
	Terminate() // asks it to end
	Kill()      // as the end of its node
}

// master is a client that tells what became of the paths.
type master interface {
	client
	// account is how every path ended, as the master said it. Not before Exit.
	account() account
	// stats are the session's counters, as the master said them last. Not before Exit.
	stats() map[string]int64
}

// account is the paths as they stand in the queues, sorted, by how they ended.
type account struct{ Completed, Failed, Unfinished []string }

// rig is a session of clients of both kinds.
type rig struct {
	t        *testing.T
	session  string
	src, dst string
	port     int      // destinations take one of ten from here on, which nobody else has
	depth    int      // at which masters cut
	queued   []string // every path of the session, sorted, after begin
	zk       *zkclient.Client
}

// newRig makes the tree of a session and an empty directory to send it to.
func newRig(t *testing.T, tree testtree.TreeOptions) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{
		t: t, session: path.Base(own(t)), src: filepath.Join(dir, "src"), dst: filepath.Join(dir, "dst"),
		port: zktest.Ports(t, 10), depth: 1, zk: connect(t),
	}
	ok(t, errors.Join(os.Mkdir(r.dst, 0o755), testtree.MakeTree(r.src, tree)))
	return r
}

// at is a znode of the session.
func (r *rig) at(names ...string) string {
	return path.Join(append([]string{"/admin/rsync", r.session}, names...)...)
}

// goClient starts zkrsync. args say its role.
func (r *rig) goClient(what, rsync string, args ...string) *program {
	r.t.Helper()
	return startProgram(r.t, what, rsync, append([]string{
		"--servers=" + server.Addr(), "-u", user, "-p", password, "--session=" + r.session, "--host=" + host,
		"--depth=" + strconv.Itoa(r.depth), "--startport=" + strconv.Itoa(r.port), "--debug", "--logfile=",
	}, args...)...)
}

// pyClient starts a peer that waits for short times. args are more of its options, and its mode.
func (r *rig) pyClient(path string, args ...string) *Peer {
	r.t.Helper()
	return StartPeer(r.t, server.Addr(), append([]string{
		"--session", r.session, "--path", path, "--depth", strconv.Itoa(r.depth), "--host", host, "--address", "127.0.0.1",
		"--startport", strconv.Itoa(r.port), "--take", "0.5", "--pause", "0.2", "--base-pause", "0.5", "--tick", "0.1",
	}, args...)...)
}

// begin starts the master and returns when all paths are queued and known.
func (r *rig) begin(k kind, args ...string) master {
	r.t.Helper()
	var m master
	if k == golang {
		p := r.goClient("the Go master", "", append([]string{"-S", "-r", r.src}, args...)...)
		p.Await("pathqueue building finished")
		m = goMaster{p}
	} else {
		p := r.pyClient(r.src, append(args, "role", "master")...)
		p.Await("queued")
		m = pyMaster{p}
	}
	for _, queue := range []string{"pathQueue", "extQueue"} {
		r.queued = append(r.queued, r.values(queue)...)
	}
	slices.Sort(r.queued)
	return m
}

// values are the values in a queue, in its order; none if there is no queue.
func (r *rig) values(queue string) []string {
	r.t.Helper()
	names, err := r.zk.Children(r.t.Context(), r.at(queue, "entries"))
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil
	}
	ok(r.t, err)
	slices.Sort(names)
	var values []string
	for _, name := range names {
		data, _, err := r.zk.Get(r.t.Context(), r.at(queue, "entries", name))
		if errors.Is(err, zkclient.ErrNoNode) {
			continue // consumed since
		}
		ok(r.t, err)
		values = append(values, string(data))
	}
	return values
}

// slave starts a slave that finds its rsync in g, if that is not nil.
func (r *rig) slave(k kind, g *gate, args ...string) client {
	r.t.Helper()
	if k == golang {
		if g != nil {
			args = append(args, "--batch=1") // a path a gate
		}
		return r.goClient("a Go slave", g.dir(), append([]string{"-S", "-r", r.src}, args...)...)
	}
	if g != nil {
		args = append(args, "--rsync", filepath.Join(g.dir(), "rsync"))
	}
	return r.pyClient(r.src, append(args, "role", "slave")...)
}

// destination starts a destination that serves sources of both kinds.
func (r *rig) destination(k kind, args ...string) client {
	r.t.Helper()
	if k == golang {
		return r.closed(append([]string{"--open-daemon"}, args...)...)
	}
	return r.pyClient(r.dst, append(args, "role", "destination")...)
}

// closed starts a Go destination, which serves only Go sources.
func (r *rig) closed(args ...string) *program {
	r.t.Helper()
	return r.goClient("a Go destination", "", append([]string{"-D", "-r", r.dst}, args...)...)
}

// gate is an rsync that does not begin to send before it is opened.
type gate struct {
	t    testing.TB
	path string // a directory with that rsync in it
}

func newGate(t testing.TB) *gate {
	t.Helper()
	g := &gate{t, t.TempDir()}
	script := `#!/bin/sh
case "$*" in *" rsync://"*)
	: >"$0.waits"
	: <"$0.open" # a pipe: waits until somebody writes to it, or might
esac
PATH=${PATH#"${0%/rsync}:"} exec rsync "$@"
`
	ok(t, syscall.Mkfifo(filepath.Join(g.path, "rsync.open"), 0o600))
	ok(t, os.WriteFile(filepath.Join(g.path, "rsync"), []byte(script), 0o755))
	return g
}

func (g *gate) dir() string {
	if g == nil {
		return ""
	}
	return g.path
}

// wait returns when an rsync waits at the gate, so that its client is in the middle of a path.
func (g *gate) wait() {
	g.t.Helper()
	until(g.t, "an rsync waits at its gate", func() bool {
		_, err := os.Stat(filepath.Join(g.path, "rsync.waits"))
		return err == nil
	})
}

func (g *gate) open() {
	g.t.Helper()
	pipe, err := os.OpenFile(filepath.Join(g.path, "rsync.open"), os.O_RDWR, 0)
	ok(g.t, err)
	g.t.Cleanup(func() { pipe.Close() })
}

// end waits for clients that are meant to end well, and looks at what the session leaves: the tree
// is there, every path is completed once, and the clean-up is complete.
func (r *rig) end(m master, others ...client) {
	r.t.Helper()
	for _, c := range append([]client{m}, others...) {
		wantExit(r.t, c, 0)
	}
	if diff := cmp.Diff(account{Completed: r.queued}, m.account()); diff != "" {
		r.t.Errorf("how the queued paths (-) ended (+):\n%s", diff)
	}
	r.identical()
	r.cleanedUp()
}

func wantExit(t testing.TB, c client, want int) {
	t.Helper()
	if code := c.Exit(); code != want {
		t.Errorf("%s ended with %d, want %d", c.Whoami(), code, want)
	}
}

func (r *rig) identical() {
	r.t.Helper()
	differences, err := testtree.Compare(r.src, r.dst)
	ok(r.t, err)
	for _, line := range differences {
		r.t.Error(line)
	}
}

// staying is what is left of a session after its clean-up. All of it is persistent, and empty but for
// the node that tells how the last run has ended.
var staying = []string{
	"", "lock", "watch", "parties", "parties/allsd", "parties/sources", "parties/dests", "parties/ext", "parties/bases",
	"portlock", "usedports", "usedports/" + host, "portmap", "dests", "destslock", "keys", "status",
}

// awaitNobody waits until ZooKeeper has seen that all clients are gone.
func (r *rig) awaitNobody() {
	r.t.Helper()
	party := r.zk.Party(r.at("parties", "allsd"), "")
	until(r.t, "the sessions of the dead are over", func() bool {
		n, err := party.Count(r.t.Context())
		ok(r.t, err)
		return n == 0
	})
}

func (r *rig) cleanedUp() {
	r.t.Helper()
	for _, n := range zktest.Dump(r.t, server.Addr(), user, password, r.at()) {
		name := strings.TrimPrefix(strings.TrimPrefix(n.Path, r.at()), "/")
		if n.Ephemeral() || n.Data != "" && name != "watch" || !slices.Contains(staying, name) {
			r.t.Errorf("left after the clean-up: %s", n)
		}
	}
}

// files counts the files of the source and their bytes.
func (r *rig) files() (count, bytes int64) {
	r.t.Helper()
	ok(r.t, filepath.WalkDir(r.src, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			count, bytes = count+1, bytes+info.Size()
		}
		return err
	}))
	return count, bytes
}

// wantStats says whether the counters of a session hold what its clients of both kinds have sent.
func (r *rig) wantStats(m master) {
	r.t.Helper()
	files, bytes := r.files()
	got := m.stats()
	for name, want := range map[string]int64{"Number_of_regular_files_transferred": files, "Literal_data": bytes} {
		if got[name] != want {
			r.t.Errorf("%s is %d, want %d", name, got[name], want)
		}
	}
}

type goMaster struct{ *program }

func (m goMaster) account() account {
	return account{
		Completed:  paths(m.said("INFO", "Completed Path ")),
		Failed:     paths(m.said("ERROR", "Failed Path ")),
		Unfinished: paths(m.said("WARNING", "Unfinished Path ")),
	}
}

// paths are the paths in log lines. One that would not make a line is quoted there.
func paths(said []string) []string {
	for i, path := range said {
		if unquoted, err := strconv.Unquote(path); err == nil {
			said[i] = unquoted
		}
	}
	slices.Sort(said)
	return said
}

func (m goMaster) stats() map[string]int64 {
	said := m.said("INFO", "progress stats: ")
	if len(said) == 0 {
		m.t.Fatal("the master said nothing of the counters")
	}
	return value[map[string]int64](m.t, []byte(said[len(said)-1]))
}

type pyMaster struct{ *Peer }

func (m pyMaster) account() account {
	said := func(event string) []string {
		var paths []string
		for _, e := range m.All(event) {
			paths = append(paths, string(e.Path))
		}
		slices.Sort(paths)
		return paths
	}
	return account{Completed: said("completed"), Failed: said("failed"), Unfinished: said("unfinished")}
}

func (m pyMaster) stats() map[string]int64 { return m.Await("stats").Stats }
