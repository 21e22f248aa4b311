// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/level"
	"vsc-zk/internal/rsyncrunner"
	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/pool"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// errAsked ends a run of whose paths others should have a share.
var errAsked = errors.New("idle jobs wait for a share of this run's paths")

// errSkip ends a run that has something in it that a user does not want to be sent.
var errSkip = errors.New("some of what is sent is to be skipped")

// errOver ends a run whose session is over before its work is done.
var errOver = errors.New("the session is over")

// errOutside is a task that is not below the base.
var errOutside = errors.New("it is not below the base path")

// severalPaths is what all failures of runs with several paths count as against a destination: one of
// the paths may be at fault for each of them, which shows when they are tried one by one.
const severalPaths = "several paths"

// handle works on what was taken until the fate of each path is known, or until it cannot be worked on
// here and now; then it is for others again. Paths that could not be sent together are tried one by
// one.
func (j *job) handle(ctx context.Context, b batch) error {
	rest, deleted := b, 0
	if b.several() {
		var err error
		if rest, deleted, err = j.pursue(ctx, b, 0); err != nil {
			return errors.Join(err, j.release(ctx, rest))
		}
	}
	began := time.Now()
	for i, t := range rest.tasks {
		_, _, err := j.pursue(ctx, rest.part([]held{t}), deleted)
		deleted = 0
		// Nothing here can be sent now, or others have nothing to do.
		if _, away := j.shift.worker.transport.turns(); err != nil || away != nil || j.open.Err() != nil || !j.dests.Holds() ||
			time.Since(began) >= j.timing().SplitAfter && j.shift.someIdle(ctx) {
			return errors.Join(err, j.release(ctx, rest.part(rest.tasks[i+1:])))
		}
	}
	return nil
}

func (j *job) timing() member.Timing { return j.shift.worker.client.Timing }

// pursue tries paths, in one run, until the fate of each is known or they are for others again. It
// returns those that it still holds, to be tried one by one, and how many entries were deleted for them
// of which no result tells. An error ends this client.
func (j *job) pursue(ctx context.Context, b batch, deleted int) (rest batch, untold int, err error) {
	began := time.Now()
	res := wire.Result{Who: j.shift.m.Client.Whoami, Deleted: deleted}
	none := b.part(nil)
	for {
		dest, err := j.destFor(ctx)
		if err != nil || dest == nil || j.open.Err() != nil || j.shift.worker.transport.problem() != nil {
			return none, 0, errors.Join(err, j.setBack(ctx, b, &res))
		}
		a, err := j.attempt(ctx, b, dest, &res)
		if err != nil {
			return none, 0, errors.Join(err, j.setBack(ctx, b, &res))
		}
		res.Seconds = time.Since(began).Seconds()
		switch a.next {
		case end:
			if len(a.sent) > 0 {
				if res.Outcome == wire.Failed {
					j.sayCause(&res)
					j.shift.m.Log.Error(fmt.Sprintf("There were issues with path %s!", a.sent[0].task.Value), "path", a.sent[0].task.Value,
						"outcome", res.Outcome, "attempt", res.Attempts, "error", strings.Join(res.Errors, "; "))
				}
				res.Paths = values(a.sent)
				a.over, a.fates = append(a.over, a.sent...), append(a.fates, res)
				res.Deleted = 0
			}
			return b.part(a.apart), res.Deleted, j.endAll(ctx, b.part(a.over), a.fates)
		case oneByOne:
			return b.part(append(a.apart, a.sent...)), res.Deleted, j.endAll(ctx, b.part(a.over), a.fates)
		case later:
			// A cause that many paths share does not go away because one of them waits.
			if j.shift.worker.causes.common(res.Errors) {
				continue
			}
			if zkclient.Sleep(j.open, j.timing().Retry*time.Duration(res.Attempts)) != nil {
				return none, 0, j.setBack(ctx, b, &res)
			}
		case byOthers:
			if err := j.giveBack(ctx, b, zkclient.DefaultPriority, &res); err != nil {
				return none, 0, err
			}
			_ = zkclient.Sleep(j.open, j.timing().Retry) // a job with another destination goes first
			return none, 0, nil
		case handOver:
			return none, 0, j.handOver(ctx, b, &res)
		case share:
			return none, 0, j.setFree(ctx, b, &res)
		case atOnce, elsewhere:
		}
	}
}

