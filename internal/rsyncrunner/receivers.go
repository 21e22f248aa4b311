// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"syscall"
	"time"
)

const (
	defaultLookEvery = 200 * time.Millisecond
	// lostGrace is between SIGUSR1 and SIGKILL. rsync takes 0.1 s for SIGUSR1.
	lostGrace = time.Second
)

// receivers ends the processes of a daemon whose peer is gone. rsync notices that only when it
// reads or writes, and while it deletes it does neither.
//
// A transfer that goes well is not disturbed, because the client leaves last. rsync's protocol ends
// with a goodbye, which the server sends when deletions, times of directories and all else are done
// (do_recv in its main.c, after generate_files), and for which the client waits
// (read_final_goodbye). All that the server has to do then is to end. It has the time of one look
// for that, and a signal after it would still do no harm.
//
// The signal is SIGUSR1, with which rsync's processes end each other: temporary files are removed
// and the process ends. At SIGTERM rsync's server side waits for 0.4 s, sets a flag that is looked
// at when it reads or writes, and goes on deleting (sig_int in rsync.c of 3.5.0).
type receivers struct {
	process *process
	port    int
	every   time.Duration
	grace   time.Duration
	logger  *slog.Logger
	known   map[member]*served
}

// served is a process that has a connection of the daemon's. A transfer has two, rsync's generator
// and its receiver, which share one connection.
type served struct {
	peer  netip.Addr // the zero value: the process was never seen connected
	lost  bool       // it had no peer in the last look
	ended time.Time  // when it got SIGUSR1
}

func newReceivers(process *process, cfg DaemonConfig) *receivers {
	r := &receivers{process: process, port: cfg.Port, every: cfg.lookEvery, grace: lostGrace, logger: cfg.Logger, known: map[member]*served{}}
	if r.every <= 0 {
		r.every = defaultLookEvery
	}
	return r
}

// watch looks until ctx ends. The pause is from the end of one look to the begin of the next.
func (r *receivers) watch(ctx context.Context) {
	timer := time.NewTimer(r.every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r.look()
		timer.Reset(r.every)
	}
}

// look ends every process that has no peer in this look and had none in the one before. Where /proc
// cannot be read nothing is ended.
func (r *receivers) look() {
	leader := r.process.cmd.Process.Pid
	held, tables := map[member][]socket{}, map[string]bool{}
	for _, m := range members(leader) {
		if m.pid == leader {
			continue
		}
		if sockets, err := tcpSockets(m.pid); err == nil {
			held[m] = sockets
			for _, socket := range sockets {
				tables[socket.table] = true
			}
		}
	}
	for m := range r.known {
		if _, ok := held[m]; !ok {
			delete(r.known, m)
		}
	}
	if len(held) == 0 {
		return
	}
	// The table is read after the descriptors, so that it has what these refer to.
	table, err := connections(leader, r.port, tables)
	if err != nil {
		return
	}
	said := map[netip.Addr]bool{} // the two processes of a transfer make one line
	for m, sockets := range held {
		one, connected := r.judge(m, sockets, table)
		if one == nil {
			continue
		}
		if r.end(m, one, connected) && !said[one.peer] {
			said[one.peer] = true
			host := "an unknown host"
			if one.peer.IsValid() {
				host = one.peer.String()
			}
			r.logger.Info(fmt.Sprintf("receiver of %s ended: its source is gone", host), "event", "receiver-ended")
		}
	}
}

// judge returns what is known of a process and whether it has a peer; nil if it serves no
// connection.
func (r *receivers) judge(m member, sockets []socket, table map[string]connection) (one *served, connected bool) {
	one = r.known[m]
	for _, socket := range sockets {
		c, listed := table[socket.inode]
		if listed && c.state == tcpListen {
			return nil, false
		}
		if one == nil {
			// A process that was never seen connected counts too: its peer may have gone before the
			// first look, and a connection that was reset is in no table any more.
			one = &served{}
			r.known[m] = one
		}
		if listed {
			one.peer = c.peer
		}
		connected = connected || c.state == tcpEstablished
	}
	return one, connected
}

// end takes the next step towards the end of a process, and reports whether it was the first.
func (r *receivers) end(m member, one *served, connected bool) bool {
	was := one.lost
	one.lost = !connected
	switch {
	case connected || !was:
	case one.ended.IsZero():
		one.ended = time.Now()
		return r.process.signal(m, syscall.SIGUSR1)
	case time.Since(one.ended) >= r.grace:
		r.process.signal(m, syscall.SIGKILL)
	}
	return false
}
