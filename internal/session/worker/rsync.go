// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"vsc-zk/internal/link"
	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/guard"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
)

// RsyncConfig is how rsync is run.
type RsyncConfig struct {
	Options  rsyncrunner.Options
	Module   string         // of the destinations' daemons
	Prefetch int            // names looked at before rsync does, at once; 0: none; AutoPrefetch: some, where that pays
	Lookup   time.Duration  // a lookup ahead of rsync has so long to end when rsync has
	Groups   int            // of hard links, that are remembered in a run
	Stall    time.Duration  // a run in which nothing moves for so long is ended; 0: it is not
	Identity *link.Identity // what this process is known by to destinations
	Proxy    *link.Proxy    // carries the bytes to Go destinations
	OnlyTLS  bool           // destinations to which bytes travel in clear are not used
	OnlyLink bool           // destinations that cannot prove who they are, those of the Python version, are not used
	Stdout   io.Writer      // what a dry or verifying run is asked to show; nil: nothing
	Output   io.Writer      // of rsync, as it comes; nil: none
	Logger   *slog.Logger
}

// AutoPrefetch has a source find out whether names should be looked at before rsync does; then they are
// autoPrefetch at once.
const (
	AutoPrefetch = -1
	autoPrefetch = 32
)

// Rsync is the transport of a session.
type Rsync struct {
	cfg    RsyncConfig
	source *guard.Source
	ahead  *pathbuilder.Prefetcher // nil: nothing is looked at before rsync does
	said   sync.Map                // directories, below the base, of which it was said that they are kept back

	attributes *attributes // nil: nothing is to be told of them

	saidUnprotected sync.Once
}

// NewRsync sends what is below the source's base.
func NewRsync(source *guard.Source, cfg RsyncConfig) *Rsync {
	if cfg.Stdout == nil {
		cfg.Stdout = io.Discard
	}
	if cfg.Output == nil {
		cfg.Output = io.Discard
	}
	t := &Rsync{cfg: cfg, source: source}
	t.attributes = newAttributes(cfg.Options, t.warnOfAttributes)
	switch {
	case cfg.Prefetch == AutoPrefetch:
		t.ahead = pathbuilder.NewPrefetcher(source.Tree, autoPrefetch).WhereItPays()
	case cfg.Prefetch > 0:
		t.ahead = pathbuilder.NewPrefetcher(source.Tree, cfg.Prefetch)
	}
	return t
}

func (t *Rsync) problem() error { return t.source.Base.SourceProblem() }

func (t *Rsync) turns() (int, error) { return t.source.Base.Turns() }

func (t *Rsync) await(ctx context.Context, every time.Duration) error {
	return t.source.Base.Await(ctx, t.cfg.Logger, every, t.source.Base.SourceProblem)
}

func (t *Rsync) kind(task wire.Task) wire.Kind { return task.Kind }

func (t *Rsync) look(ctx context.Context, h held) (p part, err error) {
	p, task := part{held: h}, h.task
	if task.Err != nil {
		p.fate, p.problem = wire.Failed, task.Err
		return p, nil
	}
	if p.rel, err = task.Within(t.source.Base.Dir); err != nil {
		return p, fmt.Errorf("%w: %w (--rsyncpath of the master is another than of this source)", errOutside, err)
	}
	if t.source.Base.SkipsAll(task, p.rel) {
		p.fate = wire.Skipped
		return p, nil
	}
	if t.source.LeftOut(p.rel) { // what a Python master, or an older file of paths, does not know
		p.fate = wire.Completed
		return p, nil
	}
	if task.Kind == wire.Listed {
		p.skipped = t.skippedIn(task, p.rel)
		switch p.problem = t.listedNames(&p); {
		case p.problem != nil || len(p.names) > 0:
		case len(p.apart) > 0:
			p.problem = p.apart[0].Why
		default:
			p.fate = wire.Completed // all of it is left out, or in what other lines name
		}
		return p, nil
	}
	if task.Kind == wire.Links {
		p.skipped = t.skippedIn(task, p.rel)
		p.names, p.problem = t.linkNames(task.Files)
		if p.problem == nil && len(p.names) == 0 {
			p.fate = wire.Vanished
		}
		return p, nil
	}
	state, err := t.source.Tree.Check(p.rel)
	if err == nil && outcomeOf(state) != wire.Unended {
		_, err = t.turns() // else all of it may be away
	}
	switch {
	case err != nil:
		p.problem = err
		return p, nil
	case outcomeOf(state) != wire.Unended:
		t.cfg.Logger.Warn(fmt.Sprintf("Path %s is not there any more, or no directory: what stands there now is left to the directory above", task.Value),
			"event", "not-there", "path", task.Value, "outcome", outcomeOf(state))
		p.fate = outcomeOf(state)
		return p, nil
	}
	if p.apart, p.problem = t.source.Apart(task.Entry(), p.rel); p.problem != nil {
		return p, nil
	}
	p.skipped = t.skippedIn(task, p.rel)
	if task.Kind == wire.Range {
		p.problem = t.rangeNames(ctx, &p)
		if p.problem == nil && len(p.names) == 0 {
			p.fate = wire.Completed // all its files have gone
		}
		return p, nil
	}
	p.names = []string{p.rel}
	if p.excluded, p.problem = t.source.Excluded(ctx, task.Entry(), p.rel, p.apart); p.problem == nil {
		p.patterns, p.problem = guard.Filters(p.excluded)
	}
	for _, rel := range p.skipped {
		var pattern string
		if pattern, err = pathbuilder.FilterRule(rel, false); err != nil && p.problem == nil {
			p.problem = err
		}
		p.patterns, p.excluded[rel] = append(p.patterns, pattern), true
	}
	t.sayApart(p.apart)
	return p, nil
}

