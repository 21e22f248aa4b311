// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
)

// retry says how to go on after an attempt at a path.
type retry int

const (
	no        retry = iota // its fate is in the result
	atOnce                 // it changed under rsync's hands
	later                  // it failed
	elsewhere              // its destination is gone
	byOthers               // it, or its destination, is at fault: other slaves may have another one
)

// attempt tries a path once and says in res what became of it. An error is one
// that ends this client.
func (t *turn) attempt(ctx context.Context, w work, dest *heldDest, res *result) (retry, error) {
	if paths, ok, err := decodeLinks(w.Value); err != nil {
		res.Outcome, res.Errors = outcomeFailed, []string{err.Error()}
		return no, nil
	} else if ok {
		return t.attemptLinks(ctx, w, paths, dest, res)
	}
	if t.cfg.Netcat {
		return t.sendLine(ctx, w, dest, res)
	}
	entry, err := pathbuilder.Decode(w.Value)
	if err != nil {
		res.Outcome, res.Errors = outcomeFailed, []string{err.Error()}
		return no, nil
	}
	rel, err := entry.Rel(t.base)
	if err != nil {
		return no, fmt.Errorf("%w (--rsyncpath of the master is another than of this source)", err)
	}
	state, err := t.guard.before(entry, rel)
	if err != nil {
		return t.failed(res, err.Error()), nil
	}
	if res.Outcome = gone(state); res.Outcome != "" {
		t.log.Warn(fmt.Sprintf("Path %s is not there any more, or no directory: what stands there now is left to the directory above", w.name()))
		return no, nil
	}
	job := rsyncrunner.Job{
		Base: t.guard.tree.Root(), Names: []string{rel}, Recursive: entry.Recursive,
		Rules: t.guard.protected(),
		URL:   rsyncrunner.URL(dest.host, dest.port, t.tree.module()),
	}
	excluded, err := t.guard.excluded(ctx, entry, rel)
	if err == nil {
		job.Filters, err = filters(excluded)
	}
	if err != nil {
		return t.failed(res, err.Error()), nil
	}
	budget, err := t.m.reserveDeletes(ctx)
	if err != nil {
		return no, err
	}
	job.MaxDelete = budget.limit()

	t.log.Info(fmt.Sprintf("%s is sending path %s to %s %d", t.whoami, printable(entry.Path), dest.host, dest.port))
	run, err := t.run(ctx, job, dest, res)
	if errors.Is(err, errDestLost) {
		run.Deleted = -1 // nobody knows
	}
	if ctx.Err() == nil { // else the session ends, and the share is spent
		if err := budget.settle(ctx, run.Deleted); err != nil {
			return no, err
		}
	}
	if err != nil {
		return t.notRun(ctx, err, dest, res)
	}
	t.collect(run.Stats)
	res.Bytes += run.Stats["Total_transferred_file_size"]
	res.Deleted += max(run.Deleted, 0) // -1: not said
	if t.cfg.Rsync.Verbose {
		t.log.Info("Verbose file list output is: " + run.FileList)
	}
	return t.judge(ctx, w, entry, rel, excluded, dest, run, res)
}

// run is rsync. It is ended, with errDestLost, when the destination has left:
// rsync itself would wait for ever for one that has lost its power.
func (t *turn) run(ctx context.Context, job rsyncrunner.Job, dest *heldDest, res *result) (rsyncrunner.Result, error) {
	options := t.cfg.Rsync
	if job.Files {
		options.Delete = false // nothing to delete among files that are listed one by one
		if hasRules(options.Extra) {
			// They do not hold for what lies below a directory that they leave out: only
			// what earlier runs have sent is listed here rightly.
			options.Extra = append(slices.Clip(options.Extra), "existing")
		}
	}
	sender := &rsyncrunner.Sender{
		Options: options, Output: t.cfg.Output, Logger: t.log, StopGrace: t.grace(),
	}
	if t.cfg.Rsync.Verify || t.cfg.Rsync.DryRun && t.cfg.Rsync.Delete {
		res.Differences, res.Examples = 0, nil
		sender.Changes = func(c rsyncrunner.Change) {
			if concerns(job, c) {
				t.change(c, res)
			}
		}
	}
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(dest.lost, func() {
		if errors.Is(context.Cause(dest.lost), errDestLost) {
			cancel(errDestLost)
		}
	})()
	return sender.Run(limited, job)
}

// hasRules tells whether the user leaves something out by rsync's own rules.
func hasRules(extra []string) bool {
	return slices.ContainsFunc(extra, func(option string) bool {
		key, _, _ := strings.Cut(option, ":")
		return key == "exclude" || key == "filter" || key == "cvs-exclude"
	})
}

// notRun says how to go on when rsync could not be run to its end.
func (t *turn) notRun(ctx context.Context, err error, dest *heldDest, res *result) (retry, error) {
	switch {
	case ctx.Err() != nil:
		return no, context.Cause(ctx)
	case errors.Is(err, errDestLost):
		t.log.Warn(fmt.Sprintf("Destination %s has left while it was receiving", dest.whoami))
		return elsewhere, nil
	case unable(err):
		return no, err // this client cannot run rsync at all
	}
	return t.failed(res, err.Error()), nil
}

// grace is how long an rsync may take to end after SIGTERM: it has to be dead
// before the ZooKeeper session whose loss ends it can have expired, and half of
// the margin zkclient leaves (a sixth of the timeout) is for SIGKILL.
func (t *turn) grace() time.Duration { return min(t.m.SessionTimeout()/12, maxGrace) }

// maxGrace is enough for rsync to tidy up, which takes it 0.4 s.
const maxGrace = time.Second

