// SPDX-License-Identifier: LGPL-2.1-or-later

package chaos

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

// TestJudge makes what a broken program would leave out of what a good one has left: the judge has to see it.
func TestJudge(t *testing.T) {
	plan := newPlan(1)
	plan.tree, plan.prior = testtree.TreeOptions{Fanout: []int{3, 2}, Files: 2, Size: 100}, empty
	plan.options, plan.work, plan.events = []string{"--depth=2", "--delete", "--batch=1"}, 0, nil
	r := newRound(t, 1, plan)
	r.run()
	if wrong, summary := r.judge(); len(wrong) > 0 {
		t.Fatalf("the round is not good: %s: %s", summary, strings.Join(wrong, "\n"))
	}
	var last *life
	for _, c := range r.clients[:sources] {
		if l := c.lives[0]; l.told().Type == "total" {
			last = l
		}
	}
	var sender *life
	for _, c := range r.clients[:sources] {
		if strings.Contains(r.text(c.lives[0].file("log")), " is sending ") {
			sender = c.lives[0]
		}
	}
	r.keep()
	r.patience = 0    // they have settled
	undo := func() {} // what is not in a file
	lose := func(file, pattern string) func() { return func() { r.edit(file, pattern, "") } }
	for name, test := range map[string]struct {
		harm func()
		want string
	}{
		"a file is missing":        {func() { r.must(os.Remove(r.at("fs/dst/dir000/dir000/file000"))) }, `differ: "dir000/dir000/file000": only in`},
		"a file is wrong":          {func() { r.edit(r.at("fs/dst/dir001/file000"), "^.", "x") }, `differ: "dir001/file000": different content`},
		"something is not deleted": {func() { r.must(os.WriteFile(r.at("fs/dst/dir001/surplus"), nil, 0o644)) }, `differ: "dir001/surplus": only in`},
		"a path is lost":           {lose(last.file("report"), `(?m)^.*"1_[^"]*/dir000/dir001".*\n`), `"dir000/dir001" belongs to no path`},
		"a path is told twice":     {func() { r.edit(last.file("report"), `(?m)^.*"0_[^"]*/dir000".*\n`, "$0$0") }, `10 paths are completed, and 11 are told`},
		"a failure is told":        {func() { r.edit(last.file("report"), `("1_[^"]*/dir000/dir001","outcome":)"completed"`, `$1"failed"`) }, "/dir000/dir001 has failed, or was unfinished, and is lost"},
		"a path has vanished":      {func() { r.edit(last.file("report"), `("1_[^"]*/dir000/dir001","outcome":)"completed"`, `$1"vanished"`) }, "/dir000/dir001 has vanished, and nothing was changed"},
		"a path has changed":       {func() { r.edit(last.file("report"), `("1_[^"]*/dir000/dir001","outcome":)"completed"`, `$1"changed"`) }, "/dir000/dir001 has changed, and nothing was changed"},
		"one has, in the total":    {func() { r.edit(last.file("report"), `"completed":10,"vanished":0`, `"completed":9,"vanished":1`) }, "1 paths have vanished, 0 changed"},
		"a path was not sent":      {lose(sender.file("log"), `(?m)^.* is sending .*\n`), "which has not sent it"},
		"a total is wrong":         {func() { r.edit(last.file("report"), `"completed":10`, `"completed":9`) }, "10 paths are queued, 9 accounted for"},
		"the done-file is missing": {func() { r.must(os.Remove(last.file("done"))) }, last.name() + ".done"},
		"the done-file differs": {func() {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, err := z.Write([]byte(`{"stats":{"py/tuple":[{},{"completed":9,"failed":1}]}}`))
			r.must(err, z.Close(), os.WriteFile(last.file("done"), b.Bytes(), 0o644))
		}, "the done-file has 9 completed, 1 failed"},
		"a failure is not listed":  {func() { r.edit(last.file("report"), `"failed":0,"completed":10`, `"failed":1,"completed":9`) }, "0 paths are in " + last.file("failed") + ", and 1 have failed"},
		"a failure is only listed": {func() { r.must(os.WriteFile(last.file("failed"), []byte("1_"+r.at("src/dir000/dir001")+"\n"), 0o644)) }, "in no report"},
		"a status is wrong":        {func() { last.status = 23 }, "has ended with status 23"},
		"somebody has crashed":     {func() { sender.status = 2 }, sender.name() + " has ended with status 2"},
		"a process is left": {func() {
			cmd := exec.Command("sleep", "600")
			cmd.Env = []string{mark + "=" + r.dir}
			r.must(cmd.Start())
			undo = func() { r.must(cmd.Process.Kill()); _ = cmd.Wait() }
		}, "is left: sleep 600"},
		"a znode is left": {func() {
			zk, err := zkclient.Connect(t.Context(), zkclient.Config{Servers: ensemble.Addrs(), User: "root", Password: "admin", ConnectTimeout: time.Minute})
			r.must(err)
			_, err = zk.CreatePath(t.Context(), r.root()+"/meta", nil, zkclient.Persistent)
			r.must(err)
			undo = func() { r.must(zk.Delete(t.Context(), r.root()+"/meta")); zk.Close() }
		}, "/meta is left"},
	} {
		t.Run(name, func(t *testing.T) {
			defer r.restore()
			defer func() { undo(); undo = func() {} }()
			defer func(status int) { last.status = status }(last.status)
			defer func(status int) { sender.status = status }(sender.status)
			test.harm()
			wrong, _ := r.judge()
			if !slices.ContainsFunc(wrong, func(text string) bool { return strings.Contains(text, test.want) }) {
				t.Errorf("not said: %s; but:\n%s", test.want, strings.Join(wrong, "\n"))
			}
		})
	}
}

func (r *round) text(file string) string {
	data, err := os.ReadFile(file)
	r.must(err)
	return string(data)
}

// edit changes what a file has, but not its times.
func (r *round) edit(file, pattern, replacement string) {
	before := r.text(file)
	after := regexp.MustCompile(pattern).ReplaceAllString(before, replacement)
	if after == before {
		r.t.Fatalf("%s has no %s:\n%s", file, pattern, before)
	}
	info, err := os.Stat(file)
	r.must(err, os.WriteFile(file, []byte(after), 0o644), os.Chtimes(file, info.ModTime(), info.ModTime()))
}

// keep remembers what the round has left, for restore.
func (r *round) keep() {
	r.must(os.Mkdir(r.at("kept"), 0o700))
	names, err := filepath.Glob(r.at("source-*"))
	r.must(err)
	r.copy(append(names, r.at("fs/dst")), r.at("kept"))
}

func (r *round) restore() {
	r.must(os.RemoveAll(r.at("fs/dst")))
	r.copy([]string{r.at("kept/dst")}, r.at("fs"))
	names, err := filepath.Glob(r.at("kept/source-*"))
	r.must(err)
	r.copy(names, r.dir)
}

func (r *round) copy(from []string, to string) {
	if out, err := exec.Command("cp", append([]string{"-a", "-t", to}, from...)...).CombinedOutput(); err != nil {
		r.t.Fatalf("cannot copy to %s: %v: %s", to, err, out)
	}
}
