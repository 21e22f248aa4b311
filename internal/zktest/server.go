// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	jar     = "/usr/share/java/zookeeper.jar" // its manifest names the other jars, but for this one of netty's
	codec   = "/usr/share/java/netty-codec.jar"
	install = "apt-get install -y zookeeper default-jre-headless"
)

// patience is how long the start of a server may take on a machine that has other things to do.
const patience = 2 * time.Minute

var errNoAnswer = fmt.Errorf("it does not answer after %v", patience)

// Server is a running ZooKeeper.
type Server struct {
	addr string
	port []*os.File // the sockets that keep the ports, also while the server is stopped
	dir  string     // absolute
	tls  *secure    // nil: it has no port for TLS

	mu  sync.Mutex
	run *run // nil: stopped
}

// secure is the port for TLS.
type secure struct {
	addr     string
	identity string // key and certificate, PEM
	ca       string // who signs the certificates of clients, PEM
}

// run is one life of the server process.
type run struct {
	pid    int
	output *bytes.Buffer // to be read after done
	done   chan struct{} // closed when the process has ended and been waited for
	err    error
}

// Launch starts a server that keeps its files in dir, which must exist, and returns when it
// answers. ctx is for the start only; Stop ends the server.
func Launch(ctx context.Context, dir string) (*Server, error) { return launchServer(ctx, dir, nil) }

// launchServer is Launch, for a server that has a port for TLS, too, unless tls is nil.
func launchServer(ctx context.Context, dir string, tls *secure) (*Server, error) {
	if _, err := os.Stat(jar); err != nil {
		return nil, fmt.Errorf("cannot start ZooKeeper: %s is missing; type: %s", jar, install)
	}
	if _, err := exec.LookPath("java"); err != nil {
		return nil, fmt.Errorf("cannot start ZooKeeper: there is no java; type: %s", install)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	s := &Server{dir: dir, tls: tls}
	port, held, err := reserve(2)
	if err != nil {
		return nil, fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	s.addr, s.port = net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), held
	if tls != nil {
		tls.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1))
	}
	if err := s.start(ctx); err != nil {
		release(held)
		return nil, err
	}
	return s, nil
}

// Addr is host:port of the server.
func (s *Server) Addr() string { return s.addr }

// SecureAddr is host:port of the port for TLS of a server that StartSecure has started.
func (s *Server) SecureAddr() string { return s.tls.addr }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) start(ctx context.Context) error {
	_, port, _ := net.SplitHostPort(s.addr)
	config := filepath.Join(s.dir, "zoo.cfg")
	lines := []string{
		"tickTime=500",
		"minSessionTimeout=1000",
		"maxSessionTimeout=60000",
		"dataDir=" + s.data(),
		"clientPort=" + port,
		"clientPortAddress=127.0.0.1",
		"maxClientCnxns=0",
		"admin.enableServer=false",
		"forceSync=no",
		"preAllocSize=4096",
		"4lw.commands.whitelist=conf,srvr,mntr,cons,dump,wchs",
	}
	if s.tls != nil {
		lines = append(lines, s.tls.settings()...)
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	cmd := exec.Command("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-cp", jar+":"+codec, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 2 * time.Second
	r, err := launch(cmd)
	if err != nil {
		return fmt.Errorf("cannot start ZooKeeper: %w", err)
	}
	for {
		if s.serving() {
			s.mu.Lock()
			s.run = r
			s.mu.Unlock()
			return nil
		}
		select {
		case <-r.done:
			return fmt.Errorf("cannot start ZooKeeper: it ended (%v): %s", r.err, lastLines(r.output.String()))
		case <-ctx.Done():
			r.stop(syscall.SIGKILL)
			return fmt.Errorf("cannot start ZooKeeper: %w: %s", context.Cause(ctx), lastLines(r.output.String()))
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

// launch starts cmd on a thread of its own that lives as long as the process does. The kernel sends
// the parent-death signal when the thread that forked ends.
func launch(cmd *exec.Cmd) (*run, error) {
	r := &run{output: new(bytes.Buffer), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = r.output, r.output
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(r.done)
		err := cmd.Start()
		if err == nil {
			r.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			r.err = cmd.Wait()
		}
	}()
	return r, <-started
}

// stop ends the process group and waits for it.
func (r *run) stop(signal syscall.Signal) {
	select {
	case <-r.done:
		return
	default:
	}
	syscall.Kill(-r.pid, signal)
	select {
	case <-r.done:
	case <-time.After(5 * time.Second):
		syscall.Kill(-r.pid, syscall.SIGKILL)
		<-r.done
	}
}

// serving says whether this very server does. Another one may have the port.
func (s *Server) serving() bool {
	answer, err := s.ask("conf")
	return err == nil && strings.Contains(answer, "dataDir="+s.data()+string(filepath.Separator))
}

// Zxid is the number of the last transaction. Each request that changes something is one, a Multi
// as a whole; the beginning and the end of a session are one each too.
func (s *Server) Zxid() (int64, error) {
	answer, err := s.ask("srvr")
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
	answer, err := s.ask("mntr")
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
func (s *Server) ask(word string) (string, error) {
	const limit = 30 * time.Second
	conn, err := net.DialTimeout("tcp", s.addr, limit)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}

func (s *Server) end(signal syscall.Signal) {
	s.mu.Lock()
	r := s.run
	s.run = nil
	s.mu.Unlock()
	if r != nil {
		r.stop(signal)
	}
}

// Stop ends the server in good order; it may be called again.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash does.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Restart starts the server again, on the same port and with the same data. If it runs it is ended
// first.
func (s *Server) Restart() error {
	s.Stop()
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errNoAnswer)
	defer cancel()
	return s.start(ctx)
}
