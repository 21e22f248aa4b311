// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// States of a connection in /proc/net/tcp, from Linux's include/net/tcp_states.h.
const (
	tcpEstablished = "01"
	tcpListen      = "0A"
)

// connection is a TCP socket in the kernel's table.
type connection struct {
	state string
	peer  netip.Addr
}

// socket is a TCP socket of a process.
type socket struct {
	inode string
	table string // tcp or tcp6: where it stands while it has a connection
}

// connections returns the TCP sockets at a local port by their inode numbers. It reads the given
// tables, tcp and tcp6, of the network that a process sees; proc(5) has their format. A socket
// whose connection was reset is not in them. Reading a table takes 5 ms of CPU time, however few
// connections there are, because the kernel looks through its whole hash table.
func connections(pid, port int, tables map[string]bool) (map[string]connection, error) {
	found := map[string]connection{}
	end := fmt.Appendf(nil, ":%04X ", port)
	for name := range tables {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(table) {
			if !bytes.Contains(line, end) {
				continue // most lines of a busy host
			}
			// number local remote state queues timer retransmissions uid timeout inode ...
			fields := strings.Fields(string(line))
			if len(fields) > 9 && strings.HasSuffix(fields[1]+" ", string(end)) {
				found[fields[9]] = connection{state: fields[3], peer: kernelAddr(fields[2])}
			}
		}
	}
	return found, nil
}

// kernelAddr reads the address in "0100007F:0369", which is in words of 32 bits in the machine's
// byte order.
func kernelAddr(text string) netip.Addr {
	text, _, _ = strings.Cut(text, ":")
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw)%4 != 0 {
		return netip.Addr{}
	}
	for at := 0; at < len(raw); at += 4 {
		binary.NativeEndian.PutUint32(raw[at:], binary.BigEndian.Uint32(raw[at:]))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr.Unmap()
}

// tcpSockets returns the TCP sockets that a process has open, also those without a connection.
func tcpSockets(pid int) ([]socket, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := readNames(dir)
	if err != nil {
		return nil, err
	}
	var found []socket
	for _, entry := range entries {
		target, err := os.Readlink(dir + "/" + entry)
		if err != nil {
			continue // closed since
		}
		inode, ok := strings.CutPrefix(target, "socket:[")
		if !ok {
			continue
		}
		one := socket{inode: strings.TrimSuffix(inode, "]")}
		// The kernel's name of the protocol: TCP, TCPv6, UNIX-STREAM, ...
		var protocol [16]byte
		size, err := unix.Getxattr(dir+"/"+entry, "system.sockprotoname", protocol[:])
		if err != nil {
			continue
		}
		switch unix.ByteSliceToString(protocol[:size]) {
		case "TCP":
			one.table = "tcp"
		case "TCPv6":
			one.table = "tcp6"
		default:
			continue
		}
		found = append(found, one)
	}
	return found, nil
}
