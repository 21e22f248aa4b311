// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

const defaultPort = "2181"

// ParseServers reads kazoo's forms: "host", "host:port", "[::1]:2181", several in one string
// separated by commas, and a chroot ("/a/b") once, after the last server or as the last element.
func ParseServers(list []string) (servers []string, chroot string, err error) {
	all := strings.Join(list, ",")
	if i := strings.IndexByte(all, '/'); i >= 0 {
		all, chroot = strings.TrimRight(all[:i], ", "), strings.TrimSpace(all[i:])
		if strings.Contains(chroot, ",") {
			return nil, "", fmt.Errorf("cannot use the servers %s%s: the chroot comes once, after the last server", all, chroot)
		}
		if chroot, err = Path("/", chroot); err != nil {
			return nil, "", fmt.Errorf("cannot use the servers' chroot: %w", err)
		}
		if chroot == "/" {
			chroot = ""
		}
	}
	if strings.TrimSpace(all) == "" {
		return nil, "", errors.New("cannot connect to ZooKeeper: no server given")
	}
	for _, item := range strings.Split(all, ",") {
		server, err := parseServer(strings.TrimSpace(item))
		if err != nil {
			return nil, "", err
		}
		servers = append(servers, server)
	}
	return servers, chroot, nil
}

// parseServer returns item as host:port.
func parseServer(item string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("cannot use the ZooKeeper server %q: %s", item, why)
	}
	host, port := item, defaultPort
	switch {
	case strings.HasPrefix(item, "["):
		end := strings.IndexByte(item, ']')
		if end < 0 || (end+1 < len(item) && item[end+1] != ':') {
			return bad("an IPv6 address is written [::1] or [::1]:2181")
		}
		host = item[1:end]
		if end+1 < len(item) {
			port = item[end+2:]
		}
	case strings.Count(item, ":") > 1:
		return bad("an IPv6 address is written [::1] or [::1]:2181")
	case strings.Contains(item, ":"):
		host, port, _ = strings.Cut(item, ":")
	}
	if host == "" || strings.ContainsAny(host, " \t") {
		return bad("the host name is missing or not a name")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bad("the port is not a number from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

// hosts hands out the servers' names in turn. The names are looked up at each dial: so one that
// cannot be resolved does the others no harm, and a changed address is noticed. The library
// shuffles them before Init.
type hosts struct {
	quitting func() bool

	mu      sync.Mutex
	servers []string
	next    int
}

func (h *hosts) Init(servers []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.servers = servers
	return nil
}

func (h *hosts) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.servers)
}

// Next never asks the library for its pause of a second between two rounds, because the dialer
// paces itself. Only at the end it does: nowhere else does the library look whether it should quit.
func (h *hosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	return server, h.quitting()
}

func (h *hosts) Connected() {}
