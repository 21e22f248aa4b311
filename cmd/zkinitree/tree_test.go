// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/cli"
	"vsc-zk/internal/zkclient"
)

// sections reads a config file the way the program does.
func sections(t *testing.T, text string) *cli.Parsed {
	t.Helper()
	var o options
	var said bytes.Buffer
	parsed, err := newProgram(&o).Parse([]string{"--configfiles=" + configFile(t, text)}, nil, &said, &said)
	if err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	return parsed
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tree.cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const users = `
[MAIN]
servers=localhost
[root]
passwd=r00t
path=/ignored
[alice]
passwd=al%%ice:x
[bob]
passwd=b,ob
`

func acl(user, password string, perms zkclient.Perms) zkclient.ACL {
	return zkclient.DigestACL(user, password, perms)
}

var (
	rootAll  = acl("root", "r00t", zkclient.PermAll)
	aliceAll = acl("alice", "al%ice:x", zkclient.PermAll)
)

func TestReadTree(t *testing.T) {
	got, err := readTree(sections(t, users+`
[/admin/x/y]
# No rights but root's.
[/admin/x]
r=alice, bob ,
dcwra=bob
w=
all=alice,alice,root
[/admin]
value=some: text, as=it is
sequence=no
ephemeral=off
[/admin/deep/down/below]
makepath=Yes
c=bob
[/admin/deep]
r=bob
[/admin/n-]
sequence=1
makepath=true
[/admin/n-/x]
makepath=1
`))
	if err != nil {
		t.Fatal(err)
	}
	bob := func(p zkclient.Perms) zkclient.ACL { return acl("bob", "b,ob", p) }
	want := tree{rootPassword: "r00t", nodes: []node{
		{path: "/admin", acl: []zkclient.ACL{rootAll}, value: "some: text, as=it is"},
		{path: "/admin/x", acl: []zkclient.ACL{rootAll, acl("alice", "al%ice:x", zkclient.PermRead), bob(zkclient.PermRead), bob(zkclient.PermAll), aliceAll}},
		{path: "/admin/deep", acl: []zkclient.ACL{rootAll, bob(zkclient.PermRead)}},
		{path: "/admin/n-", acl: []zkclient.ACL{rootAll}, sequential: true},
		{path: "/admin/n-", acl: []zkclient.ACL{rootAll}, implied: true}, // no child can count on the other
		{path: "/admin/x/y", acl: []zkclient.ACL{rootAll}},
		{path: "/admin/n-/x", acl: []zkclient.ACL{rootAll}},
		{path: "/admin/deep/down", acl: []zkclient.ACL{rootAll, bob(zkclient.PermCreate)}, implied: true},
		{path: "/admin/deep/down/below", acl: []zkclient.ACL{rootAll, bob(zkclient.PermCreate)}},
	}}
	for i := range got.nodes {
		if !strings.Contains(got.nodes[i].where, "tree.cfg:") {
			t.Errorf("%s is said to be at %q", got.nodes[i].path, got.nodes[i].where)
		}
		got.nodes[i].where = ""
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tree{}, node{})); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestPermissionLetters(t *testing.T) {
	for key, want := range map[string]zkclient.Perms{
		"r": zkclient.PermRead, "w": zkclient.PermWrite, "c": zkclient.PermCreate, "d": zkclient.PermDelete, "a": zkclient.PermAdmin,
		"rw": zkclient.PermRead | zkclient.PermWrite, "dc": zkclient.PermCreate | zkclient.PermDelete, "adcwr": zkclient.PermAll,
		"rr": zkclient.PermRead, "all": zkclient.PermAll,
	} {
		if got, err := parsePerms(key); err != nil || got != want {
			t.Errorf("%s = %b, %v; want %b", key, got, err, want)
		}
	}
	for _, key := range []string{"R", "ALL", "xz", "rx", "al", "r w", "r,w", "Value"} {
		if got, err := parsePerms(key); err == nil {
			t.Errorf("%s = %b, want an error", key, got)
		}
	}
}

// mistakes are files, to be put behind the users above, and the lines that zkinitree says about
// them.
var mistakes = []struct {
	name, text string
	want       []string // one for each line, in order
}{
	{"unknown user", "[/admin]\nrw=alice,carol\n", []string{"cannot set up /admin (FILE:11): rw: User carol not configured!"}},
	{"user without password", "[carol]\nphone=1\n[/admin]\nr=carol\n", []string{"cannot use section [carol] (FILE:11): User carol has no password attribute!"}},
	{"user with an empty password", "[carol]\npasswd=\n", []string{"User carol has no password attribute!"}},
	{"user with a colon", "[a:b]\npasswd=x\n", []string{"cannot use section [a:b] (FILE:11): the name of a user must have no colon"}},
	{"letters", "[/admin]\nrx=alice\nALL=bob\npasswd=geheim\n", []string{"key rx is neither", "key ALL is neither", "key passwd is neither"}},
	{"outside", "[/foo]\n", []string{"cannot set up /foo (FILE:11): path /foo not subpath of /admin"}},
	{"administrator", "[/administrator]\n", []string{"path /administrator not subpath of /admin"}},
	{"top", "[/]\n", []string{"path / not subpath of /admin"}},
	{"two slashes", "[/admin//x]\n", []string{"cannot set up /admin//x (FILE:11): the path must have no empty"}},
	{"slash at the end", "[/admin/]\n", []string{"the path must have no"}},
	{"dots", "[/admin/../x]\n[/admin/.]\n", []string{"the path must have no", "the path must have no"}},
	{"control character", "[/admin/a\x07b]\n", []string{"the path has a character"}},
	{"private use", "[/admin/\ue000]\n", []string{"the path has a character"}},
	{"ephemeral", "[/admin/x]\nephemeral=yes\n", []string{"an ephemeral node would vanish when zkinitree ends"}},
	{"booleans", "[/admin]\nmakepath=maybe\nsequence=2\nephemeral=y\n", []string{"makepath must be yes or no", "sequence must be", "ephemeral must be"}},
	{"all at once", "[/foo]\nx=carol\nr=dave\n[erin]\n[/admin]\nr=alice\n", []string{
		"User erin has no password attribute!", "path /foo not subpath", "key x is neither", "User dave not configured!"}},
}

func TestReadTreeMistakes(t *testing.T) {
	for _, c := range mistakes {
		_, err := readTree(sections(t, users+c.text))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		checkLines(t, c.name, strings.Split(err.Error(), "\n"), c.want)
	}
}

func TestReadTreeNeedsRoot(t *testing.T) {
	for _, text := range []string{"[MAIN]\n", "[/admin]\n", "[root]\n[/admin]\n", "[root]\npasswd=\n", "[root]\npath=/\n", "[Root]\npasswd=x\n"} {
		_, err := readTree(sections(t, text))
		if err == nil {
			t.Errorf("%q: no error", text)
			continue
		}
		checkLines(t, text, strings.Split(err.Error(), "\n"), []string{"Root user not configured or has no password attribute!"})
	}
}

// checkLines wants as many lines as parts, each with its part in it, and no password.
func checkLines(t *testing.T, name string, lines, want []string) {
	t.Helper()
	if len(lines) != len(want) {
		t.Errorf("%s: %d lines, want %d:\n%s", name, len(lines), len(want), strings.Join(lines, "\n"))
		return
	}
	for i, line := range lines {
		if at := strings.Index(line, os.TempDir()); at >= 0 { // FILE stands for the whole path
			end := at + strings.Index(line[at:], "tree.cfg") + len("tree.cfg")
			line = line[:at] + "FILE" + line[end:]
		}
		if !strings.Contains(line, want[i]) {
			t.Errorf("%s: line %q lacks %q", name, line, want[i])
		}
		for _, password := range []string{"r00t", "al%ice", "b,ob", "geheim"} {
			if strings.Contains(line, password) {
				t.Errorf("%s: a password is in %q", name, line)
			}
		}
	}
}
