// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vsc-zk/internal/private"
)

// Sender runs the rsync client. Its methods may be called at the same time.
type Sender struct {
	Options   Options
	Output    io.Writer     // gets whole lines of what all runs print, at once; nil: nobody
	Logger    *slog.Logger  // nil: none
	StopGrace time.Duration // between SIGTERM and SIGKILL; 0: 2 s
	Stall     time.Duration // an rsync in which nothing moves for so long is ended; 0: it is not

	program string // tests replace it; "": rsync
}

// Job is what one run sends.
type Job struct {
	Kind      Kind
	Base      string         // absolute path of the tree
	Dir       *os.File       // the tree, where Base may have become another's path; nil: what rsync finds at Base
	Fixed     bool           // nobody but root and this user can rename a component of Base and Names, or put a link there
	Names     []string       // below Base, as raw bytes; "": Base itself
	Filters   []string       // exclude patterns, as raw bytes; before all other rules
	Rules     []string       // further filter rules, as --filter takes them
	MaxDelete *int           // how many may be deleted; 0 or less: none; nil: any number
	URL       string         // of the module, see URL
	Environ   []string       // added to that of rsync
	Far       Far            // what is known of the destination; nil: nothing
	Changes   func(Change)   // gets each change as it comes, in turn, and holds rsync up; nil: nobody
	Started   func(*Running) // gets the rsync when it runs; nil: nobody
}

// Run sends a job and waits for its end. An error says that rsync could not be run, or that ctx
// ended: then nothing of rsync is left running, and the job has to be taken as not done. That rsync
// failed is no error but a Result of another class than Fine.
func (s *Sender) Run(ctx context.Context, job Job) (Result, error) {
	entries, err := job.entries()
	if err != nil {
		return Result{}, err
	}
	if err := checkFilters(job.Filters); err != nil {
		return Result{}, err
	}
	if err := context.Cause(ctx); err != nil {
		return Result{}, fmt.Errorf("cannot send to %s: %w", job.URL, err)
	}
	logger := s.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}

	read := reading{logger: logger, stats: Stats{}, deleted: -1}
	out := share(s.Output)
	stdout := &lineWriter{out: out, line: read.stdout}
	stderr := &lineWriter{out: out, line: read.stderr}
	var changes *changeReader
	if job.Changes != nil {
		changes = newChangeReader(job.Changes, s.Options.Verbose)
		stdout.edit, stderr.edit = changes.edit, escape8Bit
	}

	program := programName(s.program)
	given, extra := job, []*os.File(nil)
	if size(job.Filters)+16*len(job.Filters) > maxFilterArgs {
		pipe, fed, err := feedFilters(job.Filters)
		if err != nil {
			return Result{}, err
		}
		defer fed()
		defer pipe.Close()
		given.Filters, given.Rules, extra = nil, append([]string{filterRule}, job.Rules...), []*os.File{pipe}
	}
	cmd := exec.Command(program, s.args(given, changes.args(), nil)...)
	cmd.ExtraFiles = extra
	cmd.Env = append(ChildEnviron(os.Environ()), job.Environ...)
	cmd.Stdin = strings.NewReader(strings.Join(entries, "\x00") + "\x00")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	start := time.Now()
	var moved error
	setUp := func() error {
		kept := false
		if job.Dir != nil {
			if kept, moved = enter(cmd, job.Base, job.Dir, s.Options.Delete); moved != nil {
				return moved
			}
		}
		if job.mayBeArguments(s.Options, kept) {
			if args := append([]string{program}, s.args(given, changes.args(), entries)...); fit(args, cmd.Env) {
				cmd.Args, cmd.Stdin = args, nil
			}
		}
		logger.Debug(runLine(cmd.Args, job))
		return nil
	}
	p, err := startSetUp(ctx, cmd, setUp, ending{signal: syscall.SIGTERM, grace: s.StopGrace})
	switch {
	case ctx.Err() != nil && err != nil:
		return Result{}, fmt.Errorf("cannot send to %s: %w", job.URL, context.Cause(ctx))
	case err != nil && err == moved:
		return Result{}, err
	case err != nil:
		return Result{}, startError(program, err)
	}
	if job.Started != nil {
		job.Started(&Running{p})
	}
	watched, unwatch := p.watchStall(ctx, s.Stall, job.Far)
	defer unwatch()
	err = p.wait(watched)
	if errors.Is(err, errFarStalled) {
		return Result{Code: codeTimeout, FarStalled: true, Errors: []string{err.Error()}, Deleted: -1, Duration: time.Since(start)}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("cannot finish sending to %s: %w", job.URL, err)
	}
	stdout.flush()
	stderr.flush()
	result := read.result(p.status())
	result.Duration = time.Since(start)
	return result, nil
}

