// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestRandom runs rounds, each with a seed of its own.
func TestRandom(t *testing.T) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	t.Logf("%d rounds from seed %d", *rounds, first)
	var mu sync.Mutex
	all := features{}
	t.Cleanup(func() { t.Logf("in all rounds: %v", all) })
	for seed := first; seed < first+uint64(*rounds); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			used := round(t, seed, func(*options) {}, randomFault)
			if t.Failed() {
				t.Logf("to repeat this round: go test ./internal/differential -count=1 -run TestRandom -rounds=1 -seed=%d", seed)
			}
			mu.Lock()
			defer mu.Unlock()
			for name, times := range used {
				all[name] += times
			}
		})
	}
}

// round is one round, with options that force has changed and the fault that is chosen. It returns what was
// made use of.
func round(t *testing.T, seed uint64, force func(*options), choose func(*rand.Rand, options, bool) *fault) features {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	a := newArea(t)
	g := grower{Rand: r, area: a, skip: true}
	changes := seed%2 == 1
	o := randomOptions(r)
	more := rand.New(rand.NewPCG(seed, 3))
	o.Prefetch = pick(more, []int{0, 1, 8, 32})
	o.addParameters(more, changes)
	force(&o)
	wrong := choose(more, o, changes)
	g.blind = o.Checksum || !o.HardLinks
	if chance(more, 40) {
		g.attributes = rand.New(rand.NewPCG(seed, 4))
	}
	if wrong != nil && wrong.small {
		a.mountSmall()
	}
	prior := a.source(g, o)
	dirs, _ := a.list(a.at("src"))
	if chance(r, 30) && !o.Auto {
		o.addSubpath(r, a.at("src"), dirs)
	}
	run := newRun(a, o, strings.ReplaceAll(t.Name(), "/", "-"))
	if chance(more, 30) {
		run.stand(more, dirs)
	}
	run.mountBases()
	s := &script{Rand: rand.New(rand.NewPCG(seed, 2)), run: run, faults: map[int]func(){}, changes: map[int]int{}}
	if changes {
		s.changer = newChanger(g, o, run.standing)
		s.changer.Rand = rand.New(rand.NewPCG(seed, 1)) // its own, as r is used at the same time
		for range 2 + r.IntN(10) {
			s.changes[1+r.IntN(25)]++
		}
	}
	run.watch = s.watch
	cast := run.cast(more, s, wrong)
	began := time.Now()
	runErr := run.finish()
	managed := run.judge(runErr, s.changer)
	used := run.features()
	switch {
	case wrong != nil:
		used[run.happened]++
	case managed && !changes:
		run.quiet()
		used[quiet]++
	default:
		run.unalarmed()
	}
	dirs, files := a.list(a.at("src"))
	said := fmt.Sprintf("%d directories, %d files; prior destination %s; %s; %s; %d messages in %.1f s, %v; %v",
		len(dirs), len(files), prior, run.options, cast, s.sent, time.Since(began).Seconds(), runErr, used)
	if s.changer != nil {
		said += "; changes:\n  " + strings.Join(s.changer.said, "\n  ")
	}
	t.Log(said)
	if t.Failed() {
		t.Logf("log:\n%s", run.text())
	}
	return used
}

// source makes the source and what the destinations hold before, and describes the latter.
func (a *area) source(g grower, o options) string {
	src := a.at("src")
	g.grow(src, 0)
	if o.Flat > 0 {
		a.crowded = g.crowd(src, o.Flat)
	}
	if g.attributes != nil {
		g.attribute(src)
	}
	g.ageDirectories(src)
	switch n := g.IntN(10); {
	case n < 3:
		if o.Slow > 0 {
			g.load(src)
		}
		a.must(os.Mkdir(a.at("prior"), 0o755))
		g.guard(src, o)
		g.guard(a.at("prior"), o)
		a.seed()
		return "empty"
	default:
		a.copy("src", "prior")
		g.edit(src)
		if o.Slow > 0 {
			g.load(src)
		}
		prior := "an older copy"
		if n > 5 {
			g.spoil(a.at("prior"))
			prior = "a spoilt older copy"
		}
		if o.Inplace {
			a.part(a.at("prior"))
		}
		g.guard(src, o)
		g.guard(a.at("prior"), o)
		a.seed()
		return prior
	}
}

// guard puts the sentinel, if there is one, into a tree.
func (g *grower) guard(root string, o options) {
	if o.Sentinel == "" {
		return
	}
	g.must(os.RemoveAll(root + "/" + o.Sentinel))
	g.must(os.WriteFile(root+"/"+o.Sentinel, nil, 0o644))
	g.age(root + "/" + o.Sentinel)
	g.age(root)
}

// seed copies the prior destination to both destinations.
func (a *area) seed() {
	a.copy("prior", "dst")
	a.copy("prior", "ref")
}

// part breaks hard links: each name gets a file of its own.
func (a *area) part(root string) {
	_, files := a.list(root)
	for _, rel := range files {
		path := root + "/" + rel
		info, err := os.Lstat(path)
		a.must(err)
		if !info.Mode().IsRegular() {
			continue
		}
		data, err := os.ReadFile(path)
		a.must(err)
		a.must(os.Remove(path))
		a.must(os.WriteFile(path, data, 0o600))
		a.must(os.Chmod(path, info.Mode()))
		a.must(os.Chtimes(path, time.Time{}, info.ModTime()))
	}
}

// cast starts the clients, plans the fault, and describes both.
func (r *run) cast(random *rand.Rand, s *script, wrong *fault) string {
	slaves, dests := len(r.options.Jobs), len(r.options.Slots)
	fault := "nothing fails"
	frail := map[role]bool{}
	started := make(chan struct{})
	defer close(started)
	if wrong != nil {
		when := 1 + random.IntN(15)
		frail[wrong.at], s.holds = wrong.frail, wrong.holds
		s.faults[when] = func() {
			<-started
			r.until(r.offered) // who cannot receive at its start ends
			wrong.act(r, map[role]*client{master: r.master, slave: first(r.slaves), dest: first(r.dests)}[wrong.at], random)
			r.happened = wrong.name
		}
		fault = fmt.Sprintf("%s at message %d", wrong.name, when)
	}
	r.lead(frail[master])
	if s.changer != nil {
		s.changer.options.Depth = r.options.Depth // the one that was chosen
	}
	early := dests
	if r.options.Late {
		early = 1
		r.await("pathqueue building finished")
	}
	for i := range early {
		r.receive(frail[dest] && i == 0)
	}
	for i := range slaves {
		r.send(frail[slave] && i == 0)
	}
	if early < dests {
		r.await(" is sending ")
	}
	for range dests - early {
		r.receive(false)
	}
	return fmt.Sprintf("%d slaves, %d destinations, %s", slaves, dests, fault)
}

func first(of []*client) *client {
	if len(of) == 0 {
		return nil
	}
	return of[0]
}
