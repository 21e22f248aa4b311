// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	daemon "github.com/sevlyar/go-daemon"
	"golang.org/x/sys/unix"

	"vsc-zk/internal/cli"
)

// Daemon mode. The process starts itself again in a session of its own, with a pipe as stdout and
// stderr. The parent copies to the terminal what comes out of the pipe, and passes signals on to
// the child. When the child has joined the zkrsync session, it goes on with /dev/null and writes a
// last NUL byte to the pipe. So errors of the start reach the terminal and the parent's exit
// status; later ones are in the log.

// upMark is the byte with which the child ends its start.
const upMark = 0

// starterVariable is the environment variable that tells the child the parent's pid, which the
// names of log and pid file are made from.
const starterVariable = "_ZKRSYNC_STARTER"

// detachment is what came of going into the background; both processes have one.
type detachment struct {
	parent  bool
	code    int // the parent's exit status
	starter int // pid of the parent
	pidFile string
}

// isDaemon tells whether this process is the daemon.
func isDaemon() bool { return daemon.WasReborn() }

// detach, in the parent, starts the daemon and returns when that is up or has failed; in the child
// it becomes the daemon. Both processes do everything that comes before it, so it comes before any
// connection and before the log file.
func detach(ctx context.Context, o *options, args, environ []string, log *slog.Logger, stderr io.Writer) (*detachment, error) {
	if daemon.WasReborn() {
		return becomeDaemon(o, log)
	}
	return startDaemon(ctx, args, o.daemonEnviron(environ), os.Getpid(), stderr)
}

// daemonEnviron has the password in the environment, which only this user and root can see: it is not among
// the arguments, and the file that it was read from may have been a pipe.
func (o *options) daemonEnviron(environ []string) []string {
	environ = slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		return strings.HasPrefix(entry, "ZKRSYNC_PASSWD=") || strings.HasPrefix(entry, "ZKRSYNC_PASSWD_FILE=")
	})
	return append(environ, "ZKRSYNC_PASSWD="+o.passwd)
}

func pidFilePath(o *options, starter int) (path, note string, err error) {
	path, err = cli.Expand(o.pidFile, o.templateKeys(starter))
	if err != nil {
		return "", "", fmt.Errorf("cannot use --pidfile: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", "", fmt.Errorf("cannot use --pidfile: %w", err)
	}
	path, note, err = cli.PrivateFile(path, cli.DefaultDir("zkrsync"))
	if err != nil {
		return "", "", fmt.Errorf("cannot use --pidfile: %w", err)
	}
	return path, note, nil
}

// startDaemon runs in the parent. A signal that ends ctx, Ctrl-C for example, goes to the daemon
// that is starting.
func startDaemon(ctx context.Context, args, environ []string, starter int, stderr io.Writer) (*detachment, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the daemon: %w", err)
	}
	defer read.Close()
	c := &daemon.Context{
		LogFileName: fmt.Sprintf("/proc/self/fd/%d", write.Fd()),
		Args:        append([]string{os.Args[0]}, args...),
		Env:         append(environ[:len(environ):len(environ)], starterVariable+"="+strconv.Itoa(starter)),
		Umask:       0o022,
	}
	child, err := c.Reborn()
	write.Close()
	// A child that has ended before the library had told it everything has said why.
	if err != nil && (child == nil || !errors.Is(err, syscall.EPIPE)) {
		return nil, fmt.Errorf("cannot start the daemon: %w", err)
	}
	unhook := context.AfterFunc(ctx, func() {
		if ended := cli.EndedBy(ctx); ended != nil {
			_ = child.Signal(ended.Signal) // it may have just ended
		}
	})
	defer unhook()
	said := &lastByte{w: stderr}
	if _, err := io.Copy(said, read); err != nil {
		return nil, fmt.Errorf("cannot hear from the daemon: %w", err)
	}
	if said.up {
		return &detachment{parent: true}, child.Release()
	}
	state, err := child.Wait()
	if err != nil {
		return nil, fmt.Errorf("cannot learn how the daemon ended: %w", err)
	}
	if code := state.ExitCode(); code >= 0 {
		return &detachment{parent: true, code: code}, nil
	}
	return nil, fmt.Errorf("the daemon ended at its start: %s", state)
}

// lastByte passes on all that is written except the mark. It goes on when nobody reads it, so that
// the daemon is not held up.
type lastByte struct {
	w  io.Writer
	up bool
}

func (l *lastByte) Write(p []byte) (int, error) {
	text, found := bytes.CutSuffix(p, []byte{upMark})
	l.up = l.up || found
	_, _ = l.w.Write(text)
	return len(p), nil
}

