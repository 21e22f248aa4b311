// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
)

// A port that is found free, let go and opened again can be lost in between: to another process
// that looks for one and, far more often, to this one. A child process has a copy of every
// descriptor from the fork to the exec, and as long as it has that of a listener nobody can listen
// there. So a port once found is never let go.

// search tries ports below those the kernel gives to outgoing connections (32768 and up) until one
// is free.
func search(try func(port int) error) error {
	for range 100 {
		if err := try(20000 + rand.IntN(12000)); !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return errors.New("no port from 20000 to 31999 is free")
}

// Ports is the first of n ports in a row on 127.0.0.1 that are the test's own until its end. They
// refuse connections until a server listens there, which must set SO_REUSEADDR, as rsync, Java and
// Go's net package do.
func Ports(t testing.TB, n int) int {
	t.Helper()
	first, held, err := reserve(n)
	if err != nil {
		t.Fatalf("cannot find %d free ports: %v", n, err)
	}
	t.Cleanup(func() { release(held) })
	return first
}

// reserve finds n ports in a row and binds a socket that never listens to each. Servers that set
// SO_REUSEADDR can listen there, one after the other; whoever else looks for ports like this passes
// them over.
func reserve(n int) (first int, held []*os.File, err error) {
	err = search(func(port int) error {
		first, held = port, nil
		for i := range n {
			socket, err := bind(port + i)
			if err != nil {
				release(held)
				return err
			}
			held = append(held, socket)
		}
		return nil
	})
	return first, held, err
}

func bind(port int) (*os.File, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	socket := os.NewFile(uintptr(fd), fmt.Sprintf("port %d", port))
	err = os.NewSyscallError("bind", syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	if err == nil {
		err = share(fd, true)
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
}

func release(held []*os.File) {
	for _, socket := range held {
		socket.Close()
	}
}

// gate is a listener that can refuse connections, and accept them again, without ever giving up its
// port.
type gate struct {
	*net.TCPListener
}

func newGate() (gate, error) {
	var g gate
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error { return share(fd, false) })
	}}
	err := search(func(port int) error {
		l, err := config.Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		g.TCPListener = l.(*net.TCPListener)
		return g.control(func(fd int) error { return share(fd, true) })
	})
	return g, err
}

// shut makes Accept fail and every attempt to connect be refused; the port stays bound.
func (g gate) shut() error {
	return g.control(func(fd int) error {
		if err := syscall.Shutdown(fd, syscall.SHUT_RD); err != nil {
			return os.NewSyscallError("shutdown", err)
		}
		return share(fd, false)
	})
}

// open undoes shut.
func (g gate) open() error {
	return g.control(func(fd int) error {
		if err := share(fd, true); err != nil {
			return err
		}
		return os.NewSyscallError("listen", syscall.Listen(fd, 128))
	})
}

func (g gate) control(fn func(fd int) error) error {
	c, err := g.SyscallConn()
	if err != nil {
		return err
	}
	return control(c, fn)
}

func control(c syscall.RawConn, fn func(fd int) error) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = fn(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// share sets SO_REUSEADDR: whether sockets with the same setting may have the port too. As long as
// one of them listens the port is that one's alone. The connections it has accepted are an
// exception: they inherit the setting and outlive it for a minute.
func share(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, value))
}
