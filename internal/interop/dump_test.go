// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"vsc-zk/internal/zkclient"
	"vsc-zk/internal/zktest"
)

// The steps of a session at which all its znodes are read.
const (
	queued    = 'q' // the master has filled the queue
	served    = 'd' // a destination is up
	taken     = 't' // a slave is sending a path to it
	completed = 'c' // the slave has sent all but one path, which a guest holds
	stopped   = 's' // the run is over, all have left but the master, which waits for the guest
	cleaned   = 'z' // the master has cleaned up
)

// always is every step.
const always = "qdtcsz"

// contract is every znode of a session: name, data, owner ("": persistent), and the steps at which
// it is there. It is the same whoever plays which role.
var contract = []sessionNode{
	{"", "", "", always},
	{"watch", "", "", "qdtcs"},
	{"watch/ready", "start", "", "qdtc"},
	{"watch/ready", "stop", "", "s"},
	{"lock", "", "", always},
	{"lock/<uuid>__lock__<seq>", "", "<master>", "qdtcs"},

	{"parties", "", "", always},
	{"parties/allsd", "", "", always},
	{"parties/allsd/<uuid>__party__", "<master>", "<master>", "qdtcs"},
	{"parties/allsd/<uuid>__party__", "<slave>", "<slave>", "tc"},
	{"parties/allsd/<uuid>__party__", "<dest>", "<dest>", "dtc"},
	{"parties/sources", "", "", always},
	{"parties/sources/<uuid>__party__", "<master>", "<master>", "qdtcs"},
	{"parties/sources/<uuid>__party__", "<slave>", "<slave>", "tc"},
	{"parties/dests", "", "", "dtcsz"},
	{"parties/dests/<uuid>__party__", "<dest>", "<dest>", "dtc"},

	{"pathQueue", "", "", "qdtcs"},
	{"pathQueue/entries", "", "", "qdtcs"},
	{"pathQueue/entries/entry-100-<seq>", "0_<src>", "", "qdt"},
	{"pathQueue/entries/entry-100-<seq>", "1_<src>/dir000", "", "qdt"},
	{"pathQueue/entries/entry-100-<seq>", "1_<src>/dir001", "", "qdtc"},
	{"pathQueue/taken", "", "", "qdtcs"},
	{"pathQueue/taken/entry-100-<seq>", "<uuid>", "<slave>", "t"},

	{"completedQueue", "", "", "cs"},
	{"completedQueue/entries", "", "", "cs"},
	{"completedQueue/taken", "", "", "cs"},
	{"failedQueue", "", "", "qdtcs"},
	{"failedQueue/entries", "", "", "qdtcs"},
	{"failedQueue/taken", "", "", "qdtcs"},

	{"destQueue", "", "", "dtcs"},
	{"destQueue/entries", "", "", "dtcs"},
	{"destQueue/entries/entry-100-<seq>", "<port>:<dest>", "", "dtcs"},
	{"destQueue/taken", "", "", "dtcs"},
	{"destQueue/taken/entry-100-<seq>", "<uuid>", "<slave>", "tc"},

	{"stats", "", "", "cs"},
	{"stats/Number_of_files", "<number>", "", "cs"},
	{"stats/Number_of_regular_files_transferred", "<number>", "", "cs"},
	{"stats/Total_file_size", "<number>", "", "cs"},
	{"stats/Total_transferred_file_size", "<number>", "", "cs"},
	{"stats/Literal_data", "<number>", "", "cs"},
	{"stats/Matched_data", "<number>", "", "cs"},
	{"stats/File_list_size", "<number>", "", "cs"},
	{"stats/Total_bytes_sent", "<number>", "", "cs"},
	{"stats/Total_bytes_received", "<number>", "", "cs"},

	{"usedports", "", "", "dtcsz"},
	{"usedports/" + host, "", "", "dtcsz"},
	{"usedports/" + host + "/<port>", "", "<dest>", "dtc"},
	{"portlock", "", "", "dtcsz"},
	{"portmap", "", "", "dtcsz"},
	{"portmap/<dest>", "<port>", "<dest>", "dtc"},
	{"dests", "", "", "dtcsz"},
	{"dests/<dest>", "active", "<dest>", "dtc"},
	{"destslock", "", "", "dtcsz"},
}

