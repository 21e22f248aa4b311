// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/zkclient"
)

// retry says how to go on after an attempt at a path.
type retry int

const (
	no        retry = iota // its fate is in the result
	atOnce                 // it changed under rsync's hands
	later                  // it failed
	elsewhere              // its destination is gone
	byOthers               // it, or its destination, is at fault: other jobs may have another one
	handOver               // the master wants it, to cut it
)

// part is one path of a run.
type part struct {
	task     task
	rel      string          // of its directory, below the base
	excluded map[string]bool // directories that are left out, below the base
	names    []string        // what rsync's list has of it
	patterns []string        // that keep rsync from what is excluded

	fate    outcome // nothing is to be sent, and why; "": it is
	problem error   // why it cannot be sent now
}

// holds tells whether a file, by its path below the base, is one of the part's:
// one of another range of the same directory is not.
func (p part) holds(path string) bool {
	r := p.task.names
	if r == nil {
		return true
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	return name >= string(r.From) && (r.To == "" || name < string(r.To))
}

// transfer is a run of rsync.
type transfer struct {
	rsyncrunner.Job
	parts []part
	name  string // in log lines
}

func (t *transfer) links() bool { return t.parts[0].task.links != nil }

// add puts a path into the run.
func (t *transfer) add(p part) {
	t.Files = p.task.links != nil || p.task.names != nil
	t.Recursive = p.task.entry.Recursive
	t.Names = append(t.Names, p.names...)
	t.Filters = append(t.Filters, p.patterns...)
	t.parts = append(t.parts, p)
}

// lookAtOnce is how many paths are looked at at the same time: on a large shared
// file system each look takes a while.
const lookAtOnce = 16

// look says what is to be sent of paths. An error is one that ends this client.
func (w *worker) look(ctx context.Context, b batch) ([]part, error) {
	parts := make([]part, len(b.entries))
	looks, ctx := errgroup.WithContext(ctx)
	looks.SetLimit(lookAtOnce)
	for i, entry := range b.entries {
		looks.Go(func() (err error) {
			parts[i], err = w.lookAt(ctx, entry.Value)
			return err
		})
	}
	return parts, looks.Wait()
}

func (w *worker) lookAt(ctx context.Context, value []byte) (p part, err error) {
	if p.task, err = decodeTask(value); err != nil {
		p.fate, p.problem = outcomeFailed, err
		return p, nil
	}
	if p.rel, err = p.task.within(w.base); err != nil {
		return p, fmt.Errorf("%w (--rsyncpath of the master is another than of this source)", err)
	}
	if p.task.links != nil {
		if p.names = w.linkNames(p.task.links); len(p.names) == 0 {
			p.fate = outcomeVanished
		}
		return p, nil
	}
	state, err := w.guard.before(p.task.entry, p.rel)
	switch {
	case err != nil:
		p.problem = err
	case gone(state) != "":
		w.log.Warn(fmt.Sprintf("Path %s is not there any more, or no directory: what stands there now is left to the directory above", printable(string(value))))
		p.fate = gone(state)
	case p.task.names != nil:
		p.problem = w.rangeNames(ctx, &p)
		if p.problem == nil && len(p.names) == 0 {
			p.fate = outcomeCompleted // all its files have gone
		}
	default:
		p.names = []string{p.rel}
		if p.excluded, p.problem = w.guard.excluded(ctx, p.task.entry, p.rel); p.problem == nil {
			p.patterns, p.problem = filters(p.excluded)
		}
	}
	return p, nil
}

// rangeNames lists the files of a range.
func (w *worker) rangeNames(ctx context.Context, p *part) error {
	r := pathbuilder.Range{From: string(p.task.names.From), To: string(p.task.names.To)}
	return w.guard.tree.NamesIn(ctx, p.rel, r, func(name string) error {
		p.names = append(p.names, strings.TrimPrefix(p.rel+"/"+name, "/"))
		return nil
	})
}

// linkNames are those of a task's files that are still there.
func (w *worker) linkNames(paths []text) (names []string) {
	for _, path := range paths {
		dir := string(path)[:max(strings.LastIndexByte(string(path), '/'), 0)]
		if state, err := w.guard.tree.Check(dir); err != nil || state != pathbuilder.Present {
			continue // sent by the pass that finds it changed
		}
		if _, err := os.Lstat(w.guard.tree.Root() + "/" + string(path)); errors.Is(err, fs.ErrNotExist) {
			continue // a name that the file has lost meanwhile
		}
		names = append(names, string(path))
	}
	return names
}

// newTransfer is a run that carries nothing yet.
func (w *worker) newTransfer(dest *heldDest, name string) *transfer {
	return &transfer{name: name, Job: rsyncrunner.Job{
		Base: w.guard.tree.Root(), URL: rsyncrunner.URL(dest.host, dest.port, w.tree.module()), Rules: w.guard.protected(),
	}}
}

// attempt tries one path once and says in res what became of it. An error is one
// that ends this client.
func (w *worker) attempt(ctx context.Context, b batch, dest *heldDest, res *result) (retry, error) {
	value := b.entries[0].Value
	if w.cfg.Netcat {
		return w.sendLine(ctx, value, dest, res)
	}
	p, err := w.lookAt(ctx, value)
	switch {
	case err != nil:
		return no, err
	case p.fate != "":
		if res.Outcome = p.fate; p.problem != nil {
			res.Errors = []string{p.problem.Error()}
		}
		return no, nil
	case p.problem != nil:
		return failed(res, p.problem.Error()), nil
	}
	t := w.newTransfer(dest, b.name())
	t.add(p)
	run, err := w.send(ctx, t, b, dest, res)
	if err != nil {
		return w.notRun(ctx, err, dest, res)
	}
	if run.Class() == rsyncrunner.Fine {
		w.pace.ran(w.kind(value), 1, run.Duration)
	}
	return w.judge(ctx, value, t, dest, run, res)
}

// shared is what became of paths that were sent together.
type shared struct {
	ended   []*zkclient.Entry // whose fate the results tell
	results []result
	rest    []*zkclient.Entry // to be tried one by one
	again   bool              // files vanished: try all once more
}

// severalPaths is what all failures of runs with several paths count as against a destination: one of the paths may be at fault
// for each of them, which shows when they are tried one by one.
const severalPaths = "several paths"

// attemptTogether tries several paths in one run. The errors errAsked and
// errDestLost leave all of them as they were.
func (w *worker) attemptTogether(ctx context.Context, b batch, dest *heldDest, res *result) (shared, error) {
	began := time.Now()
	if w.cfg.Netcat {
		return w.sendLines(ctx, b, dest)
	}
	var s shared
	parts, err := w.look(ctx, b)
	if err != nil {
		return s, err
	}
	fates := map[outcome]*result{}
	t := w.newTransfer(dest, b.name())
	var sent []*zkclient.Entry
	for i, entry := range b.entries {
		switch p := parts[i]; {
		case p.problem != nil:
			s.rest = append(s.rest, entry)
		case p.fate != "":
			if fates[p.fate] == nil {
				fates[p.fate] = &result{Outcome: p.fate, Who: w.whoami}
			}
			fates[p.fate].Paths = append(fates[p.fate].Paths, text(entry.Value))
			s.ended = append(s.ended, entry)
		default:
			sent = append(sent, entry)
			t.add(p)
		}
	}
	for _, r := range fates {
		s.results = append(s.results, *r)
	}
	if len(sent) == 0 {
		return s, nil
	}
	run, err := w.send(ctx, t, b, dest, res)
	switch {
	case errors.Is(err, errAsked):
		w.log.Info(fmt.Sprintf("The %s are shared with idle jobs", t.name))
		w.pace.ran(w.kind(sent[0].Value), len(sent), time.Since(began)) // at least
		return s, err
	case err != nil && ctx.Err() == nil && !errors.Is(err, errDestLost) && !unable(err):
		w.log.Warn(err.Error())
		s.rest = append(s.rest, sent...)
		return s, nil
	case err != nil:
		return s, err
	}
	w.say(t, dest, run)
	switch run.Class() {
	case rsyncrunner.Fatal:
		return s, errFatal(t, run)
	case rsyncrunner.Fine:
		if err := w.settled(ctx, t); err != nil {
			break
		}
		w.dests.works()
		w.pace.ran(w.kind(sent[0].Value), len(sent), run.Duration)
		res.Paths, res.Outcome, res.Seconds = batch{entries: sent}.values(), outcomeCompleted, time.Since(began).Seconds()
		s.ended, s.results = append(s.ended, sent...), append(s.results, *res)
		return s, nil
	case rsyncrunner.Vanished:
		s.again = true
		return s, nil
	case rsyncrunner.Destination:
		answers, err := w.dests.fault(ctx, severalPaths)
		if err == nil && !answers {
			err = errDestLost
		}
		if err != nil {
			return s, err
		}
	}
	s.rest = append(s.rest, sent...)
	return s, nil
}

// settled is what is left to do after a run without an error: to look whether it
// can count, and to note the hard links of what it sent.
func (w *worker) settled(ctx context.Context, t *transfer) error {
	for _, p := range t.parts {
		if err := w.guard.after(p.task.entry, p.rel); err != nil {
			return err
		}
	}
	return w.noteLinks(ctx, t.parts)
}

// send runs rsync within the budget of deletions.
func (w *worker) send(ctx context.Context, t *transfer, b batch, dest *heldDest, res *result) (rsyncrunner.Result, error) {
	share := &budget{}
	if !t.links() { // nothing is in their way any more
		var err error
		if share, err = w.m.reserveDeletes(ctx); err != nil {
			return rsyncrunner.Result{}, err
		}
	}
	t.MaxDelete = share.limit()
	for _, p := range t.parts {
		w.log.Info(fmt.Sprintf("%s is %s to %s %d", w.whoami, p.doing(), dest.host, dest.port))
	}
	run, err := w.run(ctx, t, b, dest, res)
	if errors.Is(err, errDestLost) || errors.Is(err, errAsked) {
		run.Deleted = -1 // nobody knows
	}
	if ctx.Err() == nil { // else the session ends, and the share is spent
		if err := share.settle(ctx, run.Deleted); err != nil {
			return run, err
		}
	}
	if err != nil {
		return run, err
	}
	w.collect(run.Stats)
	res.Bytes += run.Stats["Total_transferred_file_size"]
	res.Deleted += max(run.Deleted, 0) // -1: not said
	if w.cfg.Rsync.Verbose {
		w.log.Info("Verbose file list output is: " + run.FileList)
	}
	return run, nil
}

// doing is what a run does with a part, in a log line.
func (p part) doing() string {
	switch path := printable(p.task.entry.Path); {
	case p.task.links != nil:
		return fmt.Sprintf("sending %d files that are linked", len(p.task.links))
	case p.task.names != nil:
		return fmt.Sprintf("sending files from %q on of path %s", string(p.task.names.From), path)
	case p.task.leftovers:
		return "sending deletions in path " + path
	default:
		return "sending path " + path
	}
}

// run is rsync. It is ended, with errDestLost, when the destination has left:
// rsync itself would wait for ever for one that has lost its power; and with
// errAsked when others should have a share of its paths.
func (w *worker) run(ctx context.Context, t *transfer, b batch, dest *heldDest, res *result) (rsyncrunner.Result, error) {
	options := w.cfg.Rsync
	if t.parts[0].task.names != nil && options.Delete {
		options.Extra = append(slices.Clip(options.Extra), "force") // makes way for them as --delete does
	}
	switch {
	case t.Files:
		options.Delete = false
		if t.parts[0].task.names != nil { // one that vanished meanwhile is no failure
			options.Extra = append(slices.Clip(options.Extra), "ignore-missing-args")
		}
		if t.links() && hasRules(options.Extra) {
			// They do not hold for what lies below a directory that they leave out: only
			// what earlier runs have sent is listed here rightly.
			options.Extra = append(slices.Clip(options.Extra), "existing")
		}
	case t.parts[0].task.leftovers:
		options.Extra = append(slices.Clip(options.Extra), "existing", "ignore-existing")
	}
	sender := &rsyncrunner.Sender{
		Options: options, Output: w.cfg.Output, Logger: w.log, StopGrace: w.grace(),
	}
	if w.cfg.Rsync.Verify || w.cfg.Rsync.DryRun && w.cfg.Rsync.Delete {
		res.Differences, res.Examples = 0, nil
		sender.Changes = func(c rsyncrunner.Change) {
			if t.concerns(c) {
				w.change(c, res)
			}
		}
	}
	limited, cancel := context.WithCancelCause(ctx)
	var heeding sync.WaitGroup
	defer heeding.Wait()
	defer w.prefetch(limited, t)()
	defer cancel(nil)
	heeding.Go(func() { w.heed(limited, b, dest, func() { cancel(errAsked) }) })
	defer context.AfterFunc(dest.lost, func() {
		if errors.Is(context.Cause(dest.lost), errDestLost) {
			cancel(errDestLost)
		}
	})()
	run, err := sender.Run(limited, t.Job)
	if errors.Is(err, errAsked) && !sleep(ctx, w.cfg.Timing.Settle) { // the receiver ends a little later
		err = context.Cause(ctx)
	}
	return run, err
}

// hasRules tells whether the user leaves something out by rsync's own rules.
func hasRules(extra []string) bool {
	return slices.ContainsFunc(extra, func(option string) bool {
		key, _, _ := strings.Cut(option, ":")
		return key == "exclude" || key == "filter" || key == "cvs-exclude"
	})
}

// notRun says how to go on when rsync could not be run to its end.
func (w *worker) notRun(ctx context.Context, err error, dest *heldDest, res *result) (retry, error) {
	switch {
	case ctx.Err() != nil:
		return no, context.Cause(ctx)
	case errors.Is(err, errAsked):
		return handOver, nil
	case errors.Is(err, errDestLost):
		w.log.Warn(fmt.Sprintf("Destination %s has left while it was receiving", dest.whoami))
		return elsewhere, nil
	case unable(err):
		return no, err // this client cannot run rsync at all
	}
	return failed(res, err.Error()), nil
}

// grace is how long an rsync may take to end after SIGTERM: it has to be dead
// before the ZooKeeper session whose loss ends it can have expired, and half of
// the margin zkclient leaves (a sixth of the timeout) is for SIGKILL.
func (w *worker) grace() time.Duration { return min(w.m.SessionTimeout()/12, maxGrace) }

// maxGrace is enough for rsync to tidy up, which takes it 0.4 s.
const maxGrace = time.Second

// unable tells an error of starting rsync on this node from one of the path, or one
// that passes.
func unable(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return !slices.Contains([]syscall.Errno{syscall.E2BIG, syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE}, errno)
	}
	return errors.Is(err, exec.ErrNotFound)
}

