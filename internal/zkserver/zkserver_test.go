// SPDX-License-Identifier: LGPL-2.1-or-later

package zkserver

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
)

// A private server listens on the loopback only, and has its data again when it was killed.
func TestPrivate(t *testing.T) {
	program, err := Find("")
	if err != nil {
		t.Fatal(err)
	}
	s, err := program.Private(t.Context(), filepath.Join(t.TempDir(), "zookeeper"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Stop(syscall.SIGTERM) }()
	if !strings.HasPrefix(s.Addr(), "127.0.0.1:") || !s.has(s.port) {
		t.Errorf("it listens on %s", s.Addr())
	}
	config := zkclient.Config{Servers: []string{s.Addr()}, ConnectTimeout: 2 * time.Minute}
	zk, err := zkclient.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = zk.Create(t.Context(), "/kept", nil, zkclient.Persistent)
	zk.Close()
	if err != nil {
		t.Fatal(err)
	}
	s.Stop(syscall.SIGKILL)
	if err := s.Err(); !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("ended: %v", err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if zk, err = zkclient.Connect(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	defer zk.Close()
	if _, found, err := zk.Exists(t.Context(), "/kept"); err != nil || !found {
		t.Errorf("the data are gone (%v)", err)
	}
}

// A port where somebody else listens is not taken for the server's.
func TestForeignPort(t *testing.T) {
	program, err := Find("")
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := &Private{program: program, dir: t.TempDir(), port: taken.Addr().(*net.TCPAddr).Port}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Start(ctx); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "ZooKeeper has ended") {
		t.Errorf("start: %v", err)
	}
}

// A server that could not be started again can be stopped all the same.
func TestStopAfterFailedStart(t *testing.T) {
	ended := &Process{done: make(chan struct{})}
	close(ended.done)
	s := &Private{Process: ended, dir: filepath.Join(t.TempDir(), "gone")}
	if err := s.Start(t.Context()); err == nil {
		t.Error("it has started in a directory that there is not")
	}
	s.Stop(syscall.SIGTERM)
}

func TestFindHome(t *testing.T) {
	if _, err := Find(t.TempDir()); err == nil || !strings.Contains(err.Error(), "its tarball was unpacked to") {
		t.Errorf("an empty directory: %v", err)
	}
}
