// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/zkclient"
)

// wantMembers says whom both kinds see in a party.
func wantMembers(t *testing.T, ctx context.Context, p *zkclient.Party, path string, py *Peer, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	got, err := p.Members(ctx)
	ok(t, err)
	slices.Sort(got)
	if diff := cmp.Diff(want, append([]string{}, got...)); diff != "" {
		t.Errorf("members that Go sees (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, value[[]string](t, py.Do("party members", Fields{"path": path}))); diff != "" {
		t.Errorf("members that Python sees (-want +got):\n%s", diff)
	}
	if n, err := p.Count(ctx); n != len(want) || err != nil {
		t.Errorf("Go counts %d members, want %d (%v)", n, len(want), err)
	}
	for _, member := range append(want, "nobody:1") {
		has, err := p.Has(ctx, member)
		if has != (member != "nobody:1") || err != nil {
			t.Errorf("Has(%q): %v, %v", member, has, err)
		}
	}
}

func TestPartyIsSeenAlike(t *testing.T) {
	t.Parallel()
	ctx, c, py, path := limited(t), connect(t), stepped(t), own(t, "parties", "allsd")
	one, two := c.Party(path, "host-a:1"), connect(t).Party(path, "host-b:2")
	py.Do("node create", Fields{"path": path, "makepath": true})

	wantMembers(t, ctx, one, path, py)
	py.Do("party join", Fields{"path": path, "data": "host-c:3"})
	wantMembers(t, ctx, one, path, py, "host-c:3")
	ok(t, one.Join(ctx))
	wantMembers(t, ctx, one, path, py, "host-a:1", "host-c:3")
	ok(t, two.Join(ctx))
	wantMembers(t, ctx, one, path, py, "host-a:1", "host-b:2", "host-c:3")
	// A node that is not a member's is none to kazoo.
	_, err := c.Create(ctx, path+"/something else", []byte("host-x:9"), zkclient.Persistent)
	ok(t, err)
	wantMembers(t, ctx, one, path, py, "host-a:1", "host-b:2", "host-c:3")
	// Two clients with one name are two.
	py.Do("party join", Fields{"path": path, "name": "again", "data": "host-a:1"})
	if n, err := one.Count(ctx); n != 4 || err != nil {
		t.Errorf("Go counts %d members, want 4 (%v)", n, err)
	}
	py.Do("party leave", Fields{"path": path, "name": "again"})
	ok(t, c.Delete(ctx, one.Node()))
	wantMembers(t, ctx, one, path, py, "host-b:2", "host-c:3")
	py.Do("party leave", Fields{"path": path})
	wantMembers(t, ctx, one, path, py, "host-b:2")
	ok(t, c.Delete(ctx, two.Node()))
	wantMembers(t, ctx, one, path, py)
}
