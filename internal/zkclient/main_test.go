// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

var server *zktest.Server

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "12") // those that say Parallel wait nearly all the time
	os.Exit(zktest.Main(m, &server))
}

const (
	user     = "tester"
	password = "very-secret"
)

func config(servers ...string) zkclient.Config {
	return zkclient.Config{
		Servers:        servers,
		User:           user,
		Password:       password,
		SessionTimeout: 6 * time.Second,
		ConnectTimeout: patience,
		PollInterval:   time.Hour, // what a test sees, the watch has seen
	}
}

func connect(t *testing.T, cfg zkclient.Config) *zkclient.Client {
	t.Helper()
	c, err := zkclient.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// direct is a client with nothing between it and the server.
func direct(t *testing.T) *zkclient.Client {
	t.Helper()
	return connect(t, config(server.Addr()))
}

// proxied is a client that can be put into trouble.
func proxied(t *testing.T) (*zkclient.Client, *zktest.Proxy) {
	t.Helper()
	p := zktest.NewProxy(t, server.Addr())
	return connect(t, config(p.Addr())), p
}

// base makes a znode of the test's own, empty even when the test has run before.
func base(t *testing.T, c *zkclient.Client) string {
	t.Helper()
	path := "/" + strings.NewReplacer("/", "_", "#", "_").Replace(t.Name())
	check(t, c.DeleteTree(t.Context(), path))
	check(t, c.EnsurePath(t.Context(), path))
	return path
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want one that matches %q", err, want)
	}
	if strings.Contains(err.Error(), password) {
		t.Errorf("the password is in the error: %v", err)
	}
}

// patience is how long to wait for what must come true, however busy the machine is.
const patience = 2 * time.Minute

// eventually waits for something that must come true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

func exists(t *testing.T, c *zkclient.Client, path string) bool {
	t.Helper()
	_, found, err := c.Exists(t.Context(), path)
	check(t, err)
	return found
}

func children(t *testing.T, c *zkclient.Client, path string) []string {
	t.Helper()
	names, err := c.Children(t.Context(), path)
	if errors.Is(err, zkclient.ErrNoNode) {
		return nil
	}
	check(t, err)
	return names
}

func read(t *testing.T, c *zkclient.Client, path string) string {
	t.Helper()
	data, _, err := c.Get(t.Context(), path)
	check(t, err)
	return string(data)
}

// background runs fn and returns where its error will be.
func background(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return done
}

// result waits for what background has started.
func result(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("the call has not returned")
		return nil
	}
}

// patient is a context for what must come true.
func patient(t *testing.T) context.Context {
	t.Helper()
	return short(t, patience)
}

func short(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func values(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, "value-%05d", i)
	}
	return out
}
