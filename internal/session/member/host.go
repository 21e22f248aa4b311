// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"context"
	"fmt"
	"os"
	"strings"

	"vsc-zk/internal/getent"
	"vsc-zk/internal/session/wire"
)

// hostName is the name by which this client is known: override, or the host's fully qualified name; for a
// destination with its domain replaced by the given one, if there is one.
func hostName(ctx context.Context, override, domain string) (string, error) {
	host := override
	if host == "" {
		name, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("cannot find this host's name (give one with --host): %w", err)
		}
		host = getent.FQDN(ctx, name)
		if domain != "" {
			label, _, _ := strings.Cut(host, ".")
			host = label + "." + domain
		}
	}
	if !wire.IsHost(host) {
		return "", fmt.Errorf("cannot be known as %q: a host must be a name or an IPv4 address, of letters, digits, dots, - and _ (--host)", host)
	}
	return host, nil
}