// becomeDaemon runs in the child.
func becomeDaemon(o *options, log *slog.Logger) (*detachment, error) {
	c := new(daemon.Context)
	if _, err := c.Reborn(); err != nil {
		return nil, fmt.Errorf("cannot become a daemon: %w", err)
	}
	// This is the library's copy of /dev/null, which every rsync would inherit.
	if err := unix.Close(3); err != nil {
		return nil, fmt.Errorf("cannot become a daemon: %w", err)
	}
	starter, err := strconv.Atoi(os.Getenv(starterVariable))
	if err != nil {
		return nil, fmt.Errorf("cannot become a daemon: %s is not set rightly: %w", starterVariable, err)
	}
	// A child that inherited these would take itself for a daemon.
	if err := errors.Join(os.Unsetenv(daemon.MARK_NAME), os.Unsetenv(starterVariable)); err != nil {
		return nil, fmt.Errorf("cannot become a daemon: %w", err)
	}
	path, note, err := pidFilePath(o, starter)
	if err != nil {
		return nil, err
	}
	if note != "" {
		log.Warn(note, "file", path)
	}
	if err := o.anchor(); err != nil {
		return nil, fmt.Errorf("cannot become a daemon: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return nil, fmt.Errorf("cannot become a daemon: %w", err)
	}
	if err := claimPidFile(path); err != nil {
		return nil, err
	}
	return &detachment{starter: starter, pidFile: path}, nil
}

// files are the options that name a file or directory which is opened later.
func (o *options) files() []*string {
	return append([]*string{
		&o.rsyncPath, &o.local, &o.zookeeperHome, &o.pathsFrom, &o.changed, &o.doneFile, &o.report, &o.history, &o.failed, &o.logFile, &o.webTokenFile,
	}, o.tls.Names()...)
}

// anchor makes the names of files absolute: they are meant relative to where the user is.
func (o *options) anchor() error {
	for _, name := range o.files() {
		if *name == "" || *name == "-" && name == &o.changed || filepath.IsAbs(*name) {
			continue
		}
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		if name == &o.logFile {
			wd = percent(wd) // a template
		}
		*name = wd + "/" + *name
	}
	return nil
}

// up lets go of the parent and of the terminal. The mark is written last, behind anything that is
// logged meanwhile.
func (d *detachment) up() {
	pipe, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return // the parent stays, and shows what is logged
	}
	parent := os.NewFile(uintptr(pipe), "starter")
	defer parent.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	for _, fd := range []int{1, 2} {
		_ = unix.Dup3(int(null.Fd()), fd, 0) // cannot fail: both are open
	}
	_, _ = parent.Write([]byte{upMark}) // the parent may have been killed: go on
}

// end removes the pid file if it is still this process's.
func (d *detachment) end() {
	if pid, _ := readPidFile(d.pidFile); pid == os.Getpid() {
		_ = os.Remove(d.pidFile) // nothing can be done about it, and nobody listens
	}
}

// maxPid is more than a pid file has, in bytes.
const maxPid = 64

// readPidFile returns the pid in the file, 0 if there is none: no file, an empty one, or one with a 0. What
// is no pid file is an error: it is somebody else's, and must not be replaced.
func readPidFile(path string) (int, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("cannot read the pid file: %w", err)
	case !info.Mode().IsRegular():
		kind := "no regular file"
		if info.IsDir() {
			kind = "a directory"
		} else if info.Mode()&fs.ModeSymlink != 0 {
			kind = "a symbolic link"
		}
		return 0, fmt.Errorf("cannot use the pid file: %s is %s", path, kind)
	}
	file, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("cannot read the pid file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPid))
	if err != nil {
		return 0, fmt.Errorf("cannot read the pid file: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 && info.Size() < maxPid {
		return 0, nil
	}
	pid, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 32)
	if err != nil || pid < 0 {
		return 0, fmt.Errorf("cannot use the pid file: what is in %s is no process id, so it is not replaced; give another name, or remove it", path)
	}
	return int(pid), nil
}

// claimPidFile writes this process's pid file, unless there is one of a process that still runs.
func claimPidFile(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("cannot write the pid file: %w", err)
	}
	defer dir.Close()
	// The lock lets daemons that start together look one after the other. Otherwise both could find
	// the same stale file, and the slower one remove the new file of the other. Not every file
	// system has locks: then it goes on without.
	for unix.Flock(int(dir.Fd()), unix.LOCK_EX) == unix.EINTR {
	}
	pid, err := readPidFile(path)
	if err != nil {
		return err
	}
	if pid > 0 && runs(pid) {
		return fmt.Errorf("pidfile %s already exist. Daemon already running? If process %d is no zkrsync, remove the file", path, pid)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot replace the pid file: %w", err)
	}
	return writePidFile(path)
}

// runs tells whether there is such a process. A zombie does not count, because in a container it
// may stay for ever.
func runs(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	// pid (command) state …; the command may have any byte in it.
	state := bytes.TrimLeft(stat[bytes.LastIndexByte(stat, ')')+1:], " ")
	return !bytes.HasPrefix(state, []byte("Z")) && !bytes.HasPrefix(state, []byte("X"))
}

// writePidFile makes the file together with its content, and only if there is none.
func writePidFile(path string) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".zkrsync-pid-")
	if err != nil {
		return fmt.Errorf("cannot write the pid file: %w", err)
	}
	defer os.Remove(temp.Name())
	_, err = fmt.Fprintln(temp, os.Getpid())
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err != nil {
		return fmt.Errorf("cannot write the pid file: %w", err)
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return fmt.Errorf("cannot write the pid file, has another daemon just started? %w", err)
	}
	return nil
}
