// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"os/exec"
	"strings"
	"testing"
)

// A Go and a Python destination of one host must use the same name for it.
func TestHostNameIsPythons(t *testing.T) {
	out, err := exec.Command("/usr/bin/python3", "-c", "import socket; print(socket.getfqdn())").Output()
	if err != nil {
		t.Fatalf("cannot run python3, please run: apt-get install python3: %v", err)
	}
	got, err := hostName(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(out)); got != want {
		t.Errorf("host name %q, Python says %q", got, want)
	}
}

func TestHostName(t *testing.T) {
	own, err := hostName(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	label, _, _ := strings.Cut(own, ".")
	for _, c := range []struct{ override, domain, want string }{
		{"", "ib.cluster", label + ".ib.cluster"},
		{"node7", "ib.cluster", "node7"},
		{"10.0.0.1", "", "10.0.0.1"},
	} {
		got, err := hostName(t.Context(), c.override, c.domain)
		if err != nil || got != c.want {
			t.Errorf("hostName(%q, %q) = %q, %v, want %q", c.override, c.domain, got, err, c.want)
		}
	}
	for _, bad := range []string{"::1", "a:b", "a/b"} {
		if _, err := hostName(t.Context(), bad, ""); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("hostName(%q): error %v, want one that names it", bad, err)
		}
	}
}