func (t *Rsync) skip(paths []wire.Text) { t.source.Base.Skip(paths) }

func (t *Rsync) skips(parts []part) bool {
	return slices.ContainsFunc(parts, func(p part) bool {
		task := p.held.task
		return t.source.Base.SkipsAll(task, p.rel) || len(t.skippedIn(task, p.rel)) > len(p.skipped)
	})
}

// skippedIn is what of a task is not to be sent.
func (t *Rsync) skippedIn(task wire.Task, rel string) (paths []string) {
	if !task.Kind.Named() {
		return t.source.Base.SkippedIn(rel, task.Kind == wire.Recursive)
	}
	for _, file := range task.Files {
		switch base := t.source.Base; {
		case base.Skips(string(file)):
			paths = append(paths, string(file))
		case task.Kind == wire.Listed && base.Config.Delete: // it may be deleted
			paths = append(paths, base.SkippedIn(string(file), true)...)
		}
	}
	return paths
}

// sayApart says once of each directory that it is kept back.
func (t *Rsync) sayApart(apart []pathbuilder.Apart) {
	for _, a := range apart {
		if _, said := t.said.LoadOrStore(a.Rel, true); !said {
			t.cfg.Logger.Warn(kept(a), "event", "kept-back", "path", wire.Text(a.Rel), "error", a.Why)
		}
	}
}

// kept says what is not sent, and why.
func kept(a pathbuilder.Apart) string {
	return fmt.Sprintf("%s is neither sent nor deleted at the destination: %v", pathbuilder.Printable(a.Rel), a.Why)
}

// outcomeOf is what became of a path that is in such a state.
func outcomeOf(state pathbuilder.State) wire.Outcome {
	switch state {
	case pathbuilder.Vanished:
		return wire.Vanished
	case pathbuilder.Changed:
		return wire.Changed
	}
	return wire.Unended
}

// rangeNames lists the files of a range.
func (t *Rsync) rangeNames(ctx context.Context, p *part) error {
	r := pathbuilder.Range{From: p.held.task.From, To: p.held.task.To}
	return t.source.Tree.NamesIn(ctx, p.rel, r, func(name string) error {
		if rel := strings.TrimPrefix(p.rel+"/"+name, "/"); !slices.Contains(p.skipped, rel) {
			p.names = append(p.names, rel)
		}
		return nil
	})
}

// linkNames are those of a task's files that are still there.
func (t *Rsync) linkNames(files []wire.Text) (names []string, err error) {
	mounted, err := t.source.Base.NewMounts()
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if t.source.Base.Skips(string(file)) {
			continue
		}
		dir := string(file)[:max(strings.LastIndexByte(string(file), '/'), 0)]
		if state, err := t.source.Tree.Check(dir); err != nil || state != pathbuilder.Present {
			continue // sent by the pass that finds it changed
		}
		if mounted(t.source.Base.Dir + "/" + dir) {
			continue // kept back, as all that lies there
		}
		if _, err := t.source.Apart(pathbuilder.Entry{}, dir); err != nil {
			return nil, err
		}
		if _, err := os.Lstat(t.source.Tree.Root() + "/" + string(file)); errors.Is(err, fs.ErrNotExist) {
			continue // a name that the file has lost meanwhile
		}
		names = append(names, string(file))
	}
	return names, nil
}

func (t *Rsync) publish(ctx context.Context, m *member.Member) error {
	return m.PublishKey(ctx, wire.Key{Fingerprint: t.cfg.Identity.Fingerprint()})
}

func (t *Rsync) judge(m *member.Member) pool.Judge {
	return pool.Judge{Unfit: t.unfit, Probe: func(ctx context.Context, dest *pool.Held) error {
		if dest.Key == nil {
			return rsyncrunner.Probe(ctx, dest.Addr(), m.Tree.Module())
		}
		conn, err := link.Dial(ctx, t.cfg.Identity, target(dest))
		if err != nil {
			return err
		}
		return conn.Close()
	}}
}

