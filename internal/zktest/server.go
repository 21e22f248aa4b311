// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"vsc-zk/internal/zkserver"
)

// patience is how long the start of a server may take on a machine that has other things to do.
const patience = 2 * time.Minute

var errNoAnswer = fmt.Errorf("it does not answer after %v", patience)

// Server is a running ZooKeeper.
type Server struct {
	program zkserver.Program
	addr    string
	port    []*os.File // the sockets that keep the ports, also while the server is stopped
	dir     string     // absolute
	tls     *secure    // nil: it has no port for TLS
	peer    *peer      // nil: it is alone

	mu    sync.Mutex
	run   *zkserver.Process // nil: stopped
	limit int               // of connections from one address, 0: none
}

// secure is the port for TLS.
type secure struct {
	addr     string
	identity string // key and certificate, PEM
	ca       string // who signs the certificates of clients, PEM
}

// Launch starts a server that keeps its files in dir, which must exist, and returns when it
// answers. ctx is for the start only; Stop ends the server.
func Launch(ctx context.Context, dir string) (*Server, error) { return launchServer(ctx, dir, nil) }

// launchServer is Launch, for a server that has a port for TLS, too, unless tls is nil.
func launchServer(ctx context.Context, dir string, tls *secure) (*Server, error) {
	s, port, err := newServer(dir, 2)
	if err != nil {
		return nil, err
	}
	if s.tls = tls; tls != nil {
		tls.addr = local(port + 1)
	}
	if err := s.start(ctx); err != nil {
		release(s.port)
		return nil, err
	}
	return s, nil
}

// newServer is a server that is still to be started, with so many ports; the first is for clients.
func newServer(dir string, ports int) (s *Server, port int, err error) {
	program, err := zkserver.Find("")
	if err != nil {
		return nil, 0, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, 0, fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	port, held, err := reserve(ports)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	return &Server{program: program, dir: dir, addr: local(port), port: held}, port, nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Addr is host:port of the server.
func (s *Server) Addr() string { return s.addr }

// SecureAddr is host:port of the port for TLS of a server that StartSecure has started.
func (s *Server) SecureAddr() string { return s.tls.addr }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// start starts the process, and returns when it serves clients.
func (s *Server) start(ctx context.Context) error {
	if err := s.spawn(); err != nil {
		return err
	}
	return s.await(ctx)
}

// Limit bounds the connections that the server takes from one address, 0: not at all. It counts from its next
// start on.
func (s *Server) Limit(connections int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = connections
}

// spawn starts the process.
func (s *Server) spawn() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, port, _ := net.SplitHostPort(s.addr)
	lines := []string{
		"tickTime=500",
		"minSessionTimeout=1000",
		"maxSessionTimeout=60000",
		"dataDir=" + s.data(),
		"clientPort=" + port,
		"clientPortAddress=127.0.0.1",
		fmt.Sprintf("maxClientCnxns=%d", s.limit),
		"admin.enableServer=false",
		"forceSync=no",
		"preAllocSize=4096",
		"4lw.commands.whitelist=conf,srvr,mntr,cons,dump,wchs",
	}
	if s.tls != nil {
		lines = append(lines, s.tls.settings()...)
	}
	if s.peer != nil {
		lines = append(lines, s.peer.settings()...)
	}
	r, err := s.program.Run(s.dir, lines)
	if err != nil {
		return err
	}
	s.run = r
	return nil
}

// await returns when the process that was started serves clients. One that does not is ended.
func (s *Server) await(ctx context.Context) error {
	s.mu.Lock()
	r := s.run
	s.mu.Unlock()
	if r == nil {
		return fmt.Errorf("cannot wait for ZooKeeper at %s: it is stopped", s.addr)
	}
	for limit := time.Second; ; {
		// A server that is just about to serve may take a question and never answer it.
		asking, cancel := context.WithTimeout(ctx, limit)
		serves := s.serving(asking)
		if asking.Err() != nil {
			limit *= 2 // or the machine is busy
		}
		cancel()
		if serves {
			return nil
		}
		select {
		case <-r.Done():
			return fmt.Errorf("cannot start ZooKeeper: %w", r.Err())
		case <-ctx.Done():
			r.Stop(syscall.SIGKILL)
			return fmt.Errorf("cannot start ZooKeeper: %w: %s", context.Cause(ctx), r.LastLines())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// settings have the server speak TLS, with clients only that show a certificate. Only the connections of
// netty can.
func (t *secure) settings() []string {
	_, port, _ := net.SplitHostPort(t.addr)
	return []string{
		"serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
		"secureClientPort=" + port,
		"secureClientPortAddress=127.0.0.1",
		"ssl.keyStore.location=" + t.identity,
		"ssl.keyStore.type=PEM",
		"ssl.trustStore.location=" + t.ca,
		"ssl.trustStore.type=PEM",
		"ssl.clientAuth=need",
	}
}

// serving says whether this very server does. Another one may have the port.
func (s *Server) serving(ctx context.Context) bool {
	answer, err := s.ask(ctx, "conf")
	return err == nil && strings.Contains(answer, "dataDir="+s.data()+string(filepath.Separator))
}

// Zxid is the number of the last transaction. Each request that changes something is one, a Multi
// as a whole; the beginning and the end of a session are one each too.
func (s *Server) Zxid() (int64, error) {
	answer, err := s.ask(context.Background(), "srvr")
	if err != nil {
		return 0, fmt.Errorf("cannot read the last transaction of ZooKeeper at %s: %w", s.addr, err)
	}
	for line := range strings.Lines(answer) {
		if digits, ok := strings.CutPrefix(strings.TrimSpace(line), "Zxid: 0x"); ok {
			return strconv.ParseInt(digits, 16, 64)
		}
	}
	return 0, fmt.Errorf("cannot read the last transaction of ZooKeeper at %s: it answers %q", s.addr, answer)
}

// Size is how many znodes the server has, and roughly how many bytes of names and data.
func (s *Server) Size() (nodes, bytes int, err error) {
	answer, err := s.ask(context.Background(), "mntr")
	if err != nil {
		return 0, 0, fmt.Errorf("cannot read the size of ZooKeeper at %s: %w", s.addr, err)
	}
	found := 0
	for line := range strings.Lines(answer) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		for wanted, number := range map[string]*int{"zk_znode_count": &nodes, "zk_approximate_data_size": &bytes} {
			if name == wanted {
				if *number, err = strconv.Atoi(value); err != nil {
					return 0, 0, fmt.Errorf("cannot read the size of ZooKeeper at %s: %w", s.addr, err)
				}
				found++
			}
		}
	}
	if found < 2 {
		return 0, 0, fmt.Errorf("cannot read the size of ZooKeeper at %s: it answers %q", s.addr, answer)
	}
	return nodes, bytes, nil
}

// ask sends a four-letter word.
func (s *Server) ask(ctx context.Context, word string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}} // so that it is none of the clients
	conn, err := dialer.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func (s *Server) end(signal syscall.Signal) {
	s.mu.Lock()
	r := s.run
	s.run = nil
	s.mu.Unlock()
	if r != nil {
		r.Stop(signal)
	}
}

// Stop ends the server in good order; it may be called again.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash does.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Pause has the server do nothing until Continue; its connections stay.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue ends a pause.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.Signal(signal)
	}
}

// Restart starts the server again, on the same port and with the same data. If it runs it is ended
// first.
func (s *Server) Restart() error {
	s.Stop()
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errNoAnswer)
	defer cancel()
	return s.start(ctx)
}