// destFor returns a destination for paths in hand; nil if there is none within Timing.NoDest.
func (j *job) destFor(ctx context.Context) (*pool.Held, error) {
	limited, cancel := context.WithTimeout(j.open, j.timing().NoDest)
	defer cancel()
	dest, err := j.dests.Get(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return dest, err
}

// attempt is what came of trying paths once.
type attempt struct {
	next  next
	sent  []held        // that the run has carried
	over  []held        // of which nothing is to be sent
	fates []wire.Result // what became of these
	apart []held        // that cannot be sent together with the others now
}

// lookAtOnce is how many paths are looked at at the same time: on a large shared file system each look
// takes a while.
const lookAtOnce = 16

// attempt tries paths once and says in res what became of those that were sent. An error ends this
// client.
func (j *job) attempt(ctx context.Context, b batch, dest *pool.Held, res *wire.Result) (attempt, error) {
	began := time.Now()
	turns, gone := j.shift.worker.transport.turns()
	away := func() bool {
		now, err := j.shift.worker.transport.turns()
		return gone != nil || err != nil || now != turns
	}
	parts := make([]part, len(b.tasks))
	looks, looking := errgroup.WithContext(ctx)
	looks.SetLimit(lookAtOnce)
	for i, t := range b.tasks {
		looks.Go(func() (err error) {
			parts[i], err = j.shift.worker.transport.look(looking, t)
			if errors.Is(err, errOutside) && j.shift.knowsExtensions() { // not the base is another, but the task foreign
				parts[i], err = part{held: t, fate: wire.Failed, problem: err}, nil
			}
			return err
		})
	}
	if err := looks.Wait(); err != nil || ctx.Err() != nil {
		return attempt{}, cmp.Or(context.Cause(ctx), err)
	}
	if away() { // so what was seen means nothing
		return attempt{next: decide(facts{several: b.several(), away: true}).next}, nil
	}
	r := &run{dest: dest, name: b.name(), grace: j.grace()}
	res.Dest, res.Since = dest.Dest.Whoami, j.shift.m.ZK.Seen()
	a := attempt{next: end}
	for _, p := range parts {
		switch {
		case p.fate != wire.Unended:
			fate := wire.Result{Paths: []wire.Text{p.held.task.Value}, Outcome: p.fate, Who: res.Who, Attempts: res.Attempts}
			if p.problem != nil {
				fate.Errors = []string{p.problem.Error()}
			}
			a.over, a.fates = append(a.over, p.held), append(a.fates, fate)
		case p.problem == nil && (len(p.apart) == 0 || !b.several()):
			r.parts, a.sent = append(r.parts, p), append(a.sent, p.held)
		case b.several():
			a.apart = append(a.apart, p.held)
		default:
			a.sent = append(a.sent, p.held)
			d := decide(facts{notRun: true, attempts: res.Attempts})
			return j.conclude(a, d, res, []string{p.problem.Error()}), nil
		}
	}
	if len(r.parts) == 0 {
		if len(a.fates) > 0 { // deletions of an earlier attempt
			a.fates[0].Deleted, res.Deleted = res.Deleted, 0
		}
		return a, nil
	}
	f := facts{several: b.several(), attempts: res.Attempts}
	var result rsyncrunner.Result
	err := j.shift.worker.transport.hold(ctx, j.shift.m, r)
	begun := err == nil
	if begun {
		result, err = j.carry(ctx, b, r, res)
	}
	if err != nil {
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		f.asked, f.skipped, f.unable = errors.Is(err, errAsked), errors.Is(err, errSkip), begun && unable(err)
		f.lost = errors.Is(err, pool.ErrLost) || errors.Is(err, errOver)
		f.away = away()
		if f.stalled = errors.Is(err, rsyncrunner.ErrStalled); f.stalled && !f.several && !f.away {
			path := a.sent[0].task.Value
			if f.blamed = j.shift.worker.blame(path, res.Dest) >= attempts; f.blamed {
				res.Attempts = attempts - 1
				j.shift.worker.praise(path) // whoever queues it again means it
			}
		}
		f.notRun = !f.asked && !f.skipped && !f.lost && !f.unable && !f.stalled
		d := decide(f)
		j.sayNotRun(f, r, err)
		if f.asked { // it would have taken longer
			j.ran(r, time.Since(began))
		}
		if d.next == quit {
			return a, err
		}
		return j.conclude(a, d, res, []string{err.Error()}), nil
	}
	f.class, f.away = result.Class(), away()
	if r.refused != nil && f.class != rsyncrunner.Fine {
		f.class = rsyncrunner.Destination // whatever rsync makes of that
	}
	j.sayEnd(ctx, r, result)
	if f.class != rsyncrunner.Destination && f.class != rsyncrunner.NoRoom {
		j.dests.Served()
	}
	if f.class == rsyncrunner.Fine && !f.away {
		j.ran(r, result.Duration)
	}
	return j.judge(ctx, a, r, f, result, res)
}

// judge gathers the facts of a run that has ended, and has decide say how to go on.
func (j *job) judge(ctx context.Context, a attempt, r *run, f facts, result rsyncrunner.Result, res *wire.Result) (attempt, error) {
	w := j.shift.worker
	first := r.parts[0].held.task.Value
	lines := append([]string{result.String()}, result.Errors...)
	again := w.transport.again(r.parts)
	if f.moved = again != nil; f.moved {
		lines = []string{again.Error()}
	}
	var left []string // what was kept back
	for _, p := range r.parts {
		for _, a := range p.apart {
			left = append(left, kept(a))
			f.missing = f.missing || !a.New && (p.held.task.Kind == wire.Recursive || p.held.task.Kind == wire.Listed)
		}
	}
	var err error
	if f.class == rsyncrunner.NoRoom && !f.moved {
		// A Go destination that has no room at all says so itself. A Python one does not.
		known, err := j.shift.m.Party(wire.PartyExt).Has(ctx, r.dest.Dest.Whoami)
		if err != nil {
			return a, err
		}
		if !known {
			f.class = rsyncrunner.Destination
		}
	}
	switch {
	case f.away, f.moved:
	case f.class == rsyncrunner.NoRoom && f.several:
	case f.class == rsyncrunner.NoRoom:
		f.exchanged, f.blamed, err = j.noRoom(ctx, first, r.dest.Dest.Whoami)
	case f.class == rsyncrunner.Destination:
		against := severalPaths
		if !f.several {
			against = string(first)
		}
		if f.answers, err = j.dests.Fault(ctx, against, r.refused); f.answers && !f.several {
			f.blamed = w.blame(first, res.Dest) >= attempts
		}
	case f.class == rsyncrunner.Fatal:
		f.harmless, err = w.transport.try(ctx, r.dest)
	case f.several:
	case f.class == rsyncrunner.DeletesStopped:
		f.more, err = j.shift.budget.More(ctx)
	case f.class == rsyncrunner.Partial || f.class == rsyncrunner.Failed:
		if f.gone = w.transport.gone(r.parts[0]); f.gone == wire.Unended && result.DeletesStopped {
			f.stopped = true
			f.more, err = j.shift.budget.More(ctx)
		}
	}
	if ctx.Err() != nil {
		return a, context.Cause(ctx)
	}
	if err != nil {
		return a, err
	}
	if f.missing && !f.moved {
		lines = append(left, result.Errors...)
	}
	d := decide(f)
	if d.next == quit {
		return a, fmt.Errorf("cannot go on: rsync of %s: %s", r.name, strings.Join(lines, "; "))
	}
	if d.note {
		if err := w.transport.note(ctx, j.shift.m, r); err != nil {
			if ctx.Err() != nil {
				return a, context.Cause(ctx)
			}
			f.unnoted = true
			d, lines = decide(f), append(lines, err.Error())
		}
	}
	switch d.outcome {
	case wire.Completed:
		lines = left
		for _, p := range r.parts {
			w.praise(p.held.task.Value)
		}
	case wire.Vanished, wire.Changed:
		if res.Within = f.class == rsyncrunner.Vanished; res.Within {
			lines = result.Errors
		} else {
			lines = nil
		}
	}
	if d.exhausted {
		j.shift.m.Log.Warn(fmt.Sprintf("Deletions below %s stopped: the session has deleted as much as --max-delete allows", r.name), "event", "max-delete", "path", first)
	}
	if f.blamed {
		res.Attempts = attempts - 1
		w.praise(first) // whoever queues it again means it
	}
	return j.conclude(a, d, res, lines), nil
}

// everywhere is how often a path may find no room if not all destinations can be tried.
const everywhere = 4 * attempts

// noRoom lets go of a destination that has no room for a path, and holds one in its place that was not
// tried, if one is free. Blamed is true if the path has failed: none is left that was not tried.
func (j *job) noRoom(ctx context.Context, path wire.Text, whoami string) (exchanged, blamed bool, err error) {
	w := j.shift.worker
	times := w.blame(path, whoami)
	untried, exchanged, err := j.dests.Exchange(ctx, func(whoami string) bool { return w.blames(path, whoami) })
	if err != nil || exchanged {
		return exchanged, false, err
	}
	return false, times >= everywhere || times >= attempts && !untried, nil
}

// conclude puts a decision into the attempt and its result.
func (j *job) conclude(a attempt, d decision, res *wire.Result, lines []string) attempt {
	a.next = d.next
	res.Exhausted = res.Exhausted || d.exhausted
	if d.counts {
		res.Attempts++
	}
	if d.outcome != wire.Unended {
		res.Outcome, res.Errors = d.outcome, lines
	}
	return a
}

// carry has a run carried to its destination within the budget of deletions. It is stopped, with the
// error pool.ErrLost, when the destination has left: rsync itself would wait for ever for one that has
// lost its power; with errAsked when others should have a share of its paths; and with errSkip when some of it
// is not to be sent any more.
func (j *job) carry(ctx context.Context, b batch, r *run, res *wire.Result) (rsyncrunner.Result, error) {
	budget := j.shift.budget
	if r.kind() == wire.Links { // nothing is in their way any more
		budget = j.shift.m.Budget(-1)
	}
	limit, err := budget.Reserve(ctx)
	if err != nil {
		return rsyncrunner.Result{}, err
	}
	r.maxDelete = limit.Limit()
	for _, p := range r.parts {
		j.shift.m.Log.Log(ctx, level.Detail, fmt.Sprintf("%s is %s to %s %d", j.shift.m.Client.Whoami, p.doing(), r.dest.Dest.Host(), r.dest.Dest.Port),
			"source", j.shift.m.Client.Whoami, "path", p.held.task.Value, "destination", r.dest.Dest.Whoami, "attempt", res.Attempts+1)
	}
	r.attempt = res.Attempts + 1
	ended := j.shift.worker.underway.begin(r)
	result, err := j.stoppable(ctx, b, r, res)
	ended()
	if errors.Is(err, pool.ErrLost) || errors.Is(err, errAsked) || errors.Is(err, errSkip) {
		result.Deleted = -1 // nobody knows
	}
	if ctx.Err() == nil { // else the ZooKeeper session ends, and the share is spent
		if err := limit.Settle(ctx, result.Deleted); err != nil {
			return result, err
		}
	}
	if err != nil {
		return result, err
	}
	j.shift.worker.collect(result.Stats)
	res.Bytes += result.Stats["Total_transferred_file_size"]
	res.Deleted += max(result.Deleted, 0) // -1: not said
	return result, nil
}

func (j *job) stoppable(ctx context.Context, b batch, r *run, res *wire.Result) (rsyncrunner.Result, error) {
	limited, cancel := context.WithCancelCause(ctx)
	var heeding sync.WaitGroup
	defer heeding.Wait()
	defer cancel(nil)
	heeding.Go(func() { j.heed(limited, b, r, func() { cancel(errAsked) }) })
	heeding.Go(func() { j.heedSkips(limited, r, func() { cancel(errSkip) }) })
	defer context.AfterFunc(r.dest.Lost, func() {
		if errors.Is(context.Cause(r.dest.Lost), pool.ErrLost) {
			cancel(pool.ErrLost)
		}
	})()
	defer context.AfterFunc(j.shift.broken, func() { cancel(errOver) })()
	result, err := j.shift.worker.transport.send(limited, r, res)
	if errors.Is(err, errAsked) || errors.Is(err, errSkip) {
		if e := zkclient.Sleep(ctx, j.timing().Settle); e != nil { // the receiver ends a little later
			err = e
		}
	}
	return result, err
}

// ran notes how long a run took, from which the sizes of others follow; those of long paths are known from an
// earlier session.
func (j *job) ran(r *run, took time.Duration) {
	first, w := r.parts[0].held, j.shift.worker
	if wire.SecondsAt(first.entry.Priority()) == 0 {
		w.pace.ran(w.transport.kind(first.task), len(r.parts), took)
	}
}

// grace is how long an rsync may take to end after SIGTERM: it has to be dead before the ZooKeeper
// session whose loss ends it can have expired, and half of the margin that zkclient leaves (a sixth of
// the timeout) is for SIGKILL.
func (j *job) grace() time.Duration { return min(j.shift.m.ZK.SessionTimeout()/12, maxGrace) }

// maxGrace is enough for rsync to tidy up, which takes it 0.4 s.
const maxGrace = time.Second

// unable tells an error of starting rsync on this node from one of the path, or one that passes.
func unable(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return !slices.Contains([]syscall.Errno{syscall.E2BIG, syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE}, errno)
	}
	return errors.Is(err, exec.ErrNotFound)
}