// The rest depends on the kind of the master and on that of the slave and the destination. This is
// the whole difference between the kinds.
var (
	// The results stand in completedQueue, and a name that a Python slave would lose is treated
	// like all others.
	underPython = []sessionNode{
		{"completedQueue/entries/entry-100-<seq>", "0_<src>", "", "cs"},
		{"completedQueue/entries/entry-100-<seq>", "1_<src>/dir000", "", "cs"},
		{"completedQueue/entries/entry-100-<seq>", "1_<src>/dir001", "", "s"},
		{"completedQueue/entries/entry-100-<seq>", "1_<src>/#odd", "", "cs"},
		{"pathQueue/entries/entry-100-<seq>", "1_<src>/#odd", "", "qdt"},
		// Every Python source begins by making the parent of the counters.
		{"stats", "", "", "qdt"},
		{"watch", "", "", "z"},
	}
	// A Go master uses extensions. It takes results in at once, and counts them in meta.
	underGo = []sessionNode{
		{"watch", `{"epoch":<epoch>}`, "", "z"},
		{"results", "", "", "qdtcs"},
		{"split", "", "", "qdtcs"},
		{"sync", "on", "", "qdtc"},
		{"synced", "", "", "qdtcs"},
		{"wanted", "", "", "qdtcs"},
		{"failures", "", "", "qdtcs"},
		{"leftovers", "", "", "qdtcs"},
		{"deeper", "", "", "qdtcs"},
		{"control", "", "", "qdtcs"},
		{"heeds", "", "", "qdtcs"},
		{"heeds/<master>", `{"version":0,"jobs":0,"leads":true}`, "<master>", "qdtcs"},
		{"parts", "", "", "qdtcs"},
		{"parts/part-<seq>", `{"who":"<master>"}`, "", "qdtcs"},
		{"idle", "", "", "qdtcs"},
		{"extDestQueue", "", "", "qdtcs"},
		{"extDestQueue/entries", "", "", "qdtcs"},
		{"extDestQueue/taken", "", "", "qdtcs"},
		{"extQueue", "", "", "qdtcs"},
		{"extQueue/entries", "", "", "qdtcs"},
		{"extQueue/taken", "", "", "qdtcs"},
		{"parties/ext", "", "", always},
		{"parties/ext/<uuid>__party__", "<master>", "<master>", "qdtcs"},
		{"parties/bases", "", "", always},
		{"parties/bases/base-<seq>", "<position>", "<master>", "qdtcs"},
		{"place", "<place>", "", "qdtcs"},
		// It begins by making all queues. Otherwise whoever first needs a queue makes it,
		// and nobody needs outputQueue before the clean-up.
		{"completedQueue", "", "", "qdt"},
		{"completedQueue/entries", "", "", "qdt"},
		{"completedQueue/taken", "", "", "qdt"},
		{"outputQueue", "", "", "qdtcs"},
		{"outputQueue/entries", "", "", "qdtcs"},
		{"outputQueue/taken", "", "", "qdtcs"},
		{"destQueue", "", "", "q"},
		{"destQueue/entries", "", "", "q"},
		{"destQueue/taken", "", "", "q"},
	}
	// A Go slave and a Go destination are in one more party.
	goOthers = []sessionNode{
		{"parties/ext/<uuid>__party__", "<slave>", "<slave>", "tc"},
		{"parties/ext/<uuid>__party__", "<dest>", "<dest>", "dtc"},
		{"parties/bases/base-<seq>", "<position>", "<slave>", "tc"},
		{"keys", "", "", "dtcsz"},
		{"keys/<dest>", "<key>", "<dest>", "dtc"},
		{"keys/<slave>", "<key>", "<slave>", "tc"},
		{"parties/bases/base-<seq>", "<position>", "<dest>", "dtc"},
	}
	goUnderGo = []sessionNode{
		{"heeds/<slave>", `{"version":0,"jobs":1}`, "<slave>", "tc"},
		{"synced/<dest>", "<zxids>", "", "dtcs"},
		{"extQueue/entries/entry-100-<seq>", "1_<src>/#odd", "", "qdt"},
		{"meta", metaWith(4, 0), "", "qdt"},
		{"meta", metaWith(4, 3), "", "c"},
		{"meta", metaWith(4, 4, "done"), "", "s"},
	}
	goUnderPython = []sessionNode{
		{"parties/bases", "", "", "dtcsz"},
		{"parties/ext", "", "", "dtcsz"},
	}
	// There is no odd name, which would wait for a Go source.
	pythonUnderGo = []sessionNode{
		{"stats", "", "", "t"},
		{"meta", metaWith(3, 0), "", "qdt"},
		{"meta", metaWith(3, 2), "", "c"},
		{"meta", metaWith(3, 3, "done"), "", "s"},
	}
)

