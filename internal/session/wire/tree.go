// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"vsc-zk/internal/zkclient"
)

// Base is the znode below which all sessions are.
const Base = "/admin/rsync"

// What S/watch/ready says.
const (
	Start = "start"
	Stop  = "stop"
)

// Parties of a session.
const (
	PartyAll     = "allsd"
	PartySources = "sources"
	PartyDests   = "dests"
	PartyExt     = "ext"     // clients that know the extensions
	PartyMasters = "masters" // sources that take over before others
)

// Tree names the znodes of one session.
type Tree struct{ root string }

// NewTree refuses names that cannot be a znode's.
func NewTree(session string) (Tree, error) {
	if strings.TrimSpace(session) == "" {
		return Tree{}, errors.New("cannot use an empty session name: give one with --session")
	}
	root, err := zkclient.Path(Base, session)
	if err != nil {
		return Tree{}, fmt.Errorf("cannot use session name %q: %w", session, err)
	}
	return Tree{root}, nil
}

// Name is the session's name.
func (t Tree) Name() string { return strings.TrimPrefix(t.root, Base+"/") }

// Module is the rsync module of the session's destinations.
func (t Tree) Module() string { return "zkrs-" + t.Name() }

func (t Tree) Root() string           { return t.root }
func (t Tree) Lock() string           { return t.root + "/lock" }
func (t Tree) Ready() string          { return t.root + "/watch/ready" }
func (t Tree) Party(p string) string  { return t.root + "/parties/" + p }
func (t Tree) PathQueue() string      { return t.root + "/pathQueue" }
func (t Tree) CompletedQueue() string { return t.root + "/completedQueue" }
func (t Tree) FailedQueue() string    { return t.root + "/failedQueue" }
func (t Tree) OutputQueue() string    { return t.root + "/outputQueue" }
func (t Tree) DestQueue() string      { return t.root + "/destQueue" }
func (t Tree) Stats() string          { return t.root + "/stats" }
func (t Tree) PortLock() string       { return t.root + "/portlock" }
func (t Tree) DestsLock() string      { return t.root + "/destslock" }

func (t Tree) UsedPort(host string, port int) string {
	return fmt.Sprintf("%s/usedports/%s/%d", t.root, host, port)
}
func (t Tree) PortMap(whoami string) string { return t.root + "/portmap/" + whoami }
func (t Tree) Dest(whoami string) string    { return t.root + "/dests/" + whoami }

// The extensions.

func (t Tree) Meta() string                { return t.root + "/meta" }
func (t Tree) Place() string               { return t.root + "/place" }
func (t Tree) Bases() string               { return t.root + "/parties/bases" }
func (t Tree) ExtQueue() string            { return t.root + "/extQueue" }
func (t Tree) Results() string             { return t.root + "/results" }
func (t Tree) Links() string               { return t.root + "/links" }
func (t Tree) Claims() string              { return t.root + "/claims" }
func (t Tree) Split() string               { return t.root + "/split" }
func (t Tree) Wanted() string              { return t.root + "/wanted" }
func (t Tree) Idle() string                { return t.root + "/idle" }
func (t Tree) Deletes() string             { return t.root + "/deletes" }
func (t Tree) Ended() string               { return t.root + "/watch" }
func (t Tree) Failures() string            { return t.root + "/failures" }
func (t Tree) Failure(path Text) string    { return t.Failures() + "/" + nodeName(path) }
func (t Tree) Leftovers() string           { return t.root + "/leftovers" }
func (t Tree) Leftover(dir string) string  { return t.Leftovers() + "/" + nodeName(Text(dir)) }
func (t Tree) Deeper() string              { return t.root + "/deeper" }
func (t Tree) DeeperAt(dir string) string  { return t.Deeper() + "/" + nodeName(Text(dir)) }
func (t Tree) Parts() string               { return t.root + "/parts" }
func (t Tree) Sync() string                { return t.root + "/sync" }
func (t Tree) AllSynced() string           { return t.root + "/synced" }
func (t Tree) Synced(whoami string) string { return t.AllSynced() + "/" + whoami }
func (t Tree) ExtDestQueue() string        { return t.root + "/extDestQueue" }
func (t Tree) Keys() string                { return t.root + "/keys" }
func (t Tree) Key(whoami string) string    { return t.Keys() + "/" + whoami }
func (t Tree) BwLimit() string             { return t.root + "/bwlimit" }
func (t Tree) Shares() string              { return t.root + "/shares" }
func (t Tree) Rates() string               { return t.root + "/rates" }
func (t Tree) Rate(whoami string) string   { return t.Rates() + "/" + whoami }
func (t Tree) Slots(whoami string) string  { return t.root + "/slots/" + whoami }

func (t Tree) Statuses() string            { return t.root + "/status" }
func (t Tree) Status(whoami string) string { return t.Statuses() + "/" + whoami }
func (t Tree) Control() string             { return t.root + "/control" }
func (t Tree) Heeds() string               { return t.root + "/heeds" }
func (t Tree) Heed(whoami string) string   { return t.Heeds() + "/" + whoami }

func (t Tree) AllLacks() string           { return t.root + "/lacks" }
func (t Tree) Lacks(whoami string) string { return t.AllLacks() + "/" + whoami }

// nodeName is the name of a node that stands for a path: a path may be longer than a name, and have other bytes.
func nodeName(path Text) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:16])
}

// Lasting are the znodes that the clean-up leaves, but for those of single clients.
func (t Tree) Lasting() []string {
	nodes := []string{t.root, t.Lock(), t.Ended(), t.PortLock(), t.DestsLock(), t.Bases(), t.root + "/parties"}
	for _, p := range []string{PartyAll, PartySources, PartyDests, PartyExt, PartyMasters} {
		nodes = append(nodes, t.Party(p))
	}
	return append(nodes, t.root+"/usedports", t.root+"/portmap", t.root+"/dests", t.Keys(), t.Statuses())
}

// OfSession are the znodes that the clean-up removes beside the watch node: S/meta, the last of them, after all others.
func (t Tree) OfSession() []string {
	return append([]string{
		t.DestQueue(), t.ExtDestQueue(), t.PathQueue(), t.CompletedQueue(), t.FailedQueue(), t.OutputQueue(), t.Stats(),
		t.Deletes(), t.Idle(), t.root + "/slots", t.AllLacks(), t.BwLimit(), t.Shares(), t.Rates(), t.Heeds(),
	}, t.OfLeader()...)
}

// OfLeader are those that a leader of this program makes, which are left behind by the clean-up of a Python
// client.
func (t Tree) OfLeader() []string {
	return []string{
		t.ExtQueue(), t.Results(), t.Links(), t.Claims(), t.Split(), t.Wanted(),
		t.Sync(), t.AllSynced(), t.Failures(), t.Leftovers(), t.Deeper(), t.Parts(), t.Place(), t.Control(), t.Meta(),
	}
}