// unfit says why a destination is not used.
func (t *Rsync) unfit(dest *pool.Held) string {
	switch {
	case !dest.Go && t.cfg.OnlyLink:
		return "it is of the Python version, which cannot prove who it is, and this source was started with --link-only"
	case !dest.Go:
		t.unprotected(dest)
	case dest.Key == nil:
		return "it has published no key by which it could prove who it is"
	case t.cfg.OnlyTLS && dest.Key.Mode != string(link.TLS):
		return "bytes would travel to it in clear (its --link is " + dest.Key.Mode + "), and this source was started with --link=tls"
	}
	return ""
}

// unprotected says once that not all destinations prove who they are.
func (t *Rsync) unprotected(dest *pool.Held) {
	t.saidUnprotected.Do(func() {
		t.cfg.Logger.Warn(fmt.Sprintf("Destination %s is of the Python version: what is sent to it is not protected, and nothing proves who it is. --link-only leaves such destinations out", dest.Dest.Whoami),
			"event", "python-destination", "destination", dest.Dest.Whoami)
	})
}

func target(dest *pool.Held) link.Target {
	return link.Target{Addr: dest.Addr(), Fingerprint: dest.Key.Fingerprint}
}

func (t *Rsync) send(ctx context.Context, r *run, res *wire.Result) (rsyncrunner.Result, error) {
	dir, err := t.source.Open()
	if err != nil {
		return rsyncrunner.Result{}, errors.New(err.Error()) // it does not say that rsync cannot be run here
	}
	defer dir.Close()
	job := rsyncrunner.Job{
		Kind: kindOf(r.kind()), Base: t.source.Tree.Root(), Dir: dir, URL: t.url(r.dest),
		Rules: t.source.Protected(), MaxDelete: r.maxDelete, Started: r.rsync.Store,
	}
	for _, p := range r.parts {
		job.Names, job.Filters = append(job.Names, p.names...), append(job.Filters, p.patterns...)
	}
	job.Fixed = t.source.Tree.Fixed(job.Names)
	sender := t.sender()
	sender.StopGrace = r.grace
	if t.cfg.Options.Verify || t.cfg.Options.DryRun && t.cfg.Options.Delete {
		res.Differences, res.Examples = 0, nil
		job.Changes = func(c rsyncrunner.Change) {
			if r.concerns(c, job) {
				t.change(c, res)
			}
		}
	}
	var conn *link.Conn
	if r.dest.Key != nil {
		conn = t.cfg.Proxy.Open(target(r.dest))
		defer conn.Close()
		r.conn.Store(conn)
		job.Environ, job.Far = []string{conn.Environ()}, conn
	}
	limited, cancel := context.WithCancel(ctx)
	excluded := r.excluded(t.source.Base.Config.LeaveOut)
	defer t.lookAtAttributes(ctx, job, excluded)()
	defer t.prefetch(limited, job, excluded)()
	defer cancel()
	result, err := sender.Run(limited, job)
	if result.FarStalled {
		t.cfg.Logger.Warn(fmt.Sprintf("The rsync of %s is ended: destination %s has taken nothing for %v", r.name, r.dest.Dest.Whoami, t.cfg.Stall),
			"event", "stalled", "destination", r.dest.Dest.Whoami)
	}
	if conn != nil && err == nil {
		if problem := conn.Err(); problem != nil && result.Class() != rsyncrunner.Fine {
			result.Errors = append(result.Errors, problem.Error())
			if errors.Is(problem, link.ErrDestination) {
				r.refused = problem
			}
		}
	}
	if err == nil && t.cfg.Options.Verbose {
		t.cfg.Logger.Info("Verbose file list output is: " + result.FileList)
	}
	return result, err
}

func (t *Rsync) begun(r *run, large int64) bool {
	rsync, o := r.rsync.Load(), t.cfg.Options
	if rsync == nil || o.Partial || o.Inplace || o.Gives("append") { // what has arrived of a file stays
		return false
	}
	return slices.ContainsFunc(rsync.Files(), func(file rsyncrunner.Reading) bool { return tooMuchToLose(file, large) })
}

// tooMuchToLose tells whether so much of a file was read that others should not make it be begun anew, also not
// when it is nearly done: then it is over soon.
func tooMuchToLose(file rsyncrunner.Reading, large int64) bool {
	return file.Size >= large && file.Read >= large/littleOf
}

// littleOf is the part of a large file, of the smallest that is one, of which it does not matter that it is sent again.
const littleOf = 8

func (t *Rsync) sender() *rsyncrunner.Sender {
	return &rsyncrunner.Sender{Options: t.cfg.Options, Output: t.cfg.Output, Logger: t.cfg.Logger, Stall: t.cfg.Stall}
}

