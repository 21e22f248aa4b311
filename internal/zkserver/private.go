// SPDX-License-Identifier: LGPL-2.1-or-later

package zkserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tries is how often a free port is looked for: another program may be faster.
const tries = 5

// Private is a server that nobody else uses. Its methods are for one goroutine at a time.
type Private struct {
	*Process // its life at the moment

	program Program
	dir     string
	port    int
}

// Private starts a server that keeps its files in dir, which is made, and returns when it listens.
func (p Program) Private(ctx context.Context, dir string) (s *Private, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a directory for ZooKeeper: %w", err)
	}
	s = &Private{program: p, dir: dir}
	for range tries {
		if s.port, err = freePort(); err != nil {
			return nil, fmt.Errorf("cannot find a port for ZooKeeper: %w", err)
		}
		if err = s.Start(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	return s, err
}

// Addr is host:port.
func (s *Private) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Start starts the server again when it has ended, on the same port and with the same data.
func (s *Private) Start(ctx context.Context) error {
	process, err := s.program.Run(s.dir, []string{
		"tickTime=1000",
		"minSessionTimeout=1000",
		"maxSessionTimeout=3600000",
		"dataDir=" + filepath.Join(s.dir, "data"),
		fmt.Sprint("clientPort=", s.port),
		"clientPortAddress=127.0.0.1",
		"maxClientCnxns=0",
		"admin.enableServer=false",
		"forceSync=no",
		"preAllocSize=4096",
		"autopurge.purgeInterval=1",
	})
	if err != nil {
		return err
	}
	s.Process = process
	if err = s.listens(ctx, s.port); err != nil {
		s.Stop(syscall.SIGKILL)
	}
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// listens returns when the server itself listens on the port.
func (s *Process) listens(ctx context.Context, port int) error {
	for {
		if s.has(port) {
			return nil
		}
		select {
		case <-s.done:
			return s.Err()
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for ZooKeeper: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// has tells whether the process has a socket that listens on the port.
func (s *Process) has(port int) bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(table)) {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode; st 0A listens
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			continue
		}
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.pid))
		for _, file := range files {
			if target, err := os.Readlink(file); err == nil && target == "socket:["+f[9]+"]" {
				return true
			}
		}
	}
	return false
}
