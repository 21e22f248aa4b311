// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"vsc-zk/internal/session/wire"
)

// What a client's program is.
const (
	Go     = "go"
	Python = "python"
)

// phases are the leader's, as a snapshot names them.
var phases = map[wire.Phase]string{
	wire.Walking: "walking", wire.Leaving: "leftovers", wire.Retrying: "retrying", wire.Linking: "linking", wire.Ending: "ending",
}

// moment is a time in a snapshot; zero for 0.
func moment(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// snapshot puts together what was found.
func (f *facts) snapshot(session string) *Snapshot {
	s := &Snapshot{
		Format: 1, Time: f.now.UTC().Truncate(time.Second), Session: session, State: None, Master: f.all[f.master],
		Waits: []Wait{}, Clients: []Client{}, Runs: []Run{}, Failures: append([]Failure{}, f.failures...), FailuresLeft: f.more,
	}
	left := f.queued[0]
	s.Paths = Paths{Remaining: left, Queued: left + f.done + f.failed, Working: f.working[0], Completed: f.done, Failed: f.failed}
	if f.meta != nil {
		f.addMeta(s)
	}
	f.addClients(s)
	f.addTotals(s)
	lead := f.leader()
	if lead != nil {
		s.Paths.Flushing = min(lead.Flushing, s.Paths.Remaining)
		s.Rates.Over, s.Rates.Paths, s.Rates.Files, s.Rates.Bytes = lead.Rates.Over, lead.Rates.Paths, lead.Rates.Files, lead.Rates.Bytes
	}
	switch {
	case f.epoch == 0 && left == 0:
		return s
	case f.master == 0:
		s.State = Leaderless
	default:
		s.State = Running
		if s.Waits = append(s.Waits, f.waits(lead, s)...); len(s.Waits) > 0 {
			s.State = Still
		}
	}
	if f.meta != nil {
		s.Estimate = estimate(s, f.meta, lead)
	}
	return s
}

// leader is what the leader says of itself; nil: nothing.
func (f *facts) leader() *wire.LeaderStatus {
	return f.said[f.all[f.master]].Leader
}

func (f *facts) addMeta(s *Snapshot) {
	m := f.meta
	s.Began, s.Phase = moment(m.Began), phases[m.Stage.Phase]
	if m.Stage.Phase == wire.Walking {
		s.Walk = m.Stage.Pass + 1
	}
	// What destinations have not flushed yet is in no queue, and remains.
	s.Paths = Paths{
		Queued: m.Paths(), Remaining: max(f.queued[0]+f.queued[1]+f.queued[2], m.Paths()-m.Ended.Ended()), Working: f.working[0] + f.working[1],
		Completed: m.Ended.Completed, Failed: f.failed + m.Ended.Failed, Vanished: m.Ended.Vanished, Changed: m.Ended.Changed, Skipped: m.Ended.Skipped,
	}
	s.Control = f.control
	s.Totals.Deleted, s.Totals.Differences = m.Ended.Deleted, m.Ended.Differences
}

func (f *facts) addTotals(s *Snapshot) {
	s.Totals.Take(f.stats)
	for _, run := range s.Runs {
		if f.now.Sub(run.Began) >= short {
			s.Totals.Sent += run.Sent
		}
	}
}

// short is a run that counts when it has ended: clients say what they do every few seconds, and one that has ended since
// is counted already.
const short = 15 * time.Second

// Take takes over the counters of S/stats.
func (t *Totals) Take(stats map[string]int64) {
	t.Files, t.TransferredFiles = stats["Number_of_files"], stats["Number_of_regular_files_transferred"]
	t.Bytes, t.TransferredBytes = stats["Total_file_size"], stats["Total_transferred_file_size"]
	t.Counted = stats["Total_bytes_sent"]
	t.Sent = t.Counted
}

// addClients adds those that are there, and their runs.
func (f *facts) addClients(s *Snapshot) {
	names := map[string]bool{}
	for _, who := range f.all {
		names[who] = true
	}
	for who := range f.said {
		names[who] = true
	}
	for _, who := range slices.Sorted(maps.Keys(names)) {
		client := Client{Who: who, Program: Go, Master: who == s.Master}
		if said, ok := f.said[who]; ok {
			f.addSaid(s, &client, said)
		} else {
			f.addSilent(&client)
		}
		s.Clients = append(s.Clients, client)
	}
	s.Runs = append(s.Runs, f.runs...)
	slices.SortStableFunc(s.Runs, func(a, b Run) int { return a.Began.Compare(b.Began) })
	slices.SortStableFunc(s.Clients, func(a, b Client) int {
		rank := func(c Client) int {
			switch {
			case c.Master:
				return 0
			case c.Role == wire.RoleSource:
				return 1
			}
			return 2
		}
		return cmp.Compare(rank(a), rank(b))
	})
	for i := range s.Clients {
		c := &s.Clients[i]
		for _, run := range s.Runs {
			if c.Dest != nil && run.Destination == c.Who {
				c.Dest.Busy++
				c.Dest.Rate += run.Rate
			}
			if c.Program == Python && c.Source != nil && run.Source == c.Who {
				c.Source.Busy++
			}
		}
	}
}

// addSaid adds what a client says of itself.
func (f *facts) addSaid(s *Snapshot, c *Client, said wire.Status) {
	load := said.Load
	c.Role, c.Host, c.Version, c.Since, c.Load, c.Base = said.Role, said.Host, said.Version, moment(said.Since), &load, said.Base
	if w := said.Warning; w != nil {
		c.Warning = &Warning{moment(w.Time), w.Text}
	}
	if source := said.Source; source != nil {
		c.Source = &Source{Jobs: source.Jobs, Busy: len(source.Runs), Sent: source.Sent, Rate: source.Rate}
		s.Rates.Now += source.Rate
		for _, run := range source.Runs {
			s.Runs = append(s.Runs, Run{
				Path: run.Path, Paths: run.Paths, Source: c.Who, Destination: run.Destination, Began: moment(run.Began), Attempt: run.Attempt,
				Sent: run.Sent, Rate: run.Rate,
			})
		}
	}
	if d := said.Destination; d != nil {
		c.Dest = &Destination{
			Slots: d.Slots, State: d.State, Why: d.Why, Since: moment(d.Since), Size: d.Size, Free: d.Free, Inodes: d.Inodes, FreeInodes: d.Unused,
		}
	}
}

// addSilent adds what ZooKeeper knows of a client that says nothing.
func (f *facts) addSilent(c *Client) {
	if !f.ext[c.Who] {
		c.Program = Python
	}
	switch {
	case f.dests[c.Who]:
		c.Role, c.Dest = wire.RoleDestination, &Destination{Slots: 1, State: f.states[c.Who]}
	case f.sources[c.Who]:
		c.Role = wire.RoleSource
		if !c.Master {
			c.Source = &Source{Jobs: 1}
		}
	}
}

// waits are why the run stands still: what the leader says, or, if it says nothing, what can be seen.
func (f *facts) waits(lead *wire.LeaderStatus, s *Snapshot) (all []Wait) {
	if lead != nil {
		for _, w := range lead.Waits {
			all = append(all, Wait{w.For, moment(w.Since)})
		}
		return all
	}
	if f.meta != nil { // its leader has just begun
		return nil
	}
	sources, dests := false, false
	for _, c := range s.Clients {
		sources, dests = sources || c.Source != nil, dests || c.Dest != nil
	}
	switch {
	case !sources && !dests:
		return []Wait{{For: wire.WaitClients}}
	case !sources:
		return []Wait{{For: wire.WaitSources}}
	case !dests:
		return []Wait{{For: wire.WaitDestinations}}
	}
	return nil
}
