// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"testing"
	"time"

	"vsc-zk/internal/zkclient"
)

// A holder that is killed gives nothing back itself. ZooKeeper ends its session and with it the
// ephemeral nodes. Those who wait then get the lock and the entry, and see that the member is gone.

func TestKilledPythonFreesWhatItHeld(t *testing.T) {
	t.Parallel()
	ctx, c := limited(t), connect(t)
	lock, q, party := own(t, "lock"), c.Queue(own(t, "queue")), c.Party(own(t, "party"), "go")
	ok(t, q.Put(ctx, zkclient.DefaultPriority, []byte("entry")))
	py := stepped(t, mortalOption)
	py.Do("lock acquire", Fields{"path": lock})
	py.Do("queue get", Fields{"path": q.Path()})
	py.Do("party join", Fields{"path": own(t, "party"), "data": "python"})
	if n, err := party.Count(ctx); n != 1 || err != nil {
		t.Fatalf("members: %d, %v", n, err)
	}

	locked := acquire(ctx, c.Lock(lock, "go"))
	contenders(t, c, lock, 2)
	entries := make(chan *zkclient.Entry, 1)
	go func() {
		entry, err := q.Take(ctx)
		if err != nil {
			t.Error(err)
		}
		entries <- entry
	}()
	select {
	case err := <-locked:
		t.Fatalf("the lock is held twice: %v", err)
	case <-entries:
		t.Fatal("the entry is held twice")
	case <-time.After(200 * time.Millisecond):
	}

	py.Begin("die", nil)
	if code := py.Exit(); code != 9 {
		t.Errorf("the peer ended with %d, not by its own death", code)
	}
	ok(t, <-locked)
	entry := <-entries
	if entry == nil || string(entry.Value) != "entry" {
		t.Fatalf("the entry that comes back is %v", entry)
	}
	ok(t, entry.Consume(ctx))
	until(t, "the member is gone", func() bool {
		n, err := party.Count(ctx)
		ok(t, err)
		return n == 0
	})
}

func TestKilledGoFreesWhatItHeld(t *testing.T) {
	t.Parallel()
	py := stepped(t)
	lock, queue, party := own(t, "lock"), own(t, "queue"), own(t, "party")
	py.Do("queue put", Fields{"path": queue, "values": []Raw{"entry"}})
	holder := startHolder(t, holding{Lock: lock, Queue: queue, Party: party})
	if got := value[[]string](t, py.Do("party members", Fields{"path": party})); len(got) != 1 || got[0] != "holder" {
		t.Fatalf("members: %q", got)
	}

	locked := py.Begin("lock acquire", Fields{"path": lock})
	entry := py.Begin("queue get", Fields{"path": queue})
	time.Sleep(200 * time.Millisecond)
	if locked.Answered() || entry.Answered() {
		t.Fatal("the lock or the entry is held twice")
	}

	ok(t, holder.Kill())
	if got := string(locked.Wait()); got != "true" {
		t.Errorf("lock acquire: %s", got)
	}
	if got := value[Raw](t, entry.Wait()); got != "entry" {
		t.Errorf("the entry that comes back is %q", got)
	}
	if got := string(py.Do("queue consume", Fields{"path": queue})); got != "true" {
		t.Errorf("consume: %s", got)
	}
	until(t, "the member is gone", func() bool {
		return len(value[[]string](t, py.Do("party members", Fields{"path": party}))) == 0
	})
}
