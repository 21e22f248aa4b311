// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Ensemble is three servers with one content, which they have as long as two of them can talk to each other.
type Ensemble struct {
	Servers []*Server
}

// peer is a server's place in its ensemble.
type peer struct {
	all []string // each one's line of the config
}

// settings are those of a member. It notices within two seconds that another one is mute.
func (p *peer) settings() []string {
	return append([]string{"initLimit=10", "syncLimit=4"}, p.all...)
}

// launchEnsemble starts three servers that keep their files below dir, and returns when all of them serve
// clients.
func launchEnsemble(dir string) (*Ensemble, error) {
	const size = 3
	e, all := &Ensemble{}, &peer{}
	for id := 1; id <= size; id++ {
		s, port, err := newServer(filepath.Join(dir, fmt.Sprint("server", id)), 3)
		if err != nil {
			e.Stop()
			return nil, err
		}
		all.all = append(all.all, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", id, port+1, port+2))
		s.peer, e.Servers = all, append(e.Servers, s)
		if err := s.name(id); err != nil {
			e.Stop()
			return nil, fmt.Errorf("cannot start ZooKeeper: %w", err)
		}
	}
	for _, s := range e.Servers {
		if err := s.spawn(); err != nil {
			e.Stop()
			return nil, err
		}
	}
	if err := e.Await(); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// name makes the file that tells a server which one of the ensemble it is.
func (s *Server) name(id int) error {
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.data(), "myid"), []byte(fmt.Sprintln(id)), 0o600)
}

// Addrs are host:port of the servers.
func (e *Ensemble) Addrs() (addrs []string) {
	for _, s := range e.Servers {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// Revive starts a server that was stopped or killed; it serves clients once there are two.
func (e *Ensemble) Revive(server int) error { return e.Servers[server].spawn() }

// Await returns when all servers, none of which is stopped, serve clients.
func (e *Ensemble) Await() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errNoAnswer)
	defer cancel()
	for _, s := range e.Servers {
		if err := s.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Leader is the server that the others follow.
func (e *Ensemble) Leader(ctx context.Context) (server int, err error) {
	asking, enough := context.WithTimeout(ctx, 2*time.Second)
	answers := make(chan int)
	for i, s := range e.Servers {
		go func() {
			answer, err := s.ask(asking, "srvr")
			if err != nil || !strings.Contains(answer, "\nMode: leader\n") {
				i = -1
			}
			answers <- i
		}()
	}
	server = -1
	for range e.Servers {
		if i := <-answers; i >= 0 {
			server = i
			enough() // one that is paused does not answer
		}
	}
	enough()
	if server < 0 {
		return 0, errors.New("cannot find the leader of the ensemble: it has none")
	}
	return server, nil
}

// Stop ends all servers.
func (e *Ensemble) Stop() {
	for _, s := range e.Servers {
		s.Kill() // nobody needs what it has
	}
}
