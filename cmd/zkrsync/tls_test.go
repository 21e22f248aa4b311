// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

// A whole session with nothing of ZooKeeper's in clear: the tree is set up as the example has it, and a
// source and a destination, who show certificates, move a tree of files.
func TestSessionOverTLS(t *testing.T) {
	t.Parallel()
	ca := zktest.NewAuthority(t)
	secure := zktest.StartSecure(t, ca, "localhost")
	_, port, err := net.SplitHostPort(secure.SecureAddr())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, _ := ca.Issue("client")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, ".", "../zkinitree").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := zktest.PrivateCopy("../../examples", at("examples")); err != nil {
		t.Fatal(err)
	}
	if err := testtree.MakeTree(at("src"), testtree.TreeOptions{Fanout: []int{3, 3}, Files: 3, Size: 100, Names: testtree.OddNames}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("dst"), 0o755); err != nil {
		t.Fatal(err)
	}
	tls := fmt.Sprintf("[MAIN]\nservers=localhost:%s\nzk-tls=yes\nzk-ca=%s\nzk-cert=%s\nzk-key=%s\n", port, ca.File, cert, key)
	if err := os.WriteFile(at("tls.conf"), []byte(tls), 0o600); err != nil {
		t.Fatal(err)
	}
	program := func(name string, args ...string) error {
		cmd := exec.CommandContext(t.Context(), at(name), args...)
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := program("zkinitree", "--configfiles="+at("examples/zkinitree.cfg")+","+at("tls.conf")); err != nil {
		t.Fatal(err)
	}
	files := "--configfiles=" + at("examples/zkrs.conf") + "," + at("tls.conf")
	var both errgroup.Group
	both.Go(func() error {
		return program("zkrsync", "-D", "-r", at("dst"), files, "--host=localhost", "--logfile=", fmt.Sprintf("--startport=%d", zktest.Ports(t, 10)))
	})
	both.Go(func() error {
		return program("zkrsync", "-S", "-r", at("src"), files, "--host=localhost", "--logfile=", "--jobs=2")
	})
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	differences, err := testtree.Compare(at("src"), at("dst"))
	if err != nil || len(differences) > 0 {
		t.Errorf("%v %q", err, differences)
	}
}
