// SPDX-License-Identifier: LGPL-2.1-or-later

package chaos

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zktest"
)

// verdict collects what is wrong with a round.
type verdict struct {
	round *round
	wrong []string
}

func (v *verdict) errorf(format string, args ...any) {
	v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
}

// judge says all that is wrong with a round that has ended, and what became of its runs.
func (r *round) judge() (wrong []string, summary string) {
	v := &verdict{round: r}
	v.statuses()
	v.processes()
	v.znodes()
	runs := v.runs()
	if len(runs) == 0 {
		v.errorf("no run has been reported")
	}
	sent := r.sent()
	said := map[wire.Text]bool{} // what is not done, as the last run says
	for i, one := range runs {
		said = v.account(one, sent, i == len(runs)-1)
		summary += one.String() + "; "
	}
	v.compare(said)
	return v.wrong, summary + r.ends()
}

// ends counts how processes have ended.
func (r *round) ends() string {
	ends := map[string]int{}
	for _, c := range r.clients {
		for _, l := range c.lives {
			how := fmt.Sprintf("status %d", l.status)
			if l.ended != 0 {
				how = l.ended.String()
			}
			ends[how]++
		}
	}
	return fmt.Sprint("ends: ", ends)
}

// statuses judges how each process has ended.
func (v *verdict) statuses() {
	for _, c := range v.round.clients {
		for _, l := range c.lives {
			switch {
			case l.ended == syscall.SIGKILL && l.harmed:
			case l.ended != 0:
				v.errorf("%s was ended by a signal that nobody has sent: %v", l.name(), l.ended)
			case l.status == 0:
			case l.status == 143 && l.signals:
			case l.status == 20 && v.round.said20():
			case l.status == 23 && !c.dest && l.told().Failed+l.told().Unfinished > 0:
			case l.status == 1 && l.excused():
			default:
				v.errorf("%s has ended with status %d", l.name(), l.status)
			}
		}
	}
}

// said20 tells whether a run was suspended, or cleaned up by a source that has found it without a master: then
// its other clients leave.
func (r *round) said20() bool {
	return slices.ContainsFunc(r.clients[:sources], func(c *client) bool {
		return slices.ContainsFunc(c.lives, func(l *life) bool { return l.signals || l.status == 1 && l.excused() })
	})
}

// excuses are the reasons for which a client may end with status 1: it is started again.
var excuses = regexp.MustCompile(`cannot connect to ZooKeeper|cannot write below .*is full|An earlier run|an earlier run of this session was not finished`)

// excused tells whether a process says so in the end.
func (l *life) excused() bool {
	records := l.records()
	return len(records) > 0 && excuses.MatchString(records[len(records)-1].Msg)
}

// record is one of a client's log.
type record struct {
	Level, Msg, Event, Source, Path string
}

// records reads the log of a process; what is not JSON is no record.
func (l *life) records() (all []record) {
	data, _ := os.ReadFile(l.file("log"))
	for text := range strings.Lines(string(data)) {
		var one record
		if json.Unmarshal([]byte(text), &one) == nil {
			all = append(all, one)
		}
	}
	return all
}

// told is the last total that a process has written.
func (l *life) told() (total line) {
	for _, one := range l.report() {
		if one.Type == "total" {
			total = one
		}
	}
	return total
}

// settled looks again and again until nothing is left, or patience has ended.
func (r *round) settled(left func() []string) (all []string) {
	for end := time.Now().Add(r.patience); ; time.Sleep(100 * time.Millisecond) {
		if all = left(); len(all) == 0 || time.Now().After(end) {
			return all
		}
	}
}

// processes looks for those that have been left behind.
func (v *verdict) processes() {
	for _, text := range v.round.settled(func() (left []string) {
		for _, p := range v.round.processes() {
			left = append(left, fmt.Sprintf("process %d is left: %s", p.pid, p.args))
		}
		return left
	}) {
		v.errorf("%s", text)
	}
}

// znodes looks for what the session has left behind, when ZooKeeper has seen that those that were killed are gone.
func (v *verdict) znodes() {
	v.round.t.Helper()
	tree, err := wire.NewTree(v.round.session)
	v.round.must(err)
	lasting := append(tree.Lasting(), tree.Root()+"/usedports/localhost")
	for _, text := range v.round.settled(func() (left []string) {
		for _, n := range zktest.Dump(v.round.t, ensemble.Addrs()[0], "root", "admin", tree.Root()) {
			if n.Owner != 0 || !slices.Contains(lasting, n.Path) {
				left = append(left, fmt.Sprintf("znode %s is left", n.Path))
			}
		}
		return left
	}) {
		v.errorf("%s", text)
	}
}

