// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/level"
	"vsc-zk/internal/session"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

// lostNames are directories whose names a Python slave would lose.
var lostNames = []string{"#comment", ";comment", "new\nline", "return\r"}

// newLostRig has three paths that every slave can send, and one of each of those names.
func newLostRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, plain(2))
	r.addLost()
	return r
}

// addLost adds the directories that a Python slave would lose to the source.
func (r *rig) addLost() {
	r.t.Helper()
	old := time.Unix(1500000000, 123) // rsync leaves a time that differs by less than a second
	for _, name := range lostNames {
		dir := filepath.Join(r.src, name)
		ok(r.t, errors.Join(
			os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), []byte(name), 0o644), os.Chtimes(dir, old, old),
		))
	}
	ok(r.t, os.Chtimes(r.src, old, old))
}

// masterWithout is a Go master in this process that waits only so long where the program waits for
// minutes: until it says that a Go source is needed, and until it ends the run without one.
func (r *rig) masterWithout(needGo, giveUp time.Duration) *inProcess {
	r.t.Helper()
	p := &inProcess{t: r.t, done: make(chan struct{}), changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(r.t.Context())
	go func() {
		defer close(p.done)
		p.err = session.Source(ctx, session.Config{
			Member: member.Config{
				Zookeeper: zkclient.Config{Servers: []string{server.Addr()}, User: user, Password: password, SessionTimeout: lasting},
				Session:   r.session, Host: host, Logger: slog.New(p), Timing: member.Timing{NeedGo: needGo, GiveUp: giveUp},
			},
			// Sources with the program's own defaults have to agree.
			Base:   guard.Config{Path: r.src, VerifyPath: true, Exclude: regexp.MustCompile(`/\.snapshots(/.*|$)`), ExcludeUser: "root"},
			Leader: leader.Config{Depth: r.depth},
		})
	}()
	r.t.Cleanup(func() {
		cancel()
		<-p.done
	})
	p.await("pathqueue building finished")
	return p
}

// inProcess is a Go master whose log is kept as it is written.
type inProcess struct {
	t    *testing.T
	done chan struct{}
	err  error // after done

	mu      sync.Mutex
	records []slog.Record
	changed chan struct{}
}

func (p *inProcess) Enabled(_ context.Context, l slog.Level) bool { return l >= level.Detail }
func (p *inProcess) WithAttrs([]slog.Attr) slog.Handler           { return p }
func (p *inProcess) WithGroup(string) slog.Handler                { return p }

func (p *inProcess) Handle(_ context.Context, record slog.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, record)
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// said is what follows the text in every message that begins with it.
func (p *inProcess) said(text string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rests []string
	for _, record := range p.records {
		if rest, is := strings.CutPrefix(record.Message, text); is {
			rests = append(rests, rest)
		}
	}
	return rests
}

func (p *inProcess) await(text string) {
	p.t.Helper()
	until(p.t, "the master says "+text, func() bool { return len(p.said(text)) > 0 })
}

func (p *inProcess) account() account {
	return account{
		Completed:  paths(p.said("Completed Path ")),
		Failed:     paths(p.said("Failed Path ")),
		Unfinished: paths(p.said("Unfinished Path ")),
	}
}

// With Python slaves alone a Go master says that there are names left that these would lose. It
// keeps them unfinished, and ends.
func TestNamesThatPythonWouldLose(t *testing.T) {
	t.Parallel()
	r := newLostRig(t)
	m := r.masterWithout(time.Second, 2*time.Second)
	py := []client{r.destination(python), r.slave(python, nil), r.slave(python, nil)}
	m.await("No Go source is connected, and 4 paths need one")
	for _, c := range py {
		wantExit(t, c, 0)
	}
	<-m.done
	if !errors.Is(m.err, wire.ErrIncomplete) {
		t.Errorf("error %v, want ErrIncomplete", m.err)
	}
	want := account{Completed: []string{"0_" + r.src, "1_" + r.src + "/dir000", "1_" + r.src + "/dir001"}}
	for _, name := range lostNames {
		want.Unfinished = append(want.Unfinished, "1_"+r.src+"/"+name)
	}
	slices.Sort(want.Unfinished)
	if diff := cmp.Diff(want, m.account()); diff != "" {
		t.Errorf("how the paths should have ended (-) and did (+):\n%s", diff)
	}
	// What was not sent is not there. The pass over the root has made the directories.
	for _, name := range lostNames {
		if _, err := os.Stat(filepath.Join(r.dst, name, "file")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	r.cleanedUp()
}

// A Go source may come after that warning. It sends what the others could not.
func TestGoSourceComesAfterTheWarning(t *testing.T) {
	t.Parallel()
	r := newLostRig(t)
	m := r.masterWithout(time.Second, patience)
	py := []client{r.destination(python), r.destination(python), r.slave(python, nil)}
	m.await("No Go source is connected, and 4 paths need one")
	for _, c := range append(py, r.slave(golang, nil)) {
		wantExit(t, c, 0)
	}
	<-m.done
	ok(t, m.err)
	if got := m.account(); len(got.Completed) != 7 || len(got.Failed)+len(got.Unfinished) != 0 {
		t.Errorf("the paths ended as %+v", got)
	}
	r.identical()
	r.cleanedUp()
}

// The clean-up of a Python client leaves what it does not know. A later run does not send that, and
// the next Go master removes it.
func TestPythonCleansUpAfterAGoMaster(t *testing.T) {
	t.Parallel()
	r := newLostRig(t)
	first := r.begin(golang)
	first.Kill()
	r.awaitNobody()
	unfinished := r.values("pathQueue")
	slices.Sort(unfinished)

	second := pyMaster{r.pyClient(r.src, "role", "master")}
	wantExit(t, second, 1)
	if diff := cmp.Diff(account{Unfinished: unfinished}, second.account()); diff != "" {
		t.Errorf("what the clean-up says, want (-), got (+):\n%s", diff)
	}
	if got := len(r.values("extQueue")); got != len(lostNames) {
		t.Fatalf("%d paths are left behind, want %d", got, len(lostNames))
	}
	wantExit(t, r.goClient("Go's state", "", "--state", "-r", r.src), 14)

	// Another tree: the old paths are not even below it.
	src := r.src
	r.src = filepath.Join(filepath.Dir(src), "other")
	r.queued = nil
	ok(t, testtree.MakeTree(r.src, testtree.TreeOptions{Fanout: []int{2}}))
	third := pyMaster{r.pyClient(r.src, "role", "master")}
	third.Await("queued")
	dest, slave := r.destination(python), r.slave(golang, nil)
	for _, c := range []client{third, dest, slave} {
		wantExit(t, c, 0)
	}
	if got := third.account(); len(got.Completed) != 3 || len(got.Failed)+len(got.Unfinished) != 0 {
		t.Errorf("the paths of the Python master ended as %+v", got)
	}
	r.identical()
	if got := len(r.values("extQueue")); got != len(lostNames) {
		t.Errorf("%d paths of the first run are left now, want %d", got, len(lostNames))
	}

	r.src, r.dst = src, filepath.Join(filepath.Dir(src), "fresh")
	ok(t, os.Mkdir(r.dst, 0o755))
	fourth := r.begin(golang)
	if len(r.queued) != 7 {
		t.Errorf("%d paths are queued, want 7", len(r.queued))
	}
	r.end(fourth, r.destination(golang), r.slave(golang, nil))
}

// A Go source cleans up after a Python master that has died, as a Python one would.
func TestGoCleansUpAfterAPythonMaster(t *testing.T) {
	t.Parallel()
	r := newRig(t, testtree.TreeOptions{Fanout: []int{2}})
	first := r.begin(python, mortalOption)
	first.Kill()
	r.awaitNobody()
	second := goMaster{r.goClient("the Go source", "", "-S", "-r", r.src)}
	wantExit(t, second, 1)
	if diff := cmp.Diff(account{Unfinished: r.queued}, second.account()); diff != "" {
		t.Errorf("what the clean-up says, want (-), got (+):\n%s", diff)
	}
	r.cleanedUp()
}