func (t *Rsync) url(dest *pool.Held) string {
	return rsyncrunner.URL(dest.Dest.Host(), dest.Dest.Port, t.cfg.Module)
}

func (t *Rsync) try(ctx context.Context, dest *pool.Held) (bool, error) {
	var environ []string
	if dest.Key != nil {
		conn := t.cfg.Proxy.Open(target(dest))
		defer conn.Close()
		environ = append(environ, conn.Environ())
	}
	result, err := t.sender().Try(ctx, t.url(dest), environ)
	return err == nil && result.Class() != rsyncrunner.Fatal, err
}

// kindOf is what a run of rsync that carries tasks of a kind is about.
func kindOf(kind wire.Kind) rsyncrunner.Kind {
	switch kind {
	case wire.Recursive:
		return rsyncrunner.Recursive
	case wire.Range:
		return rsyncrunner.NameRange
	case wire.Listed:
		return rsyncrunner.Listed
	case wire.Leftovers:
		return rsyncrunner.Leftovers
	case wire.Links:
		return rsyncrunner.LinkGroups
	}
	return rsyncrunner.Shallow
}

func (t *Rsync) again(parts []part) error {
	for _, p := range parts {
		if p.held.task.Kind == wire.Links {
			continue
		}
		entry := p.held.task.Entry()
		if p.held.task.Kind == wire.Listed {
			entry = everything
		}
		if err := t.source.After(entry, p.rel, p.apart); err != nil {
			return err
		}
	}
	return nil
}

func (t *Rsync) gone(p part) wire.Outcome {
	if p.held.task.Kind.Named() {
		return wire.Unended
	}
	state, err := t.source.Tree.Check(p.rel)
	if err != nil {
		return wire.Unended
	}
	return outcomeOf(state)
}

// prefetch begins to look at what a run of rsync is about to look at, until ctx ends. The function that
// it gives waits for that. A lookup that a dead file server holds cannot be ended, and must not hold up
// this client when it could end rsync: it is left to itself after a while.
func (t *Rsync) prefetch(ctx context.Context, job rsyncrunner.Job, excluded func(path string) bool) (wait func()) {
	// What rules of the user's leave out may be what nobody should touch.
	if t.ahead == nil || job.Kind == rsyncrunner.Recursive && t.cfg.Options.HasRules() {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if job.Kind.Files() {
			t.ahead.Files(ctx, job.Names)
			return
		}
		t.ahead.Dirs(ctx, job.Names, job.Kind == rsyncrunner.Recursive, excluded)
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(t.cfg.Lookup):
		}
	}
}

// excluded tells which directories are left out of a run, by their paths below the base.
func (r *run) excluded(leaveOut func(rel string) bool) func(path string) bool {
	excluded := map[string]bool{}
	for _, p := range r.parts {
		maps.Copy(excluded, p.excluded)
	}
	return func(path string) bool { return excluded[path] || leaveOut != nil && leaveOut(path) }
}

// maxExamples is how many differences of a run the leader is told of; all are in this client's log and
// output.
const maxExamples = 100

// concerns tells whether a run is the one to tell of a change. Every run compares the directories above
// its paths too, and one that is not recursive those directly below, which have runs of their own; and
// the pass for hard links is about nothing else.
func (r *run) concerns(c rsyncrunner.Change, job rsyncrunner.Job) bool {
	if r.kind() == wire.Links {
		return strings.HasPrefix(c.Code, "h")
	}
	dir, isDir := strings.CutSuffix(c.Path, "/")
	if !isDir || strings.HasPrefix(c.Code, "*") {
		return true
	}
	if dir == "." {
		dir = ""
	}
	if r.kind() == wire.Listed {
		return slices.Contains(job.Names, dir)
	}
	if r.kind() == wire.Range { // the first range speaks for the directory
		return r.parts[0].held.task.From == "" && dir == r.parts[0].rel
	}
	if slices.Contains(job.Names, dir) {
		return true
	}
	return job.Kind == rsyncrunner.Recursive && !slices.ContainsFunc(job.Names, func(name string) bool {
		return dir == "" || strings.HasPrefix(name, dir+"/")
	})
}

// change tells what rsync would change at the destination.
func (t *Rsync) change(c rsyncrunner.Change, res *wire.Result) {
	line := c.Code + " " + pathbuilder.Printable(c.Path)
	fmt.Fprintln(t.cfg.Stdout, line)
	t.cfg.Logger.Info("Would change "+line, "path", wire.Text(c.Path), "change", c.Code)
	if !t.cfg.Options.Verify {
		return
	}
	if res.Differences++; len(res.Examples) < maxExamples {
		res.Examples = append(res.Examples, line)
	}
}
