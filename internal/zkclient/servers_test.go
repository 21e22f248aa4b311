// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"strings"
	"testing"
)

func TestParseServers(t *testing.T) {
	for _, test := range []struct {
		in      []string
		servers string
		chroot  string
		err     string
	}{
		{in: []string{"h1"}, servers: "h1:2181"},
		{in: []string{"h1:99"}, servers: "h1:99"},
		{in: []string{"h1", "h2:99"}, servers: "h1:2181 h2:99"},
		{in: []string{"h1, h2:99"}, servers: "h1:2181 h2:99"},
		{in: []string{"h1:2181,h2/chroot"}, servers: "h1:2181 h2:2181", chroot: "/chroot"},
		{in: []string{"h1:2181", "h2/a/b/"}, servers: "h1:2181 h2:2181", chroot: "/a/b"},
		{in: []string{"h1", "h2", "/a"}, servers: "h1:2181 h2:2181", chroot: "/a"},
		{in: []string{"h1/"}, servers: "h1:2181"},
		{in: []string{"[::1]:2181"}, servers: "[::1]:2181"},
		{in: []string{"[::1]", "[fe80::1]:7/x"}, servers: "[::1]:2181 [fe80::1]:7", chroot: "/x"},
		{in: nil, err: "no server given"},
		{in: []string{""}, err: "no server given"},
		{in: []string{"/x"}, err: "no server given"},
		{in: []string{"h1,,h2"}, err: "host name is missing"},
		{in: []string{"h1,"}, err: "host name is missing"},
		{in: []string{":2181"}, err: "host name is missing"},
		{in: []string{"h1 h2"}, err: "host name is missing or not a name"},
		{in: []string{"h1:abc"}, err: `"h1:abc": the port is not a number from 1 to 65535`},
		{in: []string{"h1:"}, err: "the port"},
		{in: []string{"h1:0"}, err: "the port"},
		{in: []string{"h1:65536"}, err: "the port"},
		{in: []string{"h1:-1"}, err: "the port"},
		{in: []string{"::1"}, err: "is written [::1]"},
		{in: []string{"[::1]x"}, err: "is written [::1]"},
		{in: []string{"[::1"}, err: "is written [::1]"},
		{in: []string{"h1/a,h2"}, err: "the chroot comes once"},
		{in: []string{"h1/a//b"}, err: "component"},
		{in: []string{"h1/../b"}, err: "component"},
	} {
		servers, chroot, err := ParseServers(test.in)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) || !strings.HasPrefix(err.Error(), "cannot ") {
				t.Errorf("%q: error %v, want one with %q", test.in, err, test.err)
			}
			continue
		}
		if got := strings.Join(servers, " "); err != nil || got != test.servers || chroot != test.chroot {
			t.Errorf("%q: %q %q %v, want %q %q", test.in, got, chroot, err, test.servers, test.chroot)
		}
	}
}

func TestPath(t *testing.T) {
	for _, test := range []struct{ base, name, want string }{
		{"/admin", "rsync", "/admin/rsync"},
		{"/admin", "rsync/x/", "/admin/rsync/x"},
		{"/admin", "", "/admin"},
		{"/admin/", "x", "/admin/x"},
		{"/admin", "/admin", "/admin"},
		{"/admin", "/admin/x", "/admin/x"},
		{"/", "x", "/x"},
		{"/", "/x/y", "/x/y"},
		{"/", "/", "/"},
		{"/admin", "/administrator", ""},
		{"/admin", "/other", ""},
		{"/admin", "/", ""},
		{"/admin", "../x", ""},
		{"/admin", "/admin/../x", ""},
		{"/admin", "a//b", ""},
		{"/admin", "./a", ""},
		{"admin", "a", ""},
	} {
		got, err := Path(test.base, test.name)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("Path(%q, %q) = %q, %v; want %q", test.base, test.name, got, err, test.want)
		}
	}
}

// The names of kazoo's lock nodes, negative numbers (after two thousand million locks) included.
func TestPredecessor(t *testing.T) {
	names := []string{
		"aa__lock__0000000009", "bb__lock__0000000010", "cc__lock__0000000011", "_c_dd-lock-0000000000",
		"ee__rlock__0000000001", "ff__lock__00000000012", "gg__lock__0000000012x",
	}
	for own, want := range map[string]string{
		"cc__lock__0000000011": "bb__lock__0000000010",
		"bb__lock__0000000010": "aa__lock__0000000009",
		"aa__lock__0000000009": "",
	} {
		if got, err := predecessor(names, own); got != want || err != nil {
			t.Errorf("before %s: %q, %v; want %q", own, got, err, want)
		}
	}
	if got, _ := predecessor(append(names, "hh__lock__-2147483648"), "aa__lock__0000000009"); got != "hh__lock__-2147483648" {
		t.Errorf("a negative number is not lower: %q", got)
	}
	if _, err := predecessor(names, "zz__lock__0000000001"); err != errGone {
		t.Errorf("own node not among the names: %v", err)
	}
}
