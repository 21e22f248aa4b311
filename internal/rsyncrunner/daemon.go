// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const defaultStartTimeout = 10 * time.Second

// DaemonConfig describes an rsync daemon with one module.
type DaemonConfig struct {
	Module    string
	Hidden    string // the same under another name, which the daemon does not list; "": none
	Path      string // absolute; need not exist yet
	Port      int
	DropCache bool         // a patched rsync only
	TempDir   string       // for the config file; "": os.TempDir
	Output    io.Writer    // gets the daemon's log in whole lines; nil: nobody
	Logger    *slog.Logger // nil: none

	// Tests replace these.
	program      string        // "": rsync
	startTimeout time.Duration // until it must answer; 0: 10 s
	stopGrace    time.Duration // between SIGTERM and SIGKILL; 0: 2 s
	lookEvery    time.Duration // between two looks for receivers without a source; 0: 200 ms
}

// Daemon is a running rsync daemon.
type Daemon struct {
	process   *process
	receivers *receivers
	cfg       DaemonConfig
	config    *configFile
	log       excerpt
	streams   [2]lineWriter // stdout, stderr
	stop      chan struct{}
	once      sync.Once
	done      chan struct{}
	end       string // how it ended by itself
}

// StartDaemon starts a daemon and returns when it answers for its module. The daemon runs until
// Stop or until ctx ends. An error says what the daemon printed.
func StartDaemon(ctx context.Context, cfg DaemonConfig) (*Daemon, error) {
	if err := checkModule(cfg.Module); err != nil {
		return nil, err
	}
	if cfg.Hidden != "" {
		if err := checkModule(cfg.Hidden); err != nil {
			return nil, err
		}
	}
	if cfg.DropCache {
		if err := checkDropCache(ctx, cfg.program); err != nil {
			return nil, err
		}
	}
	if err := PortFree(cfg.Port); err != nil {
		return nil, err
	}
	return launch(ctx, cfg)
}

// launch is StartDaemon after the checks. The port may have been lost since then.
func launch(ctx context.Context, cfg DaemonConfig) (*Daemon, error) {
	path, err := cleanModulePath(cfg.Path)
	if err != nil {
		return nil, err
	}
	may := privileges()
	comment := rand.Text()
	config, err := writeConfig(cfg.TempDir, moduleConfig(cfg.Module, cfg.Hidden, comment, may))
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{cfg: cfg, config: config, stop: make(chan struct{}), done: make(chan struct{})}
	if err := d.start(cfg, path); err != nil {
		config.remove()
		return nil, err
	}
	if !may.chroot {
		cfg.Logger.Warn(notPreserved(may), "event", "not-preserved")
	}
	go d.own(ctx)
	if err := d.awaitAnswer(ctx, cfg, comment); err != nil {
		d.Stop()
		return nil, err
	}
	return d, nil
}

func (d *Daemon) start(cfg DaemonConfig, path string) error {
	program := programName(cfg.program)
	// rsync opens the log again for every connection, before the chroot, so a path will do.
	args := []string{"--daemon", "--no-detach", "--config=" + d.config.name, "--port=" + strconv.Itoa(cfg.Port), "--log-file=/dev/stderr"}
	if cfg.DropCache {
		args = append(args, "--drop-cache")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(childEnviron(os.Environ()), modulePathVariable+"="+path)
	out := share(cfg.Output)
	for i := range d.streams {
		d.streams[i] = lineWriter{out: out, line: d.log.add}
	}
	cmd.Stdout, cmd.Stderr = &d.streams[0], &d.streams[1]
	process, err := startProcess(cmd, true, cfg.stopGrace)
	if err != nil {
		return startError(program, err)
	}
	d.process, d.receivers = process, newReceivers(process, cfg)
	return nil
}

// own waits for the end of the daemon, whatever its cause, and tidies up.
func (d *Daemon) own(ctx context.Context) {
	defer close(d.done)
	watching, unwatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { d.receivers.watch(watching) })
	watch.Go(func() { d.keepConfig(watching) })
	byItself := false
	select {
	case <-ctx.Done():
	case <-d.stop:
	case <-d.process.done:
		byItself = true
	}
	unwatch()
	watch.Wait()
	d.process.stop()
	for i := range d.streams {
		d.streams[i].flush()
	}
	d.config.remove()
	if byItself {
		code, signal := d.process.status()
		d.end = fmt.Sprintf("it ended, %v; %s", Result{Code: code, Signal: signal}, d.log.said())
	}
}