// story is what all reports say of one run.
type story struct {
	id     string
	began  time.Time
	parts  []string
	lines  []line
	totals []total
}

// total is the end of a run, or that of its suspension, as a process has told it.
type total struct {
	line
	by *life
}

func (r story) String() string {
	s := fmt.Sprintf("%d parts", len(r.parts))
	if len(r.totals) > 0 {
		t := r.totals[len(r.totals)-1]
		s += fmt.Sprintf(", %d queued, %v", t.Queued, t.Counts)
	}
	return s
}

// runs are those of the round, in order.
func (v *verdict) runs() (runs []*story) {
	byID := map[string]*story{}
	for _, c := range v.round.clients[:sources] {
		for _, l := range c.lives {
			var now *story
			for _, one := range l.report() {
				switch one.Type {
				case "header":
					if now = byID[one.Run]; now == nil {
						now = &story{id: one.Run, began: one.Time}
						byID[one.Run] = now
						runs = append(runs, now)
					}
					if one.Time.Before(now.began) {
						now.began = one.Time
					}
					now.parts = append(now.parts, l.name())
				case "path":
					now.lines = append(now.lines, one)
				case "total":
					now.totals = append(now.totals, total{one, l})
				}
			}
		}
	}
	for _, one := range runs {
		slices.SortStableFunc(one.totals, func(a, b total) int { return a.Time.Compare(b.Time) })
	}
	slices.SortStableFunc(runs, func(a, b *story) int { return a.began.Compare(b.began) })
	return runs
}

// sent are the paths that each process of a source says that it sends, by their printed form.
func (r *round) sent() map[string]map[string]bool {
	sent := map[string]map[string]bool{}
	for _, c := range r.clients[:sources] {
		for _, l := range c.lives {
			for _, one := range l.records() {
				if one.Path == "" || !strings.Contains(one.Msg, " is sending ") {
					continue
				}
				if sent[one.Source] == nil {
					sent[one.Source] = map[string]bool{}
				}
				sent[one.Source][one.Path] = true
			}
		}
	}
	return sent
}

// account checks a run path by path, and returns what of it is not done, by its last word.
func (v *verdict) account(one *story, sent map[string]map[string]bool, last bool) map[wire.Text]bool {
	if len(one.totals) == 0 {
		if last {
			v.errorf("run %s has no total", one.id)
		}
		return nil
	}
	done, lines := map[wire.Text]bool{}, map[string]int{}
	failed := map[wire.Text]bool{} // at any time
	for _, path := range one.lines {
		lines[path.Outcome]++
		switch path.Outcome {
		case "completed":
			done[path.Path] = true
			if !sent[path.Who][path.Path.String()] {
				v.errorf("%s is told as completed by %s, which has not sent it", path.Path, path.Who)
			}
		case "failed", "unfinished":
			failed[path.Path] = true
		default:
			v.errorf("%s has %s, and nothing was changed", path.Path, path.Outcome)
		}
	}
	end := one.totals[len(one.totals)-1]
	if sum := end.Completed + end.Failed + end.Vanished + end.Changed + end.Unfinished; sum != end.Queued {
		v.errorf("%d paths are queued, %d accounted for", end.Queued, sum)
	}
	if end.Vanished+end.Changed > 0 {
		v.errorf("%d paths have vanished, %d changed, and nothing was changed", end.Vanished, end.Changed)
	}
	open := v.open(end.by)
	if len(open) != end.Failed+end.Unfinished {
		v.errorf("%d paths are in %s, and %d have failed, %d are unfinished", len(open), end.by.file("failed"), end.Failed, end.Unfinished)
	}
	for path := range open {
		if !failed[path] {
			v.errorf("%s is said to have failed, or to be unfinished, in no report", path)
		}
	}
	for path := range failed {
		if !open[path] && !done[path] {
			v.errorf("%s has failed, or was unfinished, and is lost", path)
		}
	}
	finished := 0
	for path := range done {
		if !open[path] {
			finished++
		}
	}
	switch {
	case end.Completed < finished, end.Completed > lines["completed"]:
		v.errorf("%d paths are completed, and %d are told as completed, %d of them once", end.Completed, lines["completed"], finished)
	case len(one.parts) == 1 && end.Completed != lines["completed"]:
		v.errorf("%d paths are completed, and %d are told as completed", end.Completed, lines["completed"])
	}
	v.doneFile(end)
	if status := end.by.status; end.by.ended == 0 && !end.by.signals && (status == 0) != (end.Failed+end.Unfinished == 0) {
		v.errorf("%s has ended with status %d, and %d paths have failed, %d are unfinished", end.by.name(), status, end.Failed, end.Unfinished)
	}
	if last {
		v.covered(slices.Concat(slices.Collect(maps.Keys(done)), slices.Collect(maps.Keys(open))))
	}
	return open
}