// say logs how an rsync ended that did not end well.
func (w *worker) say(t *transfer, dest *heldDest, run rsyncrunner.Result) {
	if run.Class() != rsyncrunner.Fine {
		w.log.Warn(strings.Join(append([]string{
			fmt.Sprintf("rsync of %s to %s %d: %s", t.name, dest.host, dest.port, run)}, run.Errors...), "\n"))
	}
}

// errFatal ends this client: the next run would end in the same way.
func errFatal(t *transfer, run rsyncrunner.Result) error {
	return fmt.Errorf("cannot go on: rsync of %s: %s: %s", t.name, run, strings.Join(run.Errors, "; "))
}

// judge turns the end of an rsync about one path into what to do next.
func (w *worker) judge(ctx context.Context, value []byte, t *transfer, dest *heldDest, run rsyncrunner.Result, res *result) (retry, error) {
	class := run.Class()
	w.say(t, dest, run)
	if class != rsyncrunner.Destination {
		w.dests.works()
	}
	p := t.parts[0]
	if err := w.guard.after(p.task.entry, p.rel); err != nil {
		return failed(res, err.Error()), nil
	}
	switch class {
	case rsyncrunner.Fine:
		if err := w.noteLinks(ctx, t.parts); err != nil {
			return failed(res, err.Error()), nil
		}
		w.praise(string(value))
		res.Attempts++
		res.Outcome = outcomeCompleted
		return no, nil
	case rsyncrunner.DeletesStopped:
		if more, err := w.m.moreDeletes(ctx); err != nil || more {
			return atOnce, err // with another share
		}
		if err := w.noteLinks(ctx, t.parts); err != nil {
			return failed(res, err.Error()), nil
		}
		w.log.Warn(fmt.Sprintf("Deletions below %s stopped: the session has deleted as much as --max-delete allows", t.name))
		res.Attempts++
		res.Outcome, res.Exhausted = outcomeCompleted, true
		return no, nil
	case rsyncrunner.Fatal:
		return no, errFatal(t, run)
	case rsyncrunner.Destination:
		answers, err := w.dests.fault(ctx, t.name)
		if err != nil {
			return no, err
		}
		if !answers {
			return elsewhere, nil
		}
		// It may be the path's fault as well as the destination's: only after three of
		// them, with other paths in between if there are any, the path has failed.
		if !w.blame(string(value)) {
			return byOthers, nil
		}
		res.Attempts = attempts
		res.Outcome, res.Errors = outcomeFailed, append([]string{run.String()}, run.Errors...)
		return no, nil
	case rsyncrunner.Vanished:
		if res.Attempts++; res.Attempts < attempts {
			return atOnce, nil
		}
		if err := w.noteLinks(ctx, t.parts); err != nil {
			return failed(res, err.Error()), nil
		}
		res.Outcome, res.Errors = outcomeVanished, run.Errors
		return no, nil
	}
	// Some files were not sent: perhaps because the whole path is gone by now.
	if state, err := w.guard.before(p.task.entry, p.rel); err == nil && gone(state) != "" {
		res.Attempts++
		res.Outcome = gone(state)
		return no, nil
	}
	if run.DeletesStopped { // so it could not make way for some
		if more, err := w.m.moreDeletes(ctx); err != nil || more {
			return atOnce, err
		}
	}
	again := failed(res, append([]string{run.String()}, run.Errors...)...)
	if again == no { // what was sent has its links to other paths all the same
		if err := w.noteLinks(ctx, t.parts); err != nil {
			res.Errors = append(res.Errors, err.Error())
		}
	}
	return again, nil
}

