// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// localhost is the address of a server by its name.
func localhost(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	check(t, err)
	return net.JoinHostPort("localhost", port)
}

// A session over TLS is a session: it survives the server's restart, and each end has shown the other who it
// is. What is wrong is refused, and the sentence says what to change.
func TestTLS(t *testing.T) {
	ca, stranger := zktest.NewAuthority(t), zktest.NewAuthority(t)
	secure := zktest.StartSecure(t, ca, "localhost")
	named := localhost(t, secure.SecureAddr())
	cert, key, both := ca.Issue("client")
	badCert, badKey, _ := stranger.Issue("stranger")
	open := filepath.Join(t.TempDir(), "open.key")
	text, err := os.ReadFile(key)
	check(t, err)
	check(t, os.WriteFile(open, text, 0o600))
	check(t, os.Chmod(open, 0o644))

	over := func(server string, tls *zkclient.TLS) zkclient.Config {
		cfg := config(server)
		cfg.TLS = tls
		return cfg
	}
	t.Run("restart", func(t *testing.T) {
		cfg := over(named, &zkclient.TLS{CA: ca.File, Cert: cert, Key: key})
		cfg.SessionTimeout = time.Minute // until long after the restart
		c := connect(t, cfg)
		made, err := c.Create(t.Context(), "/over-tls", []byte("x"), zkclient.Ephemeral)
		check(t, err)
		id := c.SessionID()
		check(t, secure.Restart())
		if !exists(t, c, made) || c.SessionID() != id {
			t.Error("the session is not the same after the restart")
		}
	})
	t.Run("key in the same file", func(t *testing.T) {
		connect(t, over(named, &zkclient.TLS{CA: ca.File, Cert: both}))
	})
	for name, test := range map[string]struct {
		server string
		tls    *zkclient.TLS
		want   []string
	}{
		"wrong CA":           {named, &zkclient.TLS{CA: stranger.File, Cert: cert, Key: key}, []string{"not signed by", stranger.File, "--zk-ca"}},
		"the system's CAs":   {named, &zkclient.TLS{Cert: cert, Key: key}, []string{"not signed by any in what the system trusts"}},
		"other host":         {secure.SecureAddr(), &zkclient.TLS{CA: ca.File, Cert: cert, Key: key}, []string{"another host", "127.0.0.1"}},
		"no certificate":     {named, &zkclient.TLS{CA: ca.File}, []string{"refuses the handshake", "--zk-cert"}},
		"wrong certificate":  {named, &zkclient.TLS{CA: ca.File, Cert: badCert, Key: badKey}, []string{"refuses the handshake", "--zk-cert"}},
		"TLS to a plain one": {localhost(t, secure.Addr()), &zkclient.TLS{CA: ca.File}, []string{"TLS handshake", "secureClientPort"}},
		"plain to a TLS one": {named, nil, []string{"--zk-tls"}},
		"mute":               {peer(t, func(net.Conn) {}), &zkclient.TLS{CA: ca.File}, []string{"does not answer"}},
		"no TLS at all":      {peer(t, func(c net.Conn) { c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n")) }), &zkclient.TLS{CA: ca.File}, []string{"does not speak TLS"}},
		"no such CA":         {named, &zkclient.TLS{CA: "/no/ca.pem"}, []string{"/no/ca.pem", "--zk-ca", "no such file"}},
		"CA is a key":        {named, &zkclient.TLS{CA: key}, []string{"no certificate in PEM form"}},
		"key alone":          {named, &zkclient.TLS{CA: ca.File, Key: key}, []string{"--zk-cert"}},
		"no such key":        {named, &zkclient.TLS{CA: ca.File, Cert: cert, Key: "/no/key.pem"}, []string{"/no/key.pem", "--zk-key"}},
		"key of another":     {named, &zkclient.TLS{CA: ca.File, Cert: cert, Key: badKey}, []string{"--zk-key", badKey}},
		"key for all":        {named, &zkclient.TLS{CA: ca.File, Cert: cert, Key: open}, []string{"chmod 600 " + open}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := over(test.server, test.tls)
			cfg.ConnectTimeout = 3 * time.Second
			_, err := zkclient.Connect(t.Context(), cfg)
			if err == nil {
				t.Fatal("it connects")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
		})
	}
}