// Try reports whether an rsync with the same options ends well that has nothing to send: one that does
// not is not to blame on what it sent. It changes nothing at the destination.
func (s *Sender) Try(ctx context.Context, url string, environ []string) (Result, error) {
	dir, err := private.TempDir("", "zkrsync-try-")
	if err != nil {
		return Result{}, fmt.Errorf("cannot try rsync: %w", err)
	}
	defer os.RemoveAll(dir)
	try := *s
	try.Options.DryRun, try.Options.Delete = true, false
	return try.Run(ctx, Job{Kind: Shallow, Base: dir, Names: []string{""}, URL: url, Environ: environ})
}

// noDelay is the option of a socket without which a run of small files takes three times as long.
const noDelay = "TCP_NODELAY"

// args returns the command line, with entries as arguments if there are any; doc.go explains it.
func (s *Sender) args(job Job, last, entries []string) []string {
	args := []string{"--stats", "--numeric-ids", "-lptgoD", "--sockopts=" + noDelay, "--from0"}
	if entries == nil {
		args = append(args, "--files-from=-")
	} else {
		args = append(args, "--relative", "--dirs")
	}
	if job.Kind == Recursive {
		args = append(args, "-r")
	}
	args = append(args, filterArgs(job.Filters)...)
	for _, rule := range job.Rules {
		args = append(args, "--filter="+rule)
	}
	args = append(args, s.Options.of(job.Kind).args()...)
	if job.MaxDelete != nil && !s.Options.Verify {
		args = append(args, maxDeleteArg(*job.MaxDelete))
	}
	args = append(args, last...)
	args = append(args, "--")
	switch {
	case entries != nil:
		args = append(args, entries...)
	case job.Dir != nil:
		args = append(args, "./")
	default:
		args = append(args, strings.TrimRight(job.Base, "/")+"/")
	}
	return append(args, job.URL)
}

// maxDeleteArg writes a limit. Every version understands -1 as "none"; to old ones 0 meant no
// limit.
func maxDeleteArg(limit int) string {
	if limit <= 0 {
		limit = -1
	}
	return "--max-delete=" + strconv.Itoa(limit)
}

// runLine returns a log line for a command, without the paths and the exclude patterns: there can be megabytes of
// them.
func runLine(args []string, job Job) string {
	shown := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return strings.HasPrefix(arg, "--filter=- ") || strings.HasPrefix(arg, "./")
	})
	return fmt.Sprintf("running %q with %d paths and %d exclude patterns", shown, len(job.Names), len(job.Filters))
}

// entries returns the names as they stand in a list, or as arguments.
func (job Job) entries() ([]string, error) {
	if !filepath.IsAbs(job.Base) || strings.ContainsRune(job.Base, 0) {
		// A relative path with a colon would be a remote host.
		return nil, fmt.Errorf("cannot send from %q: the base path is not absolute", job.Base)
	}
	if len(job.Names) == 0 {
		return nil, fmt.Errorf("cannot send from %q: no path is given", job.Base)
	}
	entries := make([]string, len(job.Names))
	for i, name := range job.Names {
		var err error
		if entries[i], err = listEntry(name, job.Kind); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// listEntry returns a name as it stands in the list. Empty and "." components go, as rsync takes
// "/./" for the point where the path that it keeps begins.
func listEntry(name string, kind Kind) (string, error) {
	if strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("cannot send %q: it is not a path below the base path", name)
	}
	entry := "."
	for component := range strings.SplitSeq(name, "/") {
		switch component {
		case "", ".":
		case "..":
			return "", fmt.Errorf("cannot send %q: it leads out of the base path", name)
		default:
			entry += "/" + component
		}
	}
	switch {
	case kind.Files() && entry == ".":
		return "", fmt.Errorf("cannot send %q: the base path is not a file", name)
	case entry == ".", kind == Shallow, kind == Leftovers:
		entry += "/"
	}
	return entry, nil
}
