// SPDX-License-Identifier: LGPL-2.1-or-later

package web

import (
	"cmp"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
)

// collector makes metrics of what is known of all sessions. Labels are names of sessions and hosts, and words of a
// small set; never a path.
type collector struct {
	view    view
	version string
}

func (s *Server) showMetrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := waiting(r)
	defer cancel()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector{s.feed.latest(ctx), s.cfg.Version})
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("zkrsync_"+name, help, labels, nil)
}

// Of the run:
var (
	buildInfoDesc = desc("build_info", "The version of the program that offers these metrics.", "version")
	readableDesc  = desc("zookeeper_up", "Whether ZooKeeper could be read (1) or not (0); if not, what is told is old.")
	snapshotsDesc = desc("snapshot_timestamp_seconds", "When ZooKeeper was read last.")

	statesDesc   = desc("run_state", "1 for the state that the run is in: running, still, leaderless, or none if there is no run.", "session", "state")
	waitsDesc    = desc("run_waits", "1 for what the run waits for: clients, sources, destinations or bytes.", "session", "for")
	phasesDesc   = desc("run_phase", "1 for what the master is about: walking, leftovers, retrying, linking or ending.", "session", "phase")
	pausedDesc   = desc("run_paused", "1 while nothing is begun because a user has asked for that, with --pause.", "session")
	stoppingDesc = desc("run_stopping", "1 while nothing is begun and the run is about to be suspended, with --stop.", "session")
	beganDesc    = desc("run_start_timestamp_seconds", "When the run began.", "session")
	pathsDesc    = desc("paths", "Paths of the run by what has become of them; together they are all that were queued so far.", "session", "state")
	doneDesc     = desc("estimated_done_ratio", "How much of the run is done, from 0 to 1: the least and the most that is likely.", "session", "bound")
	leftDesc     = desc("estimated_left_seconds", "How long the run will go on: the least and the most that is likely.", "session", "bound")
	runsDesc     = desc("rsyncs", "rsyncs under way.", "session")
	oldestDesc   = desc("oldest_rsync_start_timestamp_seconds", "When the rsync began that has been under way for longest.", "session")
	linkRateDesc = desc("link_bytes_per_second", "Bytes that travel over the links in a second, in the last seconds.", "session")
)

// Counters of the run. What a run of rsync has done counts when it is over.
var (
	filesDesc       = desc("files_checked_total", "Files and directories that rsyncs have looked at.", "session")
	filesSentDesc   = desc("files_transferred_total", "Files that were new or changed.", "session")
	sizeDesc        = desc("file_bytes_checked_total", "Size of the files that rsyncs have looked at.", "session")
	sizeSentDesc    = desc("file_bytes_transferred_total", "Size of the files that were new or changed.", "session")
	sentDesc        = desc("sent_bytes_total", "Bytes that rsyncs have sent.", "session")
	deletedDesc     = desc("deleted_total", "Files and directories that were deleted at destinations.", "session")
	differencesDesc = desc("differences_total", "Differences that --verify has found.", "session")
)

// Of the clients, of all on one host together:
var (
	clientsDesc    = desc("clients", "Clients that are connected; role and program as they say.", "session", "role", "program")
	jobsDesc       = desc("source_jobs", "rsyncs that the sources of a host run at the most.", "session", "host")
	jobsBusyDesc   = desc("source_jobs_busy", "rsyncs that the sources of a host run.", "session", "host")
	sourceRateDesc = desc("source_bytes_per_second", "Bytes that the sources of a host send in a second, in the last seconds.", "session", "host")
	destsDesc      = desc("destinations", "Destinations by their state: active, paused, disabled, or new.", "session", "state")
	slotsDesc      = desc("destination_slots", "rsyncs that the destinations of a host serve at the most.", "session", "host")
	slotsBusyDesc  = desc("destination_slots_busy", "rsyncs that the destinations of a host serve.", "session", "host")
	destRateDesc   = desc("destination_bytes_per_second", "Bytes that sources send to the destinations of a host in a second, in the last seconds.", "session", "host")
	freeDesc       = desc("destination_free_bytes", "Room in the file system of a destination's base directory; of a host's, the one with the smallest part free.", "session", "host")
	totalDesc      = desc("destination_size_bytes", "Size of that file system.", "session", "host")
	freeInodesDesc = desc("destination_free_inodes", "Inodes that are free in such a file system; of a host's, the one with the smallest part free.", "session", "host")
	inodesDesc     = desc("destination_inodes", "Inodes that it has.", "session", "host")
)

// Describe says nothing in advance: what there is depends on the sessions.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect tells it.
func (c collector) Collect(out chan<- prometheus.Metric) {
	g := gauges{out}
	g.add(buildInfoDesc, 1, c.version)
	g.add(readableDesc, truth(c.view.err == nil && !c.view.at.IsZero()))
	g.time(snapshotsDesc, c.view.at)
	for _, s := range c.view.sessions {
		g.session(s)
	}
}

// gauges writes metrics.
type gauges struct{ out chan<- prometheus.Metric }

func (g gauges) add(desc *prometheus.Desc, value float64, labels ...string) {
	g.out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func (g gauges) count(desc *prometheus.Desc, value int64, session string) {
	g.out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), session)
}

