// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"context"
	"crypto/rand"
	"os"
	"testing"
	"time"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// server serves all tests of the package; each has sessions of its own.
var server *zktest.Server

func TestMain(m *testing.M) { os.Exit(zktest.Main(m, &server)) }

// What a server shows that is behind is known as old, also after a change whose reply was lost: else it would be taken
// for another client's.
func TestLedgerAfterALostReply(t *testing.T) {
	proxy := zktest.NewProxy(t, server.Addr())
	client, err := member.NewClient(t.Context(), member.Config{
		Zookeeper: zkclient.Config{Servers: []string{proxy.Addr()}, User: "root", Password: "admin"}, Session: rand.Text(), Host: "127.0.0.1",
	}, "test")
	if err != nil {
		t.Fatal(err)
	}
	m, err := client.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.ZK.Close()
	err = m.Play(t.Context(), func(ctx context.Context, m *member.Member) error {
		began := wire.NewMeta("1", time.Now(), wire.Terms{})
		if _, err := m.ZK.CreatePath(ctx, m.Tree.Meta(), began.Encode(), zkclient.Persistent); err != nil {
			return err
		}
		made, _, err := m.ZK.Exists(ctx, m.Tree.Meta())
		if err != nil {
			return err
		}
		client.SetEpoch(made.Czxid)
		began.Epoch = made.Czxid
		l := newLedger(m.Tree)
		l.begin(began)
		for _, lost := range []bool{false, true} {
			if lost {
				reads, writes := proxy.Requests()
				proxy.BreakAt(reads+writes+2, false) // it reads S/meta before
			}
			if err := l.update(ctx, m, func(meta *wire.Meta) { meta.Queued++ }); err != nil {
				return err
			}
			now, _, err := m.ZK.Exists(ctx, m.Tree.Meta())
			if err != nil {
				return err
			}
			if l.since != now.Version-1 || lost != proxy.Broken() {
				t.Errorf("after version %d all up to %d are old, want the one before; broken %v", now.Version, l.since, proxy.Broken())
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