// keepConfig writes the config file again when it is not as it was: rsync reads it for each connection,
// and cleaners of temporary directories know nothing of that.
func (d *Daemon) keepConfig(ctx context.Context) {
	every := cmp.Or(max(d.cfg.lookEvery, 0), defaultLookEvery)
	for said := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		repaired, err := d.config.keep()
		if repaired {
			d.cfg.Logger.Warn(fmt.Sprintf("The rsync daemon's config file %s was removed or changed; it is written again", d.config.name), "event", "config-repaired", "file", d.config.name)
		}
		if err != nil && !said {
			d.cfg.Logger.Error(err.Error(), "file", d.config.name, "error", err)
		}
		said = err != nil
	}
}

// awaitAnswer polls until the daemon answers for its module in every address family that it has.
func (d *Daemon) awaitAnswer(ctx context.Context, cfg DaemonConfig, comment string) error {
	timeout := cfg.startTimeout
	if timeout <= 0 {
		timeout = defaultStartTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cannot := fmt.Sprintf("cannot start the rsync daemon on port %d", cfg.Port)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		err := probeLoopback(limited, cfg.Port, cfg.Module, comment)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrStranger) {
			return fmt.Errorf("%s: %w", cannot, err)
		}
		select {
		case <-d.done:
			if d.end != "" {
				return fmt.Errorf("%s: %s", cannot, d.end)
			}
			return fmt.Errorf("%s: %w", cannot, context.Cause(ctx))
		case <-limited.Done():
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("%s: %w; %s", cannot, err, d.log.said())
		case <-time.After(pause):
		}
	}
}

// family is an address family and its loopback address.
type family struct{ network, loopback string }

// families returns those of this host. One without its loopback address counts as missing, although
// rsync can listen in it.
func families() []family {
	var found []family
	for _, f := range []family{{"tcp4", "127.0.0.1"}, {"tcp6", "::1"}} {
		if listener, err := net.Listen(f.network, net.JoinHostPort(f.loopback, "0")); err == nil {
			_ = listener.Close()
			found = append(found, f)
		}
	}
	return found
}

// probeLoopback returns nil when the daemon answers on the loopback addresses. rsync goes on when
// it could bind only one address family. That is fine if the host does not have the other one, but
// not if another program holds the port there: sources would meet that program.
func probeLoopback(ctx context.Context, port int, module, comment string) error {
	ask := func(f family) error {
		return probe(ctx, net.JoinHostPort(f.loopback, strconv.Itoa(port)), module, comment)
	}
	last := errors.New("this host has no loopback address")
	answers := false
	var silent []family
	for _, f := range families() {
		err := ask(f)
		if errors.Is(err, ErrStranger) {
			return err
		}
		if err != nil {
			last = err
			silent = append(silent, f)
		} else {
			answers = true
		}
	}
	if !answers {
		return last
	}
	// One answers, so rsync listens by now wherever it ever will.
	for _, f := range silent {
		if ask(f) == nil {
			continue
		}
		if err := bindable(f.network, port); err != nil {
			return fmt.Errorf("%w: %w", ErrStranger, err)
		}
		if f.network == "tcp4" { // every rsync knows it, so somebody had the port for a moment
			return fmt.Errorf("%w, or did when the daemon started, which does not answer at %s", ErrStranger, f.loopback)
		}
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

// Done is closed when the daemon has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// Err says why the daemon ended by itself. It is nil while the daemon runs, and after Stop or the
// end of its context.
func (d *Daemon) Err() error {
	select {
	case <-d.done:
		if d.end != "" {
			return fmt.Errorf("cannot go on with the rsync daemon: %s", d.end)
		}
	default:
	}
	return nil
}

// Stop ends the daemon and every transfer that it serves, and returns when they are gone.
func (d *Daemon) Stop() {
	d.once.Do(func() { close(d.stop) })
	<-d.done
}
