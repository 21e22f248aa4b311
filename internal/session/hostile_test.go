// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/zkclient"
)

// hostile has a member of the session, who knows its password, write into its znodes.
type hostile struct {
	*rig
	zk *zkclient.Client
}

// alien is the ACL of somebody else.
func alien() []zkclient.ACL {
	return []zkclient.ACL{zkclient.DigestACL("alien", "secret", zkclient.PermAll)}
}

func (h hostile) make(path, data string, mode zkclient.Mode) string {
	h.t.Helper()
	path, err := h.zk.CreatePath(h.t.Context(), path, []byte(data), mode)
	h.must(err)
	return path
}

func (h hostile) alien(path, data string) string {
	h.t.Helper()
	path, err := h.zk.CreateACL(h.t.Context(), path, []byte(data), zkclient.Sequential, alien())
	h.must(err)
	return path
}

func (h hostile) set(path, data string) {
	h.t.Helper()
	_, err := h.zk.Set(h.t.Context(), path, []byte(data), -1)
	h.must(err)
}

func (h hostile) entries(queue string) []string {
	h.t.Helper()
	names, err := h.zk.Children(h.t.Context(), queue+"/entries")
	h.must(err)
	for i, name := range names {
		names[i] = queue + "/entries/" + name
	}
	return names
}