// time writes a time, unless it is not known.
func (g gauges) time(desc *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		g.add(desc, float64(t.UnixMilli())/1000, labels...)
	}
}

// one writes a 1 for one of some words, and a 0 for the others.
func (g gauges) one(desc *prometheus.Desc, session, is string, words ...string) {
	for _, word := range words {
		g.add(desc, truth(word == is), session, word)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// session writes what is known of one. Of a run that is over its figures stay as they were seen last; who took part in
// it is gone.
func (g gauges) session(seen seen) {
	name, s := text(seen.name), seen.last
	state := status.None
	if s != nil && seen.over.IsZero() {
		state = s.State
	}
	g.one(statesDesc, name, string(state), string(status.None), string(status.Running), string(status.Still), string(status.Leaderless))
	if s == nil {
		return
	}
	p := s.Paths
	for _, c := range []struct {
		state string
		count int
	}{
		{"waiting", max(p.Remaining-p.Working-p.Flushing, 0)}, {"working", p.Working}, {"flushing", p.Flushing},
		{"completed", p.Completed}, {"failed", p.Failed}, {"vanished", p.Vanished}, {"changed", p.Changed}, {"skipped", p.Skipped},
	} {
		g.add(pathsDesc, float64(c.count), name, c.state)
	}
	g.time(beganDesc, s.Began, name)
	t := s.Totals
	g.count(filesDesc, t.Files, name)
	g.count(filesSentDesc, t.TransferredFiles, name)
	g.count(sizeDesc, t.Bytes, name)
	g.count(sizeSentDesc, t.TransferredBytes, name)
	g.count(sentDesc, t.Counted, name)
	g.count(deletedDesc, int64(t.Deleted), name)
	g.count(differencesDesc, int64(t.Differences), name)
	if state == status.None {
		return
	}
	g.one(phasesDesc, name, s.Phase, "walking", "leftovers", "retrying", "linking", "ending")
	for _, reason := range []string{wire.WaitClients, wire.WaitSources, wire.WaitDestinations, wire.WaitBytes} {
		is := ""
		for _, w := range s.Waits {
			if w.For == reason {
				is = reason
			}
		}
		g.one(waitsDesc, name, is, reason)
	}
	g.add(pausedDesc, truth(s.Control.Paused), name)
	g.add(stoppingDesc, truth(s.Control.Stopping), name)
	if e := s.Estimate; e.By != "" {
		g.add(doneDesc, e.Percent.Low/100, name, "low")
		g.add(doneDesc, e.Percent.High/100, name, "high")
		if e.Seconds != nil {
			g.add(leftDesc, e.Seconds.Low, name, "low")
			g.add(leftDesc, e.Seconds.High, name, "high")
		}
	}
	g.add(linkRateDesc, float64(s.Rates.Now), name)
	g.add(runsDesc, float64(len(s.Runs)), name)
	if len(s.Runs) > 0 {
		g.time(oldestDesc, s.Runs[0].Began, name)
	}
	g.clients(name, s.Clients)
}

// clients writes what is known of those that are connected.
func (g gauges) clients(session string, all []status.Client) {
	type kind struct{ role, program string }
	kinds := map[kind]int{}
	for _, role := range []string{wire.RoleSource, wire.RoleDestination} {
		for _, program := range []string{status.Go, status.Python} {
			kinds[kind{role, program}] = 0
		}
	}
	condition := map[string]int{"new": 0, wire.Active: 0, wire.Paused: 0, wire.Disabled: 0}
	hosts := map[*prometheus.Desc]map[string]float64{}
	of := func(desc *prometheus.Desc) map[string]float64 {
		if hosts[desc] == nil {
			hosts[desc] = map[string]float64{}
		}
		return hosts[desc]
	}
	// Both figures are of one file system: that with the smallest part free.
	fullest := func(freeDesc, allDesc *prometheus.Desc, host string, free, all uint64) {
		frees, alls := of(freeDesc), of(allDesc)
		if all > 0 && (alls[host] == 0 || float64(free)/float64(all) < frees[host]/alls[host]) {
			frees[host], alls[host] = float64(free), float64(all)
		}
	}
	for _, c := range all {
		host := text(wire.HostOf(c.Who))
		kinds[kind{cmp.Or(c.Role, "none"), c.Program}]++
		if source := c.Source; source != nil {
			of(jobsDesc)[host] += float64(source.Jobs)
			of(jobsBusyDesc)[host] += float64(source.Busy)
			of(sourceRateDesc)[host] += float64(source.Rate)
		}
		d := c.Dest
		if d == nil {
			continue
		}
		if _, known := condition[d.State]; known {
			condition[d.State]++
		} else {
			condition["new"]++
		}
		of(slotsDesc)[host] += float64(d.Slots)
		of(slotsBusyDesc)[host] += float64(d.Busy)
		of(destRateDesc)[host] += float64(d.Rate)
		fullest(freeDesc, totalDesc, host, d.Free, d.Size)
		fullest(freeInodesDesc, inodesDesc, host, d.FreeInodes, d.Inodes)
	}
	for k, n := range kinds {
		g.add(clientsDesc, float64(n), session, k.role, k.program)
	}
	for state, n := range condition {
		g.add(destsDesc, float64(n), session, state)
	}
	for desc, values := range hosts {
		for host, value := range values {
			g.add(desc, value, session, host)
		}
	}
}
