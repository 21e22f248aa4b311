// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// secretive is a program with a password.
func secretive(secret *string) *Program {
	p := New("p", "")
	g := p.Group("g", "")
	var on bool
	var name string
	g.String(secret, Opt{Name: "passwd", Short: "p", Secret: true, Warning: "better use a file"})
	g.SecretFile(secret, Opt{Name: "passwd-file", Added: true})
	g.Bool(&on, Opt{Name: "source", Short: "S"})
	g.String(&name, Opt{Name: "name", Short: "N"})
	return p
}

// Whatever way a secret is given in, it is read, and is not among the words for a daemon; all others are.
func TestArgsWithoutSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("x y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want []string }{
		{nil, nil},
		{[]string{"-S"}, []string{"-S"}},
		{[]string{"-p", "x y", "-S"}, []string{"-S"}},
		{[]string{"-px y", "-S"}, []string{"-S"}},
		{[]string{"-Spx y", "-N", "a"}, []string{"-S", "-N", "a"}},
		{[]string{"-Sp", "x y", "-N", ""}, []string{"-S", "-N", ""}},
		{[]string{"--passwd=x y", "--name=a"}, []string{"--name=a"}},
		{[]string{"--passwd", "x y", "--name", "a"}, []string{"--name", "a"}},
		{[]string{"--passw=x y"}, nil},
		{[]string{"-p", "other", "-N", "a", "-p", "x y"}, []string{"-N", "a"}},
		{[]string{"--passwd-file", file, "-S"}, []string{"-S"}},
		{[]string{"--passwd-file=" + file}, nil},
		{[]string{"-p", "other", "--passwd-file=" + file}, nil},
		{[]string{"--passwd-file=" + file, "--passwd-file="}, nil},
	} {
		var secret string
		var said bytes.Buffer
		parsed, err := secretive(&secret).Parse(c.args, nil, &said, &said)
		if err != nil {
			t.Errorf("%q: %v %s", c.args, err, &said)
			continue
		}
		if !slices.Equal(parsed.Args, c.want) {
			t.Errorf("%q: a daemon is given %q, want %q", c.args, parsed.Args, c.want)
		}
		if strings.Contains(strings.Join(c.args, " "), "p") && len(c.want) != len(c.args) && secret != "x y" {
			t.Errorf("%q: the secret is %q", c.args, secret)
		}
		var log bytes.Buffer
		parsed.WarnOfSecrets(slog.New(slog.NewTextHandler(&log, nil)))
		onLine := slices.ContainsFunc(c.args, func(arg string) bool {
			return strings.HasPrefix(arg, "-p") || strings.HasPrefix(arg, "-Sp") || strings.HasPrefix(arg, "--passw=") || arg == "--passwd" || strings.HasPrefix(arg, "--passwd=")
		})
		if onLine != strings.Contains(log.String(), "better use a file") {
			t.Errorf("%q: warned: %s", c.args, &log)
		}
	}
}

// Of a password and a file with one, what counts more is taken, and of one place the last.
func TestSecretFileCounts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("secret", "of the file\r\n")
	config := "--configfiles=" + write("p.conf", "[MAIN]\npasswd=of the config\n")
	other := "--configfiles=" + write("q.conf", "[MAIN]\npasswd-file="+file+"\n")
	for _, c := range []struct {
		args, environ []string
		want          string
	}{
		{[]string{config}, nil, "of the config"},
		{[]string{other}, nil, "of the file"},
		{[]string{config, "--passwd-file=" + file}, nil, "of the file"},
		{[]string{config}, []string{"P_PASSWD_FILE=" + file}, "of the file"},
		{[]string{other}, []string{"P_PASSWD=of the environment"}, "of the environment"},
		{[]string{other, "-pof the line"}, []string{"P_PASSWD=of the environment"}, "of the line"},
		{[]string{"--passwd-file=" + file}, []string{"P_PASSWD=of the environment"}, "of the file"},
		{[]string{"--passwd-file=" + file, "-pof the line"}, nil, "of the line"},
	} {
		var secret string
		var said bytes.Buffer
		if _, err := secretive(&secret).Parse(c.args, c.environ, &said, &said); err != nil || secret != c.want {
			t.Errorf("%q %q: %q, %v, want %q; %s", c.args, c.environ, secret, err, c.want, &said)
		}
	}
}