// Whatever a member writes, all paths of the run are sent, the run ends, and what is not of it is named; a few kinds
// harm nothing at all (0).
func TestHostileNodes(t *testing.T) {
	const entry = "/entries/entry-000-"
	persistent, sequential := zkclient.Persistent, zkclient.Sequential
	for name, c := range map[string]struct {
		do     func(hostile, wire.Tree)
		failed int // things that are accounted for as failed
	}{
		"entry elsewhere": {func(h hostile, t wire.Tree) { h.make(t.PathQueue()+entry, "1_/etc", sequential) }, 1},
		"entry with dots": {func(h hostile, t wire.Tree) { h.make(t.PathQueue()+entry, "1_"+h.src+"/../etc", sequential) }, 1},
		"links garbage":   {func(h hostile, t wire.Tree) { h.make(t.ExtQueue()+entry, "l_x", sequential) }, 1},
		"links elsewhere": {func(h hostile, t wire.Tree) { h.make(t.ExtQueue()+entry, `l_["../../etc/passwd"]`, sequential) }, 1},
		"range garbage":   {func(h hostile, t wire.Tree) { h.make(t.ExtQueue()+entry, "r_x", sequential) }, 1},
		"range elsewhere": {func(h hostile, t wire.Tree) { h.make(t.ExtQueue()+entry, `r_{"path":"/etc"}`, sequential) }, 1},
		"deep JSON": {func(h hostile, t wire.Tree) {
			h.make(t.ExtQueue()+entry, "l_"+strings.Repeat("[", 500_000), sequential)
		}, 1},
		"huge entry": {func(h hostile, t wire.Tree) {
			h.make(t.PathQueue()+entry, "1_/"+strings.Repeat("x", 1_000_000), sequential)
		}, 1},
		"large when told of": {func(h hostile, t wire.Tree) {
			h.make(t.PathQueue()+entry, "1_/"+strings.Repeat("\x01", 500_000), sequential)
		}, 1},
		"nobody's path":     {func(h hostile, t wire.Tree) { h.make(t.PathQueue()+entry, "1_"+h.path("dir000"), sequential) }, 1},
		"entry of an alien": {func(h hostile, t wire.Tree) { h.alien(t.PathQueue()+entry, "1_"+h.src) }, 1},
		"ephemeral entry":   {func(h hostile, t wire.Tree) { h.make(t.PathQueue()+entry, "1_"+h.src, zkclient.EphemeralSequential) }, 1},
		"child of entries": {func(h hostile, t wire.Tree) {
			for _, node := range h.entries(t.PathQueue()) {
				h.make(node+"/child/child", "", persistent)
			}
		}, 0},
		"alien child of an entry": {func(h hostile, t wire.Tree) {
			node := h.make(t.PathQueue()+entry, "1_/etc", sequential)
			h.alien(h.alien(node+"/child", "")+"x", "")
		}, 1},
		"entry that stays": {func(h hostile, t wire.Tree) {
			node := h.make(t.PathQueue()+entry, "1_/etc", sequential)
			h.make(node+"/child", "", persistent)
			h.must(h.zk.SetACL(h.t.Context(), node, alien()))
		}, 1},
		"taken by nobody": {func(h hostile, t wire.Tree) {
			for _, node := range h.entries(t.PathQueue()) {
				h.make(strings.Replace(node, "/entries/", "/taken/", 1), "x", persistent)
			}
		}, 0},
		"taken by a stranger": {func(h hostile, t wire.Tree) {
			h.make(strings.Replace(h.entries(t.PathQueue())[0], "/entries/", "/taken/", 1), "x", zkclient.Ephemeral)
		}, 0},
		"taken for good": {func(h hostile, t wire.Tree) {
			taken := h.make(strings.Replace(h.entries(t.PathQueue())[0], "/entries/", "/taken/", 1), "x", persistent)
			h.make(taken+"/child", "", persistent)
			h.must(h.zk.SetACL(h.t.Context(), taken, alien()))
		}, 0},
		"split garbage": {func(h hostile, t wire.Tree) {
			h.make(t.Split()+"/part-", "garbage", sequential)
			h.make(t.Split()+"/part-", "1_/etc", sequential)
			h.alien(t.Split()+"/part-", "1_"+h.src)
		}, 3},
		"links notes": {func(h hostile, t wire.Tree) {
			h.make(t.Links()+"/note-", "garbage", sequential)
			h.make(t.Links()+"/note-", `[{"ino":1,"paths":["../etc/passwd","a"]}]`, sequential)
			h.alien(t.Links()+"/note-", "")
		}, 3},
		"wanted garbage": {func(h hostile, t wire.Tree) { h.set(t.Wanted(), "garbage") }, 0},
		"wanted gone":    {func(h hostile, t wire.Tree) { h.must(h.zk.Delete(h.t.Context(), t.Wanted())) }, 0},
		"state garbage":  {func(h hostile, t wire.Tree) { h.set(t.Meta(), strings.Repeat("[", 100_000)) }, 0},
		"state gone":     {func(h hostile, t wire.Tree) { h.must(h.zk.Delete(h.t.Context(), t.Meta())) }, 0},
		"state of an alien": {func(h hostile, t wire.Tree) {
			h.must(h.zk.SetACL(h.t.Context(), t.Meta(), alien()))
		}, 0},
		"watch node of an alien": {func(h hostile, t wire.Tree) {
			h.must(h.zk.SetACL(h.t.Context(), t.Ready(), alien()))
		}, 0},
		"watch node garbage": {func(h hostile, t wire.Tree) { h.set(t.Ready(), "garbage") }, 0},
		"results": {func(h hostile, t wire.Tree) {
			h.make(t.Results()+"/result-", "garbage", sequential)
			h.make(t.Results()+"/result-", `{"paths":["1_/etc"],"outcome":"completed","who":"x:1"}`, sequential)
			h.make(t.Results()+"/result-", `{"paths":["1_/a","1_/b"],"outcome":"failed","who":"x:1"}`, sequential)
			h.make(t.Results()+"/result-", `{"outcome":"","deleted":-5}`, sequential)
			h.make(h.make(t.Results()+"/result-", `{"outcome":""}`, sequential)+"/child", "", persistent)
			h.alien(t.Results()+"/result-", `{"outcome":""}`)
		}, 7},
		"results in the queues": {func(h hostile, t wire.Tree) {
			h.must(h.zk.Queue(t.CompletedQueue()).Put(h.t.Context(), 100, []byte("1_/etc")), h.zk.Queue(t.FailedQueue()).Put(h.t.Context(), 100, []byte("garbage")))
			h.alien(t.CompletedQueue()+entry, "1_"+h.src)
		}, 3},
		"counters": {func(h hostile, t wire.Tree) {
			h.make(t.Stats()+"/Number_of_files", "abc", persistent)
			h.alien(t.Stats()+"/Literal_data", "")
		}, 0},
		"ghost in the parties": {func(h hostile, t wire.Tree) {
			for _, kind := range []string{wire.PartyAll, wire.PartySources, wire.PartyDests, wire.PartyExt} {
				h.make(t.Party(kind)+"/ghost__party__", "ghost:1", persistent)
			}
		}, 0},
		"ghost that does not leave": {func(h hostile, t wire.Tree) {
			h.make(t.Party(wire.PartyAll)+"/ghost__party__", "ghost:1", zkclient.Ephemeral)
		}, 0},
		"destinations": {func(h hostile, t wire.Tree) {
			for _, value := range []string{"-1:h:1", "70000:h:1", "4444:$(touch x):1", "4444:a b:1", "4444:-e:1", "garbage", ""} {
				h.make(t.DestQueue()+entry, value, sequential)
			}
			h.alien(t.DestQueue()+entry, "")
			h.make(h.make(t.DestQueue()+entry, "4444:h:1", sequential)+"/child", "", persistent)
		}, 0},
		"place garbage": {func(h hostile, t wire.Tree) { h.set(t.Place(), strings.Repeat("[", 100_000)) }, 0},
		"place gone":    {func(h hostile, t wire.Tree) { h.must(h.zk.Delete(h.t.Context(), t.Place())) }, 0},
		"state of great size": {func(h hostile, t wire.Tree) {
			h.set(t.Meta(), `{"format":2,"id":"`+strings.Repeat("x", 900_000)+`"}`)
		}, 0},
		"sync garbage":   {func(h hostile, t wire.Tree) { h.set(t.Sync(), "\x1b[2Jgarbage") }, 0},
		"synced garbage": {func(h hostile, t wire.Tree) { h.make(t.Synced("ghost:1"), strings.Repeat("[", 100_000), persistent) }, 0},
		"bases garbage": {func(h hostile, t wire.Tree) {
			h.make(t.Bases()+"/x", strings.Repeat("[", 100_000), persistent)
			h.make(t.Bases()+"/y", `{"dir":"/\u009b2J"}`, zkclient.Ephemeral)
		}, 0},
		"lacks garbage": {func(h hostile, t wire.Tree) {
			h.make(t.Lacks("ghost:1"), "\x1b[2J\u009b2J", persistent)
			h.make(t.Lacks("\u202eghost:1"), "root", persistent)
		}, 0},
		"claims and idle": {func(h hostile, t wire.Tree) {
			h.make(t.Claims()+"/x", "garbage", persistent)
			h.make(t.Idle()+"/x", "garbage", persistent)
		}, 0},
		"locks": {func(h hostile, t wire.Tree) {
			h.make(t.DestsLock()+"/x__lock__0000000000", "", persistent)
			h.make(t.PortLock()+"/x__lock__0000000000", "", persistent)
		}, 0},
		"slots": {func(h hostile, t wire.Tree) { h.make(t.Slots(dest127(3)), "1000000", persistent) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			r.rest()
			master := r.queued(func(c *Config) {
				c.Member.Timing.Idle, c.Member.Timing.Ghost = 200*time.Millisecond, time.Second
			})
			c.do(hostile{r, r.zk()}, r.tree())
			slave, dest := r.source(2), r.destination(3)
			err := r.wait(master)
			if c.failed == 0 && err != nil || c.failed > 0 && !errors.Is(err, wire.ErrIncomplete) {
				t.Errorf("error %v", err)
			}
			r.finish(slave, dest)
			r.identical()
			r.logged(fmt.Sprintf("10 completed, %d failed, 0 vanished, 0 changed, 0 unfinished", c.failed))
			if c.failed > 0 && strings.Count(r.log.String(), "event=foreign") < c.failed {
				t.Errorf("fewer than %d things are named", c.failed)
			}
			if t.Failed() {
				t.Logf("log:\n%.20000s", r.log)
			}
		})
	}
}

