// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// On a host without IPv6 addresses rsync still listens on [::], and must not be taken for a
// stranger there.
func TestDaemonOnHostWithoutIPv6(t *testing.T) {
	if os.Getenv(innerVariable) == "" {
		attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if os.Geteuid() != 0 {
			attr.Cloneflags |= syscall.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
			attr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
		}
		inner(t, "other network", attr)
		return
	}
	loopbackWithoutIPv6(t)
	if found := families(); len(found) != 1 || found[0].network != "tcp4" {
		t.Errorf("families %v", found)
	}
	_, url := serve(t, t.TempDir())
	send(t, Options{}, Job{Base: t.TempDir(), Names: []string{""}, URL: url})
}

// loopbackWithoutIPv6 sets up the empty network of a new name space.
func loopbackWithoutIPv6(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_UP)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(request))); errno != 0 {
		t.Fatal(errno)
	}
}

// A daemon that has lost the port to somebody for the moment of its start, and listens in the other
// address family only, is not taken for one that works.
func TestDaemonInOneFamilyOnly(t *testing.T) {
	program := script(t, `exec rsync --ipv6 "$@"`)
	d, err := StartDaemon(t.Context(), DaemonConfig{Module: "m", Path: t.TempDir(), Port: freePort(t), TempDir: t.TempDir(), program: program})
	if err == nil {
		d.Stop()
	}
	if !errors.Is(err, ErrStranger) {
		t.Errorf("error %v, want ErrStranger", err)
	}
}
