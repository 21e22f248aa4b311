// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

// pane is a terminal with a shell in it.
type pane struct {
	t      *testing.T
	socket string
}

func newPane(t *testing.T, environ ...string) *pane {
	t.Helper()
	dir, err := os.MkdirTemp("", "pane") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	p := &pane{t, filepath.Join(dir, "tmux")}
	t.Cleanup(func() { os.RemoveAll(dir) })
	shell := append([]string{"-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "env"}, environ...)
	p.tmux(append(shell, "PS1=$ ", "sh")...)
	t.Cleanup(func() { p.tmux("kill-server") })
	p.until("there is a shell", `(?m)^\$ *$`)
	return p
}

func (p *pane) tmux(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", p.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (p *pane) screen() string { return p.tmux("capture-pane", "-p") }

// keys presses keys, by the names that tmux has for them.
func (p *pane) keys(names ...string) { p.tmux(append([]string{"send-keys"}, names...)...) }

// until waits until the screen matches, and returns it.
func (p *pane) until(what, pattern string) (screen string) {
	p.t.Helper()
	if !eventually(func() bool { screen = p.screen(); return regexp.MustCompile(pattern).MatchString(screen) }) {
		p.t.Fatalf("waited in vain until %s:\n%s", what, screen)
	}
	return screen
}

// client starts a client that has ended when the test has.
func client(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("zkrsync", args...)
	cmd.Env = append(os.Environ(), environ...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("zkrsync %q said:\n%s", args, &said)
		}
	})
	return cmd
}

// A whole run is watched on a real terminal, of more than one size, with and without ZooKeeper, and paused for a while;
// the terminal is what it was when all is over.
func TestWatchOnTerminal(t *testing.T) {
	t.Parallel()
	src, dst := filepath.Join(t.TempDir(), "src"), t.TempDir()
	if err := testtree.MakeTree(src, testtree.TreeOptions{Fanout: []int{4, 3}, Files: 2, Size: 100}); err != nil {
		t.Fatal(err)
	}
	chroot, err := makeChroot("watch")
	if err != nil {
		t.Fatal(err)
	}
	proxy := zktest.NewProxy(t, server.Addr())
	common := []string{"ZKRSYNC_LOGFILE=", fmt.Sprintf("ZKRSYNC_STARTPORT=%d", zktest.Ports(t, 2)), "ZKRSYNC_SERVERS=" + server.Addr() + chroot}
	p := newPane(t, append(common, "ZKRSYNC_SERVERS="+proxy.Addr()+chroot, "ZKRSYNC_SESSION_TIMEOUT=2", "PATH="+os.Getenv("PATH"))...)
	p.keys("zkrsync --watch --session-timeout=2", "Enter")
	p.until("it says that there is no session", `no active session; waiting for one`)
	master := client(t, common, "-S", "-r", src, "-N", "first", "--jobs=1", "--depth=2")
	p.until("the session is listed", `(?m)^ first .* 17 `)
	p.keys("Enter")
	p.until("the run is shown", `(?s)first .*Paths +0 of 17\b.*━ 1 Running paths 0 .*─ 2 Sources 1 .*Esc list`)
	p.keys("2")
	p.until("the sources have the focus", `(?s)━ 2 Sources 1 .* 0/1 .*master`)
	p.keys("Enter")
	p.until("there are details", `Role +master`)
	p.keys("Escape")
	p.until("the panels are back", `━ 2 Sources 1 `)
	p.keys("p")
	p.until("it asks before it pauses", `Pause the session for all\?`)
	p.keys("y")
	p.until("it is paused", `(?s)● paused, as was asked for.*Paused, with 0 transfers still under way; 1 source follows\.`)
	p.keys("p", "y")
	p.until("it goes on", `(?s)● (running|standing).*Goes on; 1 source follows\.`)
	p.keys("2")

	for _, size := range [][2]int{{120, 40}, {40, 10}, {80, 24}} {
		p.tmux("resize-window", "-x", fmt.Sprint(size[0]), "-y", fmt.Sprint(size[1]))
		want := `(?s)━ 2 Sources 1 .*Tab next panel`
		if size[0] < 60 {
			want = `40x10 is too small`
		}
		p.until("the size is another", want)
	}

	proxy.Cut()
	p.until("ZooKeeper is away", `(?s)ZooKeeper does not answer; this is as of .* ago\n.*0 of 17`)
	proxy.Heal()
	p.until("ZooKeeper is back", `(?s)● .*0 of 17.*━ 2 Sources 1`)

	dest := client(t, common, "-D", "-r", dst, "-N", "first")
	p.until("the run is over", `(?s)the run is over since .*Paths .* of 17`)
	for _, cmd := range []*exec.Cmd{master, dest} {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%q: %v", cmd.Args, err)
		}
	}
	p.keys("Escape")
	p.until("the list is empty", `no active session; waiting for one`)
	p.keys("q")
	screen := p.until("there is the shell", `(?m)^\$ *$`)
	if !strings.HasPrefix(screen, "$ zkrsync --watch") || strings.Contains(screen, "no active session") {
		t.Errorf("the screen is not what it was:\n%s", screen)
	}
	p.keys("echo status $?; stty -a", "Enter")
	p.until("the terminal is what it was, and the exit status that of --state", `(?s)status 14.* icanon .* echo `)
}

// A terminal is asked for no more than it has: without colours there are none, and without a cursor lines come.
func TestWatchOnPoorTerminal(t *testing.T) {
	t.Parallel()
	chroot, err := makeChroot("poor")
	if err != nil {
		t.Fatal(err)
	}
	p := newPane(t, "ZKRSYNC_SERVERS="+server.Addr()+chroot, "PATH="+os.Getenv("PATH"))
	coloured := func() bool {
		return regexp.MustCompile(`\x1b\[[0-9;]*\b[34][0-8]\b`).MatchString(p.tmux("capture-pane", "-p", "-e"))
	}
	p.keys("zkrsync --watch", "Enter")
	p.until("there is a list", `(?s)Sessions at.*q quit`)
	if !coloured() {
		t.Error("there are no colours")
	}
	p.keys("q")
	p.until("there is the shell", `(?m)^\$ *$`)
	p.keys("NO_COLOR=1 zkrsync --watch", "Enter")
	p.until("there is a list", `(?s)Sessions at.*q quit`)
	if coloured() {
		t.Errorf("there are colours:\n%q", p.tmux("capture-pane", "-p", "-e"))
	}
	p.keys("C-c")
	p.until("there is the shell", `(?m)^\$ *$`)
	p.keys("TERM=dumb zkrsync --watch -N none; echo status $?", "Enter")
	p.until("there is a line", `(?m)^\d\d:\d\d:\d\d no active session\nstatus 14$`)
}
