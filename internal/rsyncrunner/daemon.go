// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DaemonConfig describes an rsync daemon with one module.
type DaemonConfig struct {
	Module    string
	Path      string         // absolute; need not exist yet
	DropCache bool           // a patched rsync only
	Looks     bool           // nothing will be written
	Stall     time.Duration  // an rsync in which nothing moves for so long is ended; 0: it is not
	TempDir   string         // for the config file; "": os.TempDir
	Output    io.Writer      // gets the daemon's log in whole lines; nil: nobody
	Begun     func([]string) // gets the directories below Path in which files were being written in a transfer that has not ended well; nil: nobody
	Logger    *slog.Logger   // nil: none

	program string // tests replace it; "": rsync
}

// Daemon serves connections that others have accepted.
type Daemon struct {
	cfg    DaemonConfig
	path   string
	config *configFile
	out    io.Writer

	mayMount bool
}

// NewDaemon makes a daemon that serves nothing yet. Close has to be called.
func NewDaemon(ctx context.Context, cfg DaemonConfig) (*Daemon, error) {
	if err := checkModule(cfg.Module); err != nil {
		return nil, err
	}
	if cfg.DropCache {
		if err := checkDropCache(ctx, cfg.program); err != nil {
			return nil, err
		}
	}
	path, err := cleanModulePath(cfg.Path)
	if err != nil {
		return nil, err
	}
	may := privileges()
	config, err := writeConfig(cfg.TempDir, moduleConfig(cfg.Module, may))
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if !may.chroot {
		cfg.Logger.Warn(notPreserved(may), "event", "not-preserved")
	}
	mayMount := may.chroot && path != "/" && !cfg.Looks && hasCapability(unix.CAP_SYS_ADMIN)
	return &Daemon{cfg: cfg, path: path, config: config, out: share(cfg.Output), mayMount: mayMount}, nil
}

// Close removes the config file. Nothing may be served any more.
func (d *Daemon) Close() { d.config.remove() }

// endGrace is between SIGUSR1 and SIGKILL. rsync takes 0.1 s for SIGUSR1.
const endGrace = time.Second

// Serve has an rsync serve one connection, a socket, until it ends; when ctx ends first it ends that rsync
// with all its processes and returns the cause. ErrStalled: nothing has moved in it for too long, and it was
// ended.
func (d *Daemon) Serve(ctx context.Context, conn *os.File) (failed error) {
	// A cleaner of temporary files may have been there.
	repaired, err := d.config.keep()
	if err != nil {
		return err
	}
	if repaired {
		d.cfg.Logger.Warn(fmt.Sprintf("The rsync daemon's config file %s was removed or changed; it is written again", d.config.name), "event", "config-repaired", "file", d.config.name)
	}
	said, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot serve a connection: %w", err)
	}
	defer said.Close()
	program := programName(d.cfg.program)
	// With a socket as its standard input rsync gives its standard error away, so the log is a descriptor
	// of its own.
	args := []string{"--daemon", "--config=" + d.config.name, "--log-file=/proc/self/fd/3"}
	if d.cfg.DropCache {
		args = append(args, "--drop-cache")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(ChildEnviron(os.Environ()), modulePathVariable+"="+d.path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = conn, in, in, []*os.File{in}
	var setUp func() error
	if d.mayMount {
		setUp = func() error { return followNoLinks(d.path) }
	}
	p, err := startSetUp(ctx, cmd, setUp, ending{signal: syscall.SIGUSR1, grace: endGrace, together: true})
	in.Close()
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case err != nil:
		return startError(program, err)
	}
	var log excerpt
	lines := lineWriter{out: d.out, line: log.add}
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&lines, said); lines.flush() })
	if d.cfg.Begun != nil {
		writes := p.watchWrites(d.path)
		defer func() {
			if dirs := writes(); failed != nil && len(dirs) > 0 {
				d.cfg.Begun(dirs)
			}
		}()
	}
	watched, unwatch := p.watchStall(ctx, d.cfg.Stall, nil)
	err = p.wait(watched)
	unwatch()
	_ = said.SetReadDeadline(time.Now().Add(endGrace)) // a stray process may keep it open
	reading.Wait()
	if err != nil {
		return err
	}
	if code, signal := p.status(); code != 0 {
		return fmt.Errorf("the rsync that served it ended, %v; %s", Result{Code: code, Signal: signal}, log.said())
	}
	return nil
}

// privileges asks the kernel, as uid 0 alone does not make a chroot possible.
func privileges() privilege {
	root := os.Geteuid() == 0
	return privilege{root: root, chroot: root && hasCapability(unix.CAP_SYS_CHROOT)}
}

// Privileges tells whether a daemon of this process runs as root, and in a chroot.
func Privileges() (root, chroot bool) {
	may := privileges()
	return may.root, may.chroot
}

func hasCapability(number uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[number/32].Effective&(1<<(number%32)) != 0
}

func notPreserved(may privilege) string {
	if may.root {
		return "the rsync daemon cannot chroot (no CAP_SYS_CHROOT): symbolic links with absolute targets, or targets outside the destination path, will be rewritten"
	}
	return "the rsync daemon does not run as root: owners, groups this user is not in, and devices are not preserved, and symbolic links with absolute targets, or targets outside the destination path, will be rewritten"
}