// metaWith is S/meta of a run with so many paths, so many of them completed.
func metaWith(paths, done int, end ...string) string {
	stage := fmt.Sprintf(`{"phase":"walk","pass":0,"found":%d,"cursor":"1_<src>/dir001","fed":true}`, paths)
	ended := ""
	if len(end) > 0 {
		stage = `{"phase":"end","pass":2,"linked":true,"found":0,"cursor":""}`
		ended = fmt.Sprintf(`,"end":%q`, end[0])
	}
	return fmt.Sprintf(`{"format":2,"id":"<id>","lead":"<id>","epoch":<epoch>,"began":<time>,"step":<step>,"queued":%d,"cuts":0,"again":0,"plan":{"depth":1},"steered":{"version":0},"stage":%s,"ended":`+
		`{"unfinished":0,"failed":0,"completed":%d,"vanished":0,"changed":0,"skipped":0,"deleted":0,"differences":0,"exhausted":false},`+
		`"terms":{"excl_usr":"root","excludere":"/\\.snapshots(/.*|$)","rsyncpath":"<src>"},"timeout":10%s}`, paths, stage, done, ended)
}

type sessionNode struct{ name, data, owner, steps string }

func (n sessionNode) String() string {
	if n.owner == "" {
		return fmt.Sprintf("%q persistent %q", n.name, n.data)
	}
	return fmt.Sprintf("%q ephemeral, of %s, %q", n.name, n.owner, n.data)
}