// unable tells an error of starting rsync on this node from one of the path.
func unable(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.E2BIG || errors.Is(err, exec.ErrNotFound)
}

// judge turns the end of an rsync into what to do next.
func (t *turn) judge(ctx context.Context, w work, entry pathbuilder.Entry, rel string, excluded map[string]bool, dest *heldDest, run rsyncrunner.Result, res *result) (retry, error) {
	class := run.Class()
	if class != rsyncrunner.Fine {
		t.log.Warn(strings.Join(append([]string{
			fmt.Sprintf("rsync of path %s to %s %d: %s", w.name(), dest.host, dest.port, run)}, run.Errors...), "\n"))
	}
	if class != rsyncrunner.Destination {
		t.dests.works()
	}
	if err := t.guard.after(entry, rel); err != nil {
		return t.failed(res, err.Error()), nil
	}
	switch class {
	case rsyncrunner.Fine:
		if err := t.noteLinks(ctx, entry, rel, excluded); err != nil {
			return t.failed(res, err.Error()), nil
		}
		res.Attempts++
		res.Outcome = outcomeCompleted
		return no, nil
	case rsyncrunner.DeletesStopped:
		if more, err := t.m.moreDeletes(ctx); err != nil || more {
			return atOnce, err // with another share
		}
		if err := t.noteLinks(ctx, entry, rel, excluded); err != nil {
			return t.failed(res, err.Error()), nil
		}
		t.log.Warn(fmt.Sprintf("Deletions below path %s stopped: the session has deleted as much as --max-delete allows", w.name()))
		res.Attempts++
		res.Outcome, res.Exhausted = outcomeCompleted, true
		return no, nil
	case rsyncrunner.Fatal:
		return no, fmt.Errorf("cannot go on: rsync of path %s: %s: %s", w.name(), run, strings.Join(run.Errors, "; "))
	case rsyncrunner.Destination:
		answers, err := t.dests.fault(ctx, w.name())
		if err != nil {
			return no, err
		}
		if !answers {
			return elsewhere, nil
		}
		return t.blame(w, res, append([]string{run.String()}, run.Errors...)), nil
	case rsyncrunner.Vanished:
		if res.Attempts++; res.Attempts < attempts {
			return atOnce, nil
		}
		if err := t.noteLinks(ctx, entry, rel, excluded); err != nil {
			return t.failed(res, err.Error()), nil
		}
		res.Outcome, res.Errors = outcomeVanished, run.Errors
		return no, nil
	}
	// Some files were not sent: perhaps because the whole path is gone by now.
	if state, err := t.guard.before(entry, rel); err == nil && gone(state) != "" {
		res.Attempts++
		res.Outcome = gone(state)
		return no, nil
	}
	again := t.failed(res, append([]string{run.String()}, run.Errors...)...)
	if again == no { // what was sent has its links to other paths all the same
		if err := t.noteLinks(ctx, entry, rel, excluded); err != nil {
			res.Errors = append(res.Errors, err.Error())
		}
	}
	return again, nil
}

// failed counts an attempt that failed; after the last one the path has.
func (t *turn) failed(res *result, lines ...string) retry {
	res.Attempts++
	res.Outcome, res.Errors = outcomeFailed, lines
	if res.Attempts == attempts {
		return no
	}
	return later
}

// blame counts a failure that may be the path's fault as well as the
// destination's: only after three of them, with other paths in between if there
// are any, the path has failed.
func (t *turn) blame(w work, res *result, lines []string) retry {
	path := string(w.Value)
	if t.blamed[path]++; t.blamed[path] < attempts {
		return byOthers
	}
	delete(t.blamed, path)
	res.Attempts = attempts
	res.Outcome, res.Errors = outcomeFailed, lines
	return no
}

// gone is the outcome of a path that is not as it was queued, "" if it is.
func gone(state pathbuilder.State) outcome {
	switch state {
	case pathbuilder.Vanished:
		return outcomeVanished
	case pathbuilder.Changed:
		return outcomeChanged
	}
	return ""
}

func (t *turn) sendLine(ctx context.Context, w work, dest *heldDest, res *result) (retry, error) {
	line := fmt.Sprintf("%s is sending %s", t.whoami, w.Value)
	err := rsyncrunner.SendLine(ctx, net.JoinHostPort(dest.host, strconv.Itoa(dest.port)), line)
	switch {
	case ctx.Err() != nil:
		return no, context.Cause(ctx)
	case err != nil:
		t.log.Warn(err.Error())
		return t.failed(res, err.Error()), nil
	}
	res.Attempts++
	res.Outcome = outcomeCompleted
	return no, nil
}

// maxExamples is how many differences of a run the master is told of; all are
// in this client's log and output.
const maxExamples = 100

// concerns tells whether a run is the one to say so. Every run compares the
// directories above its paths too, which have runs of their own; and the pass for
// hard links is about nothing else.
func concerns(job rsyncrunner.Job, c rsyncrunner.Change) bool {
	if job.Files {
		return strings.HasPrefix(c.Code, "h")
	}
	above, isDir := strings.CutSuffix(c.Path, "/")
	if !isDir || strings.HasPrefix(c.Code, "*") {
		return true
	}
	return !slices.ContainsFunc(job.Names, func(name string) bool {
		return above == "." && name != "" || strings.HasPrefix(name, above+"/")
	})
}

// change tells what rsync would change at the destination.
func (t *turn) change(c rsyncrunner.Change, res *result) {
	line := c.Code + " " + printable(c.Path)
	fmt.Fprintln(t.cfg.Stdout, line)
	t.log.Info("Would change " + line)
	if !t.cfg.Rsync.Verify {
		return
	}
	if res.Differences++; len(res.Examples) < maxExamples {
		res.Examples = append(res.Examples, line)
	}
}
