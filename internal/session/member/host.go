// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// hostName is the name this client is known by: override, or the host's fully
// qualified name; for a destination with domain replaced by domain if given.
func hostName(ctx context.Context, override, domain string) (string, error) {
	host := override
	if host == "" {
		name, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("cannot find this host's name (give one with --host): %w", err)
		}
		host = qualified(ctx, name)
		if domain != "" {
			label, _, _ := strings.Cut(host, ".")
			host = label + "." + domain
		}
	}
	if strings.ContainsAny(host, ":/") {
		return "", fmt.Errorf("cannot be known as %q: a host must be a name or an IPv4 address, without colon or slash (--host)", host)
	}
	return host, nil
}

// qualified does what Python's socket.getfqdn does, or Go and Python clients of
// one host would have different names: the address of name is looked up, and of
// that address's names (the canonical one, then the aliases) the first with a
// dot is taken, else the canonical one. The lookups are left to getent, which
// asks what the system is configured to ask; a static program cannot.
func qualified(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	address := firstField(getent(ctx, "ahosts", name))
	if address == "" {
		return name
	}
	fields := strings.Fields(firstLine(getent(ctx, "hosts", address)))
	if len(fields) < 2 || net.ParseIP(fields[0]) == nil {
		return name
	}
	for _, candidate := range fields[1:] {
		if strings.Contains(candidate, ".") {
			return candidate
		}
	}
	return fields[1]
}

func getent(ctx context.Context, database, key string) string {
	out, err := exec.CommandContext(ctx, "getent", database, key).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func firstField(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}
