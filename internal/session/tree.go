// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"fmt"
	"strings"

	"vsc-zk/internal/zkclient"
)

// Base is the znode below which all sessions are.
const Base = "/admin/rsync"

// Values of the ready watch.
const (
	watchStart = "start"
	watchStop  = "stop"
)

// tree names the znodes of one session.
type tree struct{ root string }

func newTree(session string) (tree, error) {
	if strings.TrimSpace(session) == "" {
		return tree{}, fmt.Errorf("cannot use an empty session name: give one with --session")
	}
	root, err := zkclient.Path(Base, session)
	if err != nil {
		return tree{}, fmt.Errorf("cannot use session name %q: %w", session, err)
	}
	return tree{root}, nil
}

// name is the session's name as it stands below Base.
func (t tree) name() string { return strings.TrimPrefix(t.root, Base+"/") }

func (t tree) lock() string               { return t.root + "/lock" }
func (t tree) ready() string              { return t.root + "/watch/ready" }
func (t tree) party(kind string) string   { return t.root + "/parties/" + kind }
func (t tree) pathQueue() string          { return t.root + "/pathQueue" }
func (t tree) extQueue() string           { return t.root + "/extQueue" }
func (t tree) completedQueue() string     { return t.root + "/completedQueue" }
func (t tree) failedQueue() string        { return t.root + "/failedQueue" }
func (t tree) outputQueue() string        { return t.root + "/outputQueue" }
func (t tree) destQueue() string          { return t.root + "/destQueue" }
func (t tree) stats() string              { return t.root + "/stats" }
func (t tree) meta() string               { return t.root + "/meta" }
func (t tree) results() string            { return t.root + "/results" }
func (t tree) links() string              { return t.root + "/links" }
func (t tree) split() string              { return t.root + "/split" }
func (t tree) wanted() string             { return t.root + "/wanted" }
func (t tree) idle() string               { return t.root + "/idle" }
func (t tree) slots(whoami string) string { return t.root + "/slots/" + whoami }
func (t tree) deletes() string            { return t.root + "/deletes" }
func (t tree) portLock() string           { return t.root + "/portlock" }
func (t tree) usedPort(h string, p int) string {
	return fmt.Sprintf("%s/usedports/%s/%d", t.root, h, p)
}
func (t tree) portMap(whoami string) string { return t.root + "/portmap/" + whoami }
func (t tree) destsLock() string            { return t.root + "/destslock" }
func (t tree) dest(whoami string) string    { return t.root + "/dests/" + whoami }

// ofRun are the znodes that a run leaves to its clean-up, beside the watch node.
func (t tree) ofRun() []string {
	return []string{
		t.destQueue(), t.pathQueue(), t.extQueue(), t.stats(), t.completedQueue(), t.failedQueue(),
		t.outputQueue(), t.results(), t.links(), t.deletes(), t.split(), t.wanted(), t.idle(), t.root + "/slots", t.meta(),
	}
}

// module is the rsync module of the session's destinations.
func (t tree) module() string { return "zkrs-" + t.name() }

// Parties of a session.
const (
	partyAll     = "allsd"
	partySources = "sources"
	partyDests   = "dests"
	partyExt     = "ext"
)