// at are the nodes of a step, one line each.
func at(step rune, lists ...[]sessionNode) []string {
	var lines []string
	for _, list := range lists {
		for _, n := range list {
			if strings.ContainsRune(n.steps, step) {
				lines = append(lines, n.String())
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// What a session writes is the contract's, node by node and step by step, whoever of either kind
// plays which role. The extensions are listed too, and nothing else differs.
func TestNodesOfASession(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		master, others kind
		more           [][]sessionNode
	}{
		{python, python, [][]sessionNode{underPython}},
		{golang, golang, [][]sessionNode{underGo, goOthers, goUnderGo}},
		{python, golang, [][]sessionNode{underPython, goOthers, goUnderPython}},
		{golang, python, [][]sessionNode{underGo, pythonUnderGo}},
	} {
		t.Run(fmt.Sprintf("%s master, %s slave and destination", c.master, c.others), func(t *testing.T) {
			t.Parallel()
			nodes := append([][]sessionNode{contract}, c.more...)
			play(t, c.master, c.others, func(step rune, got []string) {
				t.Helper()
				if diff := gocmp.Diff(at(step, nodes...), got); diff != "" {
					t.Errorf("step %c: what should be there (-) and what is (+):\n%s", step, diff)
				}
			})
		})
	}
}

// play plays a session and shows its nodes at each step.
func play(t *testing.T, master, others kind, show func(step rune, nodes []string)) {
	r := newRig(t, plain(2))
	if master == python || others == golang {
		ok(t, os.Mkdir(filepath.Join(r.src, "#odd"), 0o755))
	}
	names := map[string]string{} // whoami, port and epoch of this run to what the table has

	m := r.begin(master)
	names[m.Whoami()] = "<master>"
	if master == python {
		m.(pyMaster).Await("progress") // so it has asked how many paths have failed
	}
	stat, _, err := r.zk.Exists(t.Context(), r.at("watch", "ready"))
	ok(t, err)
	names[fmt.Sprintf(`"epoch":%d,`, stat.Czxid)] = `"epoch":<epoch>,`
	names[fmt.Sprintf(`{"epoch":%d}`, stat.Czxid)] = `{"epoch":<epoch>}`
	show(queued, r.nodes(names))

	dest := r.destination(others)
	names[dest.Whoami()] = "<dest>"
	r.awaitDestinations(1)
	port, _, err := r.zk.Get(t.Context(), r.at("portmap", dest.Whoami()))
	ok(t, err)
	names[string(port)] = "<port>"
	show(served, r.nodes(names))

	guest := connect(t)
	held := takeOnly(t, guest.Queue(r.at("pathQueue")), "1_"+r.src+"/dir001")
	g := newGate(t)
	var args []string
	if others == golang {
		args = []string{"--no-master"} // it would stay until the master has cleaned up
	}
	slave := r.slave(others, g, args...)
	names[slave.Whoami()] = "<slave>"
	g.wait()
	show(taken, r.nodes(names, guest.SessionID()))

	g.open()
	until(t, "all paths but one are completed and counted", func() bool {
		files, err := r.zk.Counters(t.Context(), r.at("stats"), []string{"Number_of_regular_files_transferred", "Total_bytes_received"})
		ok(t, err)
		return r.completed(master) == len(r.queued)-1 && files["Number_of_regular_files_transferred"] == 4 && files["Total_bytes_received"] > 0
	})
	show(completed, r.nodes(names, guest.SessionID()))

	party := guest.Party(r.at("parties", "allsd"), "guest")
	ok(t, party.Join(t.Context()))
	ok(t, held.Release(t.Context()))
	wantExit(t, slave, 0)
	wantExit(t, dest, 0)
	until(t, "all others have left, and all paths are counted", func() bool {
		members, err := party.Members(t.Context())
		ok(t, err)
		return len(members) == 2 && r.completed(master) == len(r.queued)
	})
	show(stopped, r.nodes(names, guest.SessionID()))

	guest.Close()
	wantExit(t, m, 0)
	show(cleaned, r.nodes(names))
}

// completed is how many paths are recorded as completed.
func (r *rig) completed(master kind) int {
	r.t.Helper()
	if master == python {
		return len(r.values("completedQueue"))
	}
	data, _, err := r.zk.Get(r.t.Context(), r.at("meta"))
	ok(r.t, err)
	return value[struct{ Ended struct{ Completed int } }](r.t, data).Ended.Completed
}

// takeOnly takes the one entry that has this value.
func takeOnly(t *testing.T, q *zkclient.Queue, value string) *zkclient.Entry {
	t.Helper()
	var wanted *zkclient.Entry
	var others []*zkclient.Entry
	for wanted == nil {
		entry := take(t, limited(t), q)
		if string(entry.Value) == value {
			wanted = entry
		} else {
			others = append(others, entry)
		}
	}
	for _, entry := range others {
		ok(t, entry.Release(t.Context()))
	}
	return wanted
}

var (
	sequence = regexp.MustCompile(`\d{10}$`)
	number   = regexp.MustCompile(`^\d+$`)
	metaID   = regexp.MustCompile(`"id":"[A-Z2-7]{26}","lead":"[A-Z2-7]{26}"`)
	metaTime = regexp.MustCompile(`"began":\d+`)
	metaStep = regexp.MustCompile(`"step":\d+`)
	metaWork = regexp.MustCompile(`"work":\{[^}]*\},`)
)

// nodes are the session's nodes, one line each in the form of the table, without those that a
// guest's session has made. All of them must belong to the session's user, and to nobody else.
func (r *rig) nodes(names map[string]string, guests ...int64) []string {
	r.t.Helper()
	from := make([]string, 0, len(names))
	for name := range names {
		from = append(from, name)
	}
	slices.SortFunc(from, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // host:123 is in host:1234
	pairs := []string{r.src, "<src>"}
	for _, name := range from {
		pairs = append(pairs, name, names[name])
	}
	named := strings.NewReplacer(pairs...)
	known := func(s string) string { return named.Replace(random.ReplaceAllString(s, "<uuid>")) }

	dump := zktest.Dump(r.t, server.Addr(), user, password, r.at())
	owners := map[int64]string{0: ""}
	for _, n := range dump {
		if strings.HasPrefix(n.Path, r.at("parties", "allsd")+"/") {
			owners[n.Owner] = known(n.Data)
		}
	}
	acl := []string{"digest:" + zkclient.DigestACL(user, password, zkclient.PermAll).ID + ":rwcda"}
	var lines []string
	for _, n := range dump {
		if slices.Contains(guests, n.Owner) {
			continue
		}
		name := strings.TrimPrefix(strings.TrimPrefix(n.Path, r.at()), "/")
		if strings.HasPrefix(name, "idle/") {
			continue // a Go slave has had nothing to do for a second
		}
		if name == "status" || strings.HasPrefix(name, "status/") {
			continue // a Go client says what it does when it has been there for a second
		}
		line := sessionNode{name: sequence.ReplaceAllString(known(name), "<seq>"), data: known(n.Data)}
		if strings.HasPrefix(name, "stats/") {
			line.data = number.ReplaceAllString(n.Data, "<number>")
		}
		if name == "meta" {
			line.data = metaStep.ReplaceAllString(metaID.ReplaceAllString(line.data, `"id":"<id>","lead":"<id>"`), `"step":<step>`)
			line.data = metaTime.ReplaceAllString(line.data, `"began":<time>`)
			line.data = metaWork.ReplaceAllString(line.data, "")
		}
		if strings.HasPrefix(name, "keys/") {
			line.data = "<key>"
		}
		if name == "place" { // what these hold is of this machine
			line.data = "<place>"
		}
		if strings.HasPrefix(name, "parties/bases/") {
			line.data = "<position>"
		}
		if strings.HasPrefix(name, "synced/") {
			line.data = "<zxids>"
		}
		owner, member := owners[n.Owner]
		if !member {
			r.t.Errorf("%s belongs to nobody in the session", n)
		}
		line.owner = owner
		lines = append(lines, line.String())
		if !slices.Equal(n.ACL, acl) {
			r.t.Errorf("%s: the ACL is not that of the session's user alone", n)
		}
	}
	slices.Sort(lines)
	return lines
}