// A path that a member takes out of the queue is not done, whatever he says was: it is named, and the run ends with an error.
func TestStolenPath(t *testing.T) {
	r := newRig(t)
	r.makeTree(smallTree)
	r.rest()
	master := r.queued()
	h := hostile{r, r.zk()}
	stolen := h.entries(r.tree().PathQueue())[3]
	value, _, err := h.zk.Get(t.Context(), stolen)
	r.must(err, h.zk.Delete(t.Context(), stolen))
	h.make(r.tree().Results()+"/result-", `{"paths":["1_/elsewhere"],"outcome":"completed","who":"x:1"}`, zkclient.Sequential)
	slave, dest := r.source(2), r.destination(3)
	if err := r.wait(master); !errors.Is(err, wire.ErrIncomplete) {
		t.Errorf("error %v, want wire.ErrIncomplete", err)
	}
	r.finish(slave, dest)
	r.logged("9 completed, 1 failed, 0 vanished, 0 changed, 1 unfinished")
	r.logged("Unfinished Path " + wire.Text(value).String())
	r.left()
}

// Nodes of the session's name that somebody else has made are not used, and the error says what to do.
func TestSquattedNodes(t *testing.T) {
	squatter := append(alien(), zkclient.DigestACL("root", "admin", zkclient.PermAll))
	for name, c := range map[string]struct {
		do   func(hostile, wire.Tree)
		want string
	}{
		"session": {func(h hostile, t wire.Tree) { h.squat(t.Root(), squatter) }, `somebody else (digest "alien") has rights`},
		"closed":  {func(h hostile, t wire.Tree) { h.squat(t.Root(), alien()) }, "is of another user or password"},
		"open": {func(h hostile, t wire.Tree) {
			h.squat(t.Root(), []zkclient.ACL{{Scheme: "world", ID: "anyone", Perms: zkclient.PermAll}})
		}, `somebody else (world "anyone")`},
		"lock":  {func(h hostile, t wire.Tree) { h.squat(t.Lock(), squatter) }, "/lock"},
		"watch": {func(h hostile, t wire.Tree) { h.squat(t.Ended(), squatter) }, "/watch"},
		"party": {func(h hostile, t wire.Tree) { h.squat(t.Party(wire.PartyAll), alien()) }, "/parties/allsd"},
		"queue": {func(h hostile, t wire.Tree) {
			h.make(t.PathQueue()+"/entries/x", "", zkclient.Persistent)
			h.squat(t.PathQueue()+"/entries", alien())
		}, "another name with --session"},
		"to be read": {func(h hostile, t wire.Tree) {
			h.squat(t.Root(), append(h.zk.ACL(), zkclient.DigestACL("alien", "x", zkclient.PermRead)))
		}, ""},
		"empty queue": {func(h hostile, t wire.Tree) { h.squat(t.PathQueue(), squatter) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.makeTree(smallTree)
			c.do(hostile{r, r.zk()}, r.tree())
			master := r.source(1)
			if c.want != "" {
				if err := r.wait(master); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--session") {
					t.Errorf("error %v, want one that has %s, and what to do", err, c.want)
				}
				return
			}
			r.finish(r.slave(2), r.destination(3), master)
			r.identical()
		})
	}
}

// squat makes a node that belongs to whom the ACL names.
func (h hostile) squat(path string, acl []zkclient.ACL) {
	h.t.Helper()
	h.must(h.zk.EnsurePath(h.t.Context(), path), h.zk.SetACL(h.t.Context(), path, acl))
}
