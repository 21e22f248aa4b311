// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Sender runs the rsync client. Its methods may be called at the same time.
type Sender struct {
	Program   string // "": rsync
	Options   Options
	TempDir   string        // not needed: the list of paths goes through a pipe
	Output    io.Writer     // gets what rsync prints, in whole lines; nil: nobody. Shared by concurrent runs, it must allow concurrent calls
	Logger    *slog.Logger  // nil: none
	StopGrace time.Duration // between SIGTERM and SIGKILL; 0: 2 s
}

// Job is what one run of rsync sends.
type Job struct {
	Base      string   // absolute path of the tree
	Names     []string // below Base, as raw bytes; "": Base itself
	Recursive bool     // everything below the names, or their own entries only
	URL       string   // of the module, see URL
}

// Run sends a job and waits for its end. An error says that rsync could not be
// run, or that ctx ended, in which case nothing of rsync is left running and
// the job has to be taken as not done. That rsync failed is no error but a
// Result that is not OK.
func (s *Sender) Run(ctx context.Context, job Job) (Result, error) {
	list, err := pathList(job)
	if err != nil {
		return Result{}, err
	}
	if err := context.Cause(ctx); err != nil {
		return Result{}, fmt.Errorf("cannot send to %s: %w", job.URL, err)
	}
	logger := s.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}

	result := Result{Stats: Stats{}}
	var files fileList
	var errorLines excerpt
	maxDelete := false
	out := share(s.Output)
	stdout := &lineWriter{out: out, line: func(line []byte) {
		files.add(line)
		if !result.Stats.read(string(line)) {
			logger.Debug(fmt.Sprintf("cannot read the statistics line %q", line))
		}
	}}
	stderr := &lineWriter{out: out, line: func(line []byte) {
		errorLines.add(line)
		maxDelete = maxDelete || bytes.HasPrefix(line, []byte(maxDeleteMessage))
	}}

	program := programName(s.Program)
	cmd := exec.Command(program, s.args(job)...)
	cmd.Env = childEnviron(os.Environ())
	cmd.Stdin = bytes.NewReader(list)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	logger.Debug(fmt.Sprintf("running %q with %d paths", cmd.Args, len(job.Names)))
	start := time.Now()
	p, err := startProcess(cmd, false, s.StopGrace)
	if err != nil {
		return Result{}, startError(program, err)
	}
	if err := p.wait(ctx); err != nil {
		return Result{}, fmt.Errorf("cannot finish sending to %s: %w", job.URL, err)
	}
	stdout.flush()
	stderr.flush()
	result.Code, result.Signal = p.status()
	if result.Code == 0 && maxDelete {
		result.Code = codeMaxDelete
	}
	result.Errors = errorLines.lines()
	result.FileList = files.String()
	result.Duration = time.Since(start)
	return result, nil
}

// args is the command line; doc.go explains it.
func (s *Sender) args(job Job) []string {
	args := []string{"--stats", "--numeric-ids", "-lptgoD", "--sockopts=TCP_NODELAY", "--from0", "--files-from=-"}
	if job.Recursive {
		args = append(args, "-r")
	}
	args = append(args, s.Options.args()...)
	return append(args, "--", strings.TrimRight(job.Base, "/")+"/", job.URL)
}

// pathList is the list for --files-from.
func pathList(job Job) ([]byte, error) {
	if !filepath.IsAbs(job.Base) || strings.ContainsRune(job.Base, 0) {
		// A relative one with a colon would be a remote host.
		return nil, fmt.Errorf("cannot send from %q: the base path is not absolute", job.Base)
	}
	if len(job.Names) == 0 {
		return nil, fmt.Errorf("cannot send from %q: no path is given", job.Base)
	}
	var list bytes.Buffer
	for _, name := range job.Names {
		entry, err := listEntry(name, job.Recursive)
		if err != nil {
			return nil, err
		}
		list.WriteString(entry)
		list.WriteByte(0)
	}
	return list.Bytes(), nil
}

// listEntry writes one name for the list. Empty and "." components go: rsync
// takes a "/./" for the point where the path to keep begins.
func listEntry(name string, recursive bool) (string, error) {
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
	if entry == "." || !recursive {
		entry += "/"
	}
	return entry, nil
}
