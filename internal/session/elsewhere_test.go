// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/leader"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/zkclient"
)

// elsewhereSource, in the environment, makes the test binary a source in a mount namespace of its own, as on another node.
const elsewhereSource = "SESSION_TEST_ELSEWHERE"

// elsewhere is what such a source is told, in JSON.
type elsewhere struct {
	Addr, Session, Host, Src string
	Over                     map[string]string // below Src: what is bound over it; "": an empty file system
	Delete, Partial          bool
	Extra                    []string // options for rsync
}

// runElsewhere is the source's process. A line on its standard input has it take away what is over the source.
func runElsewhere(parameters string) error {
	var e elsewhere
	err := errors.Join(json.Unmarshal([]byte(parameters), &e), syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	for at, what := range e.Over {
		if at = filepath.Join(e.Src, at); what == "" {
			err = errors.Join(err, syscall.Mount("none", at, "tmpfs", 0, ""))
		} else {
			err = errors.Join(err, syscall.Mount(what, at, "", syscall.MS_BIND, ""))
		}
	}
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(context.Background())
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			for at := range e.Over {
				if err := syscall.Unmount(filepath.Join(e.Src, at), syscall.MNT_DETACH); err != nil {
					stop(err)
				}
			}
		}
		stop(errStopped)
	}()
	c := Config{
		Member: member.Config{
			Zookeeper: zkclient.Config{Servers: []string{e.Addr}, User: "root", Password: "admin", SessionTimeout: 4 * time.Second},
			Session:   e.Session, Host: e.Host, Timing: shortTiming,
			Logger: slog.New(slog.NewTextHandler(os.Stdout, nil)),
		},
		Base: guard.Config{Path: e.Src, VerifyPath: true}, MaxDelete: -1, Leader: leader.Config{Depth: 2}, Jobs: 2,
	}
	c.Rsync.Delete, c.Rsync.Partial, c.Rsync.Extra = e.Delete, e.Partial, e.Extra
	return Source(ctx, c)
}

// process starts a source that is a process of its own, and ends with its standard input.
func (r *rig) process(e elsewhere) (*exec.Cmd, io.WriteCloser) {
	r.t.Helper()
	e.Addr, e.Session, e.Src = r.addr, r.name, r.src
	parameters, err := json.Marshal(e)
	r.must(err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), elsewhereSource+"="+string(parameters))
	cmd.Stdout, cmd.Stderr = r.log, r.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	r.must(err, cmd.Start())
	return cmd, in
}

// elsewhere starts a source that sees something else at the source; appear takes that away.
func (r *rig) elsewhere(host string, over map[string]string, del bool) (run *running, appear func()) {
	r.t.Helper()
	cmd, in := r.process(elsewhere{Host: host, Over: over, Delete: del})
	run = &running{stop: func(error) { in.Close() }, done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() { defer close(ended); run.done <- cmd.Wait() }()
	r.t.Cleanup(func() { in.Close(); <-ended })
	return run, func() {
		_, err := io.WriteString(in, "\n")
		r.must(err)
	}
}

// A source on whose node the file system is not mounted takes nothing and says so; when it is mounted, it goes on by itself.
func TestSourceThatIsNotMounted(t *testing.T) {
	for _, del := range []bool{false, true} {
		for name, over := range map[string]map[string]string{"empty": {"": ""}, "below": {"dir001": ""}, "another": {"": "/etc"}} {
			if del && name == "empty" {
				continue // it refuses to start
			}
			t.Run(name+map[bool]string{true: ", delete"}[del], func(t *testing.T) {
				r := newRig(t)
				r.makeTree(smallTree)
				r.must(syscall.Mount(r.path("dir001"), r.path("dir001"), "", syscall.MS_BIND, ""))
				t.Cleanup(func() { syscall.Unmount(r.path("dir001"), syscall.MNT_DETACH) })
				change := func(c *Config) { c.Rsync.Delete = del }
				master := r.queued(change)
				slave, appear := r.elsewhere("127.0.0.2", over, del)
				dest := r.destination(3)
				r.waitFor("event=base-away")
				if n := r.sent(""); n != 0 {
					t.Errorf("%d paths sent", n)
				}
				appear()
				r.finish(slave, dest, master)
				r.identical()
				if r.said("base-away") != 1 || r.said("base-back") != 1 {
					t.Errorf("not said once:\n%s", r.log)
				}
				r.logged("10 completed, 0 failed, 0 vanished, 0 changed, 0 unfinished")
			})
		}
	}
}

// It does not hold up the others, and leaves with them.
func TestSourceThatIsNeverMounted(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	master := r.queued()
	bad, _ := r.elsewhere("127.0.0.2", map[string]string{"": ""}, false)
	r.waitFor("event=base-away")
	r.finish(r.source(4), r.destination(3), master, bad)
	r.identical()
	r.logged("10 completed, 0 failed, 0 vanished, 0 changed, 0 unfinished")
	if strings.Contains(r.log.String(), "source=127.0.0.2") {
		t.Errorf("it took a path:\n%s", r.log)
	}
}

// Other inodes with the same names are the same tree, as are other names with the same inode.
func TestSourceThatLooksDifferent(t *testing.T) {
	for name, change := range map[string]func(r *rig) map[string]string{
		"inodes": func(r *rig) map[string]string {
			other := r.src + ".copy"
			r.must(os.CopyFS(other, os.DirFS(r.src)))
			return map[string]string{"": other}
		},
		"names": func(r *rig) map[string]string {
			entries, err := os.ReadDir(r.src)
			r.must(err)
			for _, e := range entries {
				r.must(os.Rename(r.path(e.Name()), r.path("new "+e.Name())))
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			master := r.queued()
			slave, _ := r.elsewhere("127.0.0.2", change(r), false)
			r.finish(slave, r.destination(3), master)
			if r.said("base-away") != 0 {
				t.Errorf("a false alarm:\n%s", r.log)
			}
		})
	}
}
