// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/status"
	"vsc-zk/internal/zkclient"
)

// The rights that the example gives are enough: rwcd on the node of all sessions, and no right to see what
// others' passwords are made of. When the password was changed the old session's name cannot be used, which is
// said, and another can; who knows the old password makes the name free.
func TestRightsOfTheUser(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	root := r.zk()
	top, err := root.CreateACL(t.Context(), "/rights-", nil, zkclient.Sequential, root.ACL())
	r.must(err)
	protect := func(password string) {
		r.must(root.EnsurePath(t.Context(), top+wire.Base))
		for node, perms := range map[string]zkclient.Perms{
			"/admin":  zkclient.PermRead,
			wire.Base: zkclient.PermRead | zkclient.PermWrite | zkclient.PermCreate | zkclient.PermDelete,
		} {
			r.must(root.SetACL(t.Context(), top+node, append(root.ACL(), zkclient.DigestACL("rsync", password, perms))))
		}
	}
	as := func(password string) func(*Config) {
		return func(c *Config) {
			c.Member.Zookeeper.Servers, c.Member.Zookeeper.User, c.Member.Zookeeper.Password = []string{r.addr + top}, "rsync", password
		}
	}
	session := func(password string, more ...func(*Config)) []*running {
		change := append(more, as(password), jobs(1))
		return []*running{r.source(1, change...), r.destination(2, change...)}
	}

	protect("first")
	for range 2 { // the second finds what the first has left
		r.finish(session("first")...)
	}
	r.identical()
	if _, err := PathsOnly(t.Context(), r.config(3, r.src, as("first"))); err != nil {
		t.Error(err)
	}
	user, err := zkclient.Connect(t.Context(), zkclient.Config{Servers: []string{r.addr + top}, User: "rsync", Password: "first"})
	r.must(err)
	defer user.Close()
	if _, err := status.Read(t.Context(), user, r.name); err != nil {
		t.Error(err)
	}
	acl, err := user.GetACL(t.Context(), wire.Base)
	r.must(err)
	for _, entry := range acl {
		if !strings.HasSuffix(entry.ID, ":x") {
			t.Errorf("user rsync sees the digest %s", entry.ID)
		}
	}

	protect("second")
	err = r.wait(session("second")[0])
	if err == nil || !strings.Contains(err.Error(), "is of another user or password") || !strings.Contains(err.Error(), "who knows the old one can do it") {
		t.Errorf("error %v", err)
	}
	other := func(c *Config) { c.Member.Session = "other" }
	r.finish(session("second", other)...)
	r.must(user.DeleteTree(t.Context(), r.tree().Root()+"/lock")) // who knows the old password
	names, err := user.Children(t.Context(), r.tree().Root())
	r.must(err)
	for _, name := range names {
		r.must(user.DeleteTree(t.Context(), r.tree().Root()+"/"+name))
	}
	r.must(root.Delete(t.Context(), top+r.tree().Root()))
	r.finish(session("second")...)
}

// An rsync that follows links above what it reads is used, but not without a word.
func TestOldRsyncIsSaid(t *testing.T) {
	r := newRigAlone(t)
	r.makeTree(smallTree)
	rsync, err := exec.LookPath("rsync")
	r.must(err)
	bin := t.TempDir()
	r.must(os.WriteFile(filepath.Join(bin, "rsync"), []byte("#!/bin/sh\ncase \"$*\" in --help) "+rsync+" --help | grep -v insecure-links ;; *) exec "+rsync+" \"$@\" ;; esac\n"), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	r.finish(r.source(1, jobs(1)), r.destination(2))
	if n := strings.Count(r.log.String(), "event=old-rsync"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
}