// open reads the paths that have failed or are unfinished.
func (v *verdict) open(l *life) map[wire.Text]bool {
	open := map[wire.Text]bool{}
	file, err := os.Open(l.file("failed"))
	if err != nil {
		v.errorf("%v", err)
		return open
	}
	defer file.Close()
	for scan := bufio.NewScanner(file); scan.Scan(); {
		path := scan.Text()
		if strings.HasPrefix(path, `"`) {
			if path, err = strconv.Unquote(path); err != nil {
				v.errorf("cannot read %s: %v", l.file("failed"), err)
			}
		}
		if open[wire.Text(path)] {
			v.errorf("%s is twice in %s", path, l.file("failed"))
		}
		open[wire.Text(path)] = true
	}
	return open
}

// doneFile compares it with the total.
func (v *verdict) doneFile(end total) {
	file, err := os.Open(end.by.file("done"))
	if err != nil {
		v.errorf("%v", err)
		return
	}
	defer file.Close()
	var content struct {
		Stats struct {
			Tuple []json.RawMessage `json:"py/tuple"`
		}
	}
	var counts wire.Counts
	z, err := gzip.NewReader(file)
	if err == nil {
		var data []byte
		if data, err = io.ReadAll(z); err == nil {
			err = errors.Join(json.Unmarshal(data, &content), json.Unmarshal(content.Stats.Tuple[1], &counts))
		}
	}
	counts.Deleted = end.Deleted // the file does not have that
	if err != nil || counts != end.Counts {
		v.errorf("the done-file has %+v, the report %+v (%v)", counts, end.Counts, err)
	}
}

// task is a path, as it stands below the source.
type task struct {
	wire.Task
	rel string // its directory, "." for the base
}

// holds tells whether the task is about what has this path below the source.
func (t task) holds(path string, directory bool) bool {
	switch t.Kind {
	case wire.Links:
		return slices.Contains(t.Files, wire.Text(path))
	case wire.Recursive:
		return t.rel == "." || path == t.rel || strings.HasPrefix(path, t.rel+"/")
	case wire.Shallow:
		return path == t.rel || filepath.Dir(path) == t.rel && !directory
	case wire.Range:
		return filepath.Dir(path) == t.rel && t.Holds(path) && !directory
	}
	return path == t.rel
}

// tasks are the paths, as tasks.
func (v *verdict) tasks(paths []wire.Text) (all []task) {
	for _, path := range paths {
		t := task{Task: wire.DecodeTask([]byte(path))}
		var err error
		if t.Kind != wire.Links {
			t.rel, err = filepath.Rel(v.round.at("src"), t.Dir)
		}
		if err != nil || t.Err != nil || strings.HasPrefix(t.rel, "../") {
			v.errorf("%s is no path of the source", path)
		}
		all = append(all, t)
	}
	return all
}

// covered checks that each name of the source belongs to a path that is accounted for.
func (v *verdict) covered(paths []wire.Text) {
	tasks := v.tasks(paths)
	for _, path := range below(v.round.at("src")) {
		info, err := os.Lstat(path)
		rel, err2 := filepath.Rel(v.round.at("src"), path)
		if err := errors.Join(err, err2); err != nil {
			v.errorf("%v", err)
			continue
		}
		if !slices.ContainsFunc(tasks, func(t task) bool { return t.holds(rel, info.IsDir()) }) {
			v.errorf("%q belongs to no path that is accounted for", rel)
		}
	}
}

// compare compares the trees; only what was said not to be done may differ. Without --delete an rsync that was
// killed may leave a temporary file.
func (v *verdict) compare(said map[wire.Text]bool) {
	var without []testtree.Aspect
	if !v.round.plan.tree.HardLinks {
		without = append(without, testtree.HardLinks)
	}
	differences, err := testtree.Compare(v.round.at("src"), v.round.at("fs/dst"), without...)
	if err != nil {
		v.errorf("%v", err)
	}
	open := v.tasks(slices.Collect(maps.Keys(said)))
	for _, difference := range differences {
		path, _, err := testtree.Split(difference)
		v.round.must(err)
		_, err = os.Lstat(v.round.at("src/" + path))
		foreign := errors.Is(err, fs.ErrNotExist)
		if foreign && !v.round.plan.deletes() && testtree.Temporary(path) {
			continue
		}
		if !slices.ContainsFunc(open, func(t task) bool { return t.holds(path, false) || t.rel == path }) {
			v.errorf("source and destination differ: %s", difference)
		}
	}
}