// failed counts an attempt that failed; after the last one the path has.
func failed(res *result, lines ...string) retry {
	res.Attempts++
	res.Outcome, res.Errors = outcomeFailed, lines
	if res.Attempts == attempts {
		return no
	}
	return later
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

// sendLine is the netcat test's attempt.
func (w *worker) sendLine(ctx context.Context, value []byte, dest *heldDest, res *result) (retry, error) {
	line := fmt.Sprintf("%s is sending %s", w.whoami, value)
	err := w.cfg.sendLine(ctx, net.JoinHostPort(dest.host, strconv.Itoa(dest.port)), line)
	switch {
	case ctx.Err() != nil:
		return no, context.Cause(ctx)
	case err != nil:
		w.log.Warn(err.Error())
		return failed(res, err.Error()), nil
	}
	res.Attempts++
	res.Outcome = outcomeCompleted
	return no, nil
}

// sendLines is sendLine for several paths.
func (w *worker) sendLines(ctx context.Context, b batch, dest *heldDest) (s shared, err error) {
	began := time.Now()
	for _, entry := range b.entries {
		r := result{Paths: []text{text(entry.Value)}, Who: w.whoami}
		again, err := w.sendLine(ctx, entry.Value, dest, &r)
		if err != nil {
			return s, err
		}
		if again != no {
			s.rest = append(s.rest, entry)
			continue
		}
		s.ended = append(s.ended, entry)
	}
	if len(s.ended) > 0 {
		took := time.Since(began)
		w.pace.ran(shallow, len(s.ended), took)
		s.results = []result{{
			Paths: batch{entries: s.ended}.values(), Outcome: outcomeCompleted, Attempts: 1, Seconds: took.Seconds(), Who: w.whoami,
		}}
	}
	return s, nil
}

// maxExamples is how many differences of a run the master is told of; all are
// in this client's log and output.
const maxExamples = 100

// concerns tells whether a run is the one to say so. Every run compares the
// directories above its paths too, and one that is not recursive those directly
// below, which have runs of their own; and the pass for hard links is about
// nothing else.
func (t *transfer) concerns(c rsyncrunner.Change) bool {
	if t.links() {
		return strings.HasPrefix(c.Code, "h")
	}
	dir, isDir := strings.CutSuffix(c.Path, "/")
	if !isDir || strings.HasPrefix(c.Code, "*") {
		return true
	}
	if dir == "." {
		dir = ""
	}
	if r := t.parts[0].task.names; r != nil { // the first range speaks for the directory
		return r.From == "" && dir == t.parts[0].rel
	}
	if slices.Contains(t.Names, dir) {
		return true
	}
	return t.Recursive && !slices.ContainsFunc(t.Names, func(name string) bool {
		return dir == "" || strings.HasPrefix(name, dir+"/")
	})
}

// change tells what rsync would change at the destination.
func (w *worker) change(c rsyncrunner.Change, res *result) {
	line := c.Code + " " + printable(c.Path)
	fmt.Fprintln(w.cfg.Stdout, line)
	w.log.Info("Would change " + line)
	if !w.cfg.Rsync.Verify {
		return
	}
	if res.Differences++; len(res.Examples) < maxExamples {
		res.Examples = append(res.Examples, line)
	}
}
