// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
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
	PartyExt     = "ext" // clients that know the extensions
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

func (t Tree) AllLacks() string           { return t.root + "/lacks" }
func (t Tree) Lacks(whoami string) string { return t.AllLacks() + "/" + whoami }

// Lasting are the znodes that the clean-up leaves, but for those of single clients.
func (t Tree) Lasting() []string {
	nodes := []string{t.root, t.Lock(), t.Ended(), t.PortLock(), t.DestsLock(), t.Bases(), t.root + "/parties"}
	for _, p := range []string{PartyAll, PartySources, PartyDests, PartyExt} {
		nodes = append(nodes, t.Party(p))
	}
	return append(nodes, t.root+"/usedports", t.root+"/portmap", t.root+"/dests", t.Keys())
}

// OfSession are the znodes that the clean-up removes, beside the watch node.
func (t Tree) OfSession() []string {
	return []string{
		t.DestQueue(), t.ExtDestQueue(), t.PathQueue(), t.ExtQueue(), t.Stats(), t.CompletedQueue(), t.FailedQueue(),
		t.AllLacks(), t.OutputQueue(), t.Results(), t.Links(), t.Claims(), t.Deletes(), t.Split(), t.Wanted(), t.Idle(),
		t.root + "/slots", t.BwLimit(), t.Shares(), t.Rates(), t.Sync(), t.AllSynced(), t.Meta(), t.Place(),
	}
}
