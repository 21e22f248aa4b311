// SPDX-License-Identifier: LGPL-2.1-or-later

package member

import (
	"os"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

var server *zktest.Server

func TestMain(m *testing.M) { os.Exit(zktest.Main(m, &server)) }

// What comes back while another run asks for more is there for it, at whatever moment it comes.
func TestWhatComesBackIsThere(t *testing.T) {
	budget := func(host string) Budget {
		client, err := NewClient(t.Context(), Config{
			Zookeeper: zkclient.Config{Servers: []string{server.Addr()}, User: "root", Password: "admin"},
			Session:   t.Name(), Host: host, Timing: Timing{Poll: time.Millisecond},
		}, "test")
		if err != nil {
			t.Fatal(err)
		}
		m, err := client.Join(t.Context(), []string{wire.PartyAll})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.ZK.Close)
		return m.Budget(1)
	}
	has, wants := budget("has"), budget("wants")
	if err := has.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	for round := range 200 {
		share, err := has.Reserve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		settled := make(chan error)
		go func() {
			time.Sleep(time.Duration(round%20) * 100 * time.Microsecond)
			settled <- share.Settle(t.Context(), 0)
		}()
		more, err := wants.More(t.Context())
		if failed := <-settled; failed != nil || err != nil {
			t.Fatal(failed, err)
		}
		if !more {
			t.Fatalf("round %d: nothing more, though all came back", round)
		}
	}
}
