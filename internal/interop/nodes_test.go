// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/zkclient"
)

// node is one znode as kazoo sees it.
type node struct {
	Path      string   `json:"path"`
	Data      *Raw     `json:"data"` // nil would be absent data, which kazoo cannot bear
	Ephemeral bool     `json:"ephemeral"`
	ACL       []string `json:"acl"`
}

var random = regexp.MustCompile(`[0-9a-f]{32}`)

// dump is every node below a path, without the path itself. What is random in names and data is
// made equal.
func dump(t *testing.T, py *Peer, path string) []node {
	t.Helper()
	nodes := value[[]node](t, py.Do("node dump", Fields{"path": path}))
	for i := range nodes {
		n := &nodes[i]
		n.Path = random.ReplaceAllString(strings.TrimPrefix(n.Path, path), "<uuid>")
		if n.Data == nil {
			t.Errorf("%s has no data, not even empty data", n.Path)
			continue
		}
		*n.Data = Raw(random.ReplaceAllString(string(*n.Data), "<uuid>"))
	}
	return nodes
}

// The same steps leave the same nodes, whichever kind takes them: names, data, kinds and ACLs, also
// of parents that are made on the way.
func TestNodesAreAlike(t *testing.T) {
	t.Parallel()
	ctx, c, py := limited(t), connect(t), stepped(t)

	base := own(t, "py")
	at := func(names ...string) string { return base + "/" + strings.Join(names, "/") }
	py.Do("node create", Fields{"path": at("portmap", "host:1"), "data": "4444", "ephemeral": true, "makepath": true})
	py.Do("node create", Fields{"path": at("empty")})
	py.Do("lock acquire", Fields{"path": at("a", "lock"), "data": "host:1"})
	py.Do("lock try", Fields{"path": at("a", "lock"), "name": "refused"})
	py.Do("party join", Fields{"path": at("parties", "allsd"), "data": "host:1"})
	queue := at("b", "pathQueue")
	py.Do("queue put", Fields{"path": queue, "values": []Raw{"1_/a", "1_/\xff"}})
	py.Do("queue put", Fields{"path": queue, "values": []Raw{"", "0_/c"}, "priority": 0})
	py.Do("queue put", Fields{"path": queue, "values": []Raw{"0_/d"}, "priority": 999})
	py.Do("queue get", Fields{"path": queue})
	py.Do("queue consume", Fields{"path": queue})
	py.Do("queue get", Fields{"path": queue})
	py.Do("counter add", Fields{"path": at("c", "stats", "Total_file_size"), "delta": 5})
	py.Do("counter add", Fields{"path": at("c", "stats", "Total_file_size"), "delta": 7})
	want := dump(t, py, base)

	base = own(t, "go")
	_, err := c.CreatePath(ctx, at("portmap", "host:1"), []byte("4444"), zkclient.Ephemeral)
	ok(t, err)
	_, err = c.Create(ctx, at("empty"), nil, zkclient.Persistent)
	ok(t, err)
	ok(t, c.Lock(at("a", "lock"), "host:1").Acquire(ctx))
	if got, err := c.Lock(at("a", "lock"), "").TryAcquire(ctx); got || err != nil {
		t.Fatalf("a held lock was acquired: %v, %v", got, err)
	}
	ok(t, c.Party(at("parties", "allsd"), "host:1").Join(ctx))
	q := c.Queue(at("b", "pathQueue"))
	ok(t, q.Put(ctx, zkclient.DefaultPriority, []byte("1_/a"), []byte("1_/\xff")))
	ok(t, q.Put(ctx, 0, []byte{}))
	ok(t, c.Multi(ctx, q.PutOp([]byte("0_/c"), 0)))
	ok(t, q.Put(ctx, 999, []byte("0_/d")))
	// Of two entries of one priority Go may take either. The first has to go first, as with
	// kazoo.
	first := take(t, ctx, q)
	second := take(t, ctx, q)
	if len(first.Value) > 0 {
		first, second = second, first
	}
	ok(t, first.Consume(ctx))
	if string(second.Value) != "0_/c" {
		t.Errorf("the second entry is %q", second.Value)
	}
	ok(t, c.AddCounters(ctx, at("c", "stats"), map[string]int64{"Total_file_size": 5}))
	ok(t, c.AddCounters(ctx, at("c", "stats"), map[string]int64{"Total_file_size": 7}))
	got := dump(t, py, base)

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes made by Python (-) and by Go (+):\n%s", diff)
	}
	if len(want) < 15 {
		t.Errorf("only %d nodes were compared", len(want))
	}

	// And what Go reads of Python's ACL is the one it writes.
	acl, err := c.GetACL(ctx, own(t, "py", "portmap"))
	ok(t, err)
	if diff := cmp.Diff([]zkclient.ACL{zkclient.DigestACL(user, password, zkclient.PermAll)}, acl); diff != "" {
		t.Errorf("ACL of a node of kazoo, as Go reads it (-want +got):\n%s", diff)
	}
}

// Either kind can change and remove what the other has made, and a stranger can do neither.
func TestNodesBelongToBoth(t *testing.T) {
	t.Parallel()
	ctx, c, py := limited(t), connect(t), stepped(t)
	stranger := stepped(t, "--passwd", "wrong")
	py.Do("node create", Fields{"path": own(t, "py", "below"), "makepath": true})
	_, err := c.CreatePath(ctx, own(t, "go", "below"), nil, zkclient.Persistent)
	ok(t, err)
	for _, path := range []string{own(t, "py"), own(t, "go")} {
		if got := stranger.Begin("node get", Fields{"path": path}).Err(); !strings.HasPrefix(got, "NoAuthError") {
			t.Errorf("a stranger reads %s: %q", path, got)
		}
	}
	py.Do("node set", Fields{"path": own(t, "go", "below"), "data": "x"})
	py.Do("node delete", Fields{"path": own(t, "go"), "recursive": true})
	_, err = c.Set(ctx, own(t, "py", "below"), []byte("x"), -1)
	ok(t, err)
	ok(t, c.DeleteTree(ctx, own(t, "py")))
}