// sayNotRun logs why a run came to no end of its own.
func (j *job) sayNotRun(f facts, r *run, err error) {
	log, whoami := j.shift.m.Log.With("path", r.parts[0].held.task.Value, "destination", r.dest.Dest.Whoami), r.dest.Dest.Whoami
	switch {
	case f.asked && f.several:
		log.Info(fmt.Sprintf("The %s are shared with idle jobs", r.name), "event", "shared")
	case f.skipped:
		log.Info(fmt.Sprintf("The rsync of %s is ended: %v", r.name, err), "event", "skipping")
	case f.lost && errors.Is(err, errOver):
		log.Info(fmt.Sprintf("The %s is given back: %v", r.name, err))
	case f.lost:
		log.Warn(fmt.Sprintf("Destination %s has left while it was receiving", whoami), "event", "destination-left")
	case f.stalled:
		log.Warn(err.Error(), "event", "stalled", "error", err)
	case f.notRun:
		log.Warn(err.Error(), "error", err)
	}
}

// sayCause says once that many paths have failed for one cause.
func (j *job) sayCause(res *wire.Result) {
	if cause, first := j.shift.worker.causes.failed(res.Errors); first {
		j.shift.m.Log.Error(fmt.Sprintf("%d paths have failed for one cause, and what else fails for it is tried without pauses and told by its path only: %s", alike, cause),
			"event", "one-cause", "paths", alike, "error", cause)
	}
}

// sayEnd logs how an rsync ended that did not end well.
func (j *job) sayEnd(ctx context.Context, r *run, result rsyncrunner.Result) {
	if result.Class() == rsyncrunner.Fine {
		return
	}
	level := slog.LevelWarn
	if j.shift.worker.causes.told(append([]string{result.String()}, result.Errors...)) {
		level = slog.LevelDebug // once for all that fail so
	}
	text := fmt.Sprintf("rsync of %s to %s %d: %s", r.name, r.dest.Dest.Host(), r.dest.Dest.Port, result)
	j.shift.m.Log.Log(ctx, level, strings.Join(append([]string{text}, result.Errors...), "\n"),
		"event", "rsync-failed", "path", r.parts[0].held.task.Value, "paths", len(r.parts), "destination", r.dest.Dest.Whoami, "seconds", result.Duration.Seconds(),
		"status", result.Code, "error", strings.Join(result.Errors, "; "))
}
