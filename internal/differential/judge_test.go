// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/session/wire"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

// reference makes REF with the one rsync, and tells whether it managed all.
func (r *run) reference() bool {
	r.t.Helper()
	complaints := r.one()
	if complaints != "" && strings.TrimSpace(passing.ReplaceAllString(complaints, "")) == "" {
		complaints = r.one()
	}
	return complaints == ""
}

// passing is what the one rsync does not complain of the next time: with --acls it looks for the default access control list
// of a file that stands in the way of a directory. What it leaves out by the options of the round is no complaint.
var passing = regexp.MustCompile(`(?m)^(skipping non-regular file ".*"|rsync: \[generator\] get_acl: sys_acl_get_file\(.*, ACL_TYPE_DEFAULT\): Permission denied .*|rsync error: .*)$`)

// one runs the one rsync, and returns what it complains of.
func (r *run) one() (complaints string) {
	r.t.Helper()
	args := append(r.options.rsyncArgs(r.from()), "--", r.from()+"/", r.at("ref")+"/")
	ctx, cancel := context.WithTimeout(r.t.Context(), deadline)
	defer cancel()
	out, err := exec.CommandContext(ctx, "rsync", args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 23) {
		r.t.Fatalf("rsync %q: %v: %s", args, err, out)
	}
	if err == nil {
		return ""
	}
	r.t.Logf("the one rsync: %v: %s", err, out)
	return string(out)
}

// failedEntries reads which entries have failed by the master's account, relative to the source.
func (r *run) failedEntries() (recursive, single []string) {
	r.t.Helper()
	data, err := os.ReadFile(r.failed)
	r.must(err)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, `"`) {
			line, err = strconv.Unquote(line)
			r.must(err)
		}
		kind, path, found := strings.Cut(line, "_")
		rel, err := filepath.Rel(r.from(), path)
		switch {
		case kind == "l":
			single = append(single, path) // the names of links, in JSON
		case kind == "r":
			var files struct {
				Path json.RawMessage // as in the report
			}
			r.must(json.Unmarshal([]byte(path), &files))
			rel, err := filepath.Rel(r.from(), r.plain(files.Path))
			r.must(err)
			single = append(single, rel)
		case !found || err != nil || strings.HasPrefix(rel, "../"):
			r.t.Errorf("the master says that %q failed, which is no entry", line)
		case kind == "1":
			recursive = append(recursive, rel)
		default:
			single = append(single, rel)
		}
	}
	return recursive, single
}

// plain reads a path as the session writes it in JSON.
func (r *run) plain(data json.RawMessage) string {
	r.t.Helper()
	var path string
	if len(data) > 0 && data[0] == '"' {
		r.must(json.Unmarshal(data, &path))
		return path
	}
	var raw struct{ Base64 []byte }
	r.must(json.Unmarshal(data, &raw))
	return string(raw.Base64)
}

// account checks that the report has each path in one class, and that their sum is the number of
// paths queued.
func (r *run) account(runErr error) {
	r.t.Helper()
	file, err := os.Open(r.report)
	r.must(err)
	defer file.Close()
	last := map[string]string{} // outcome by path
	count := map[string]int{}   // paths by outcome
	var total struct{ Queued, Completed, Failed, Vanished, Changed, Unfinished int }
	for lines := json.NewDecoder(file); lines.More(); {
		var line json.RawMessage
		var path struct {
			Type, Outcome string
			Path          json.RawMessage // a string, or an object if that is not UTF-8
		}
		r.must(lines.Decode(&line))
		r.must(json.Unmarshal(line, &path))
		switch path.Type {
		case "total":
			r.must(json.Unmarshal(line, &total))
		case "path":
			if last[string(path.Path)] == "failed" {
				count["failed"]-- // a later pass has sent it again
			}
			last[string(path.Path)] = path.Outcome
			count[path.Outcome]++
		}
	}
	sum := 0
	for class, n := range map[string]int{
		"completed": total.Completed, "failed": total.Failed, "vanished": total.Vanished, "changed": total.Changed, "unfinished": total.Unfinished,
	} {
		if class == "failed" && n < count[class] {
			count[class] -= min(count[class]-n, strings.Count(r.text(), " event=cut ")) // the pieces have taken its place
		}
		if sum += n; n != count[class] {
			r.t.Errorf("%d paths %s in the lines of the report, %d in its total", count[class], class, n)
		}
	}
	if sum != total.Queued || sum == 0 {
		r.t.Errorf("%d paths queued, %d accounted for", total.Queued, sum)
	}
	if runErr == nil && total.Failed+total.Unfinished > 0 {
		r.t.Errorf("no error, and %+v", total)
	}
}

// judge compares what the run has made with what the single rsync makes. c is nil if nothing was
// changed during the run. It tells whether the single rsync has managed all.
func (r *run) judge(runErr error, c *changer) (managed bool) {
	r.t.Helper()
	if runErr != nil && !errors.Is(runErr, wire.ErrIncomplete) {
		r.t.Errorf("the master: %v", runErr)
	}
	r.account(runErr)
	managed = r.reference()
	switch {
	case c != nil && runErr != nil && r.options.Delete && managed:
		r.t.Errorf("nothing is in the way, and yet: %v", runErr)
	case c != nil: // without --delete, what was sent before may be in the way
	case managed && runErr != nil:
		r.t.Errorf("the one rsync manages all, the session does not: %v", runErr)
	case !managed && runErr == nil:
		r.t.Errorf("the one rsync does not manage all, and the session does not say so")
	}
	var recursive, single []string
	if runErr != nil {
		recursive, single = r.failedEntries()
	}
	links := map[bool]string{true: "-H", false: "without -H"}[r.options.HardLinks]
	excluded := r.options.excluded(r.from())
	spared := r.spared()
	unknown := func(name string) bool {
		return r.foreign(name, excluded) || spared(name) || c != nil && r.allowed(c, name)
	}
	wrong := map[string]string{} // as the source has it
	for _, d := range r.compare(filepath.Base(r.from()), "dst", unknown) {
		wrong[d.path] = d.what
	}
	for _, d := range r.compare("ref", "dst", unknown) {
		switch {
		case !managed && wrong[d.path] == "":
			continue // the session does better: it is as in the source
		case strings.HasPrefix(d.what, "modified ") && (r.stamped(d.path) || below(d.path, r.covered) || c != nil && slices.Contains(c.deep, d.path)):
			continue
		case spared(d.path), c != nil && r.allowed(c, d.path):
			continue
		case below(d.path, recursive), slices.Contains(single, d.path), slices.Contains(single, filepath.Dir(d.path)):
			continue // it was said
		}
		r.t.Errorf("differs from the one rsync (%s): %q: %s; source and destination: %s", links, d.path, d.what, wrong[d.path])
	}
	r.untouched()
	r.left()
	return managed
}

// identical compares the destination with the reference, without any allowance.
func (r *run) identical() {
	r.t.Helper()
	differences, err := testtree.Compare(r.at("ref"), r.at("dst"))
	r.must(err)
	for _, line := range differences {
		r.t.Errorf("differs from the one rsync: %s", line)
	}
	r.untouched()
	r.left()
}

// untouched finds changes to what symlinks lead to.
func (r *run) untouched() {
	r.t.Helper()
	differences, err := testtree.Compare(r.at("outside.before"), r.at("outside"))
	r.must(err)
	for _, line := range differences {
		r.t.Errorf("changed outside of the trees: %s", line)
	}
}

// difference is one line of Compare.
type difference struct{ path, what string }

// compare says in what two trees differ. Of a group of hard links the names that unknown tells of
// do not count; the others do.
func (r *run) compare(a, b string, unknown func(name string) bool) []difference {
	r.t.Helper()
	lines, err := testtree.Compare(r.at(a), r.at(b), testtree.HardLinks)
	r.must(err)
	var differences []difference
	for _, line := range lines {
		path, what, err := testtree.Split(line)
		r.must(err)
		differences = append(differences, difference{path, what})
	}
	differences = append(differences, r.attributes(a, b)...)
	type file struct {
		tree string
		ino  uint64
	}
	first := map[file]string{}
	_, names := r.list(r.at(a))
	for _, name := range names {
		var firsts [2]string
		for i, tree := range []string{a, b} {
			info, err := os.Lstat(r.at(tree) + "/" + name)
			if err != nil || info.IsDir() || unknown(name) {
				break // the first is one of the differences above
			}
			key := file{tree, info.Sys().(*syscall.Stat_t).Ino}
			if first[key] == "" {
				first[key] = name
			}
			firsts[i] = first[key]
		}
		if firsts[1] != "" && firsts[0] != firsts[1] {
			differences = append(differences, difference{name, fmt.Sprintf("the same file as %q and as %q", firsts[0], firsts[1])})
		}
	}
	return differences
}

// attributes says in what extended attributes and access control lists two trees differ.
func (r *run) attributes(a, b string) (differences []difference) {
	r.t.Helper()
	dirs, files := r.list(r.at(a))
	for _, name := range slices.Concat(dirs, files) {
		one, two := r.options.attributes(r.at(a)+"/"+name), r.options.attributes(r.at(b)+"/"+name)
		if one != nil && two != nil && !maps.Equal(one, two) {
			differences = append(differences, difference{name, fmt.Sprintf("attributes %q and %q", one, two)})
		}
	}
	return differences
}

// attributes are those of a file or a directory, nil if there is none. Those that are not asked for stay as they are where
// files stay, which of a group of links it may be.
func (o options) attributes(path string) map[string]string {
	buffer := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buffer)
	if err != nil {
		return nil
	}
	found := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buffer[:n]), "\x00"), "\x00") {
		if acl := strings.HasPrefix(name, "system.posix_acl_"); acl && !o.ACLs || !acl && !o.XAttrs {
			continue
		}
		value := make([]byte, 64<<10)
		if n, err := unix.Lgetxattr(path, name, value); err == nil {
			found[name] = string(value[:n])
		}
	}
	return found
}

// spared gives which names may be at the destination in another form by a fault: one that an rsync has left that was
// killed or had no room, as long as nothing deletes it; and what something was mounted over for a while. Where there is
// --delete that is as it was before.
func (r *run) spared() func(name string) bool {
	r.t.Helper()
	as := map[string]bool{} // the names that are not as before
	if len(r.covered) > 0 {
		for _, d := range r.compare("prior", "dst", func(string) bool { return false }) {
			as[d.path] = true
		}
	}
	return func(name string) bool {
		if r.cutOff && !r.options.Delete && testtree.Temporary(name) {
			_, err := os.Lstat(r.at("ref") + "/" + name)
			return err != nil
		}
		return below(name, r.covered) && !(r.options.Delete && as[name])
	}
}

// stamped tells whether something has the time at which it was made or changed, in both trees.
func (r *run) stamped(path string) bool {
	return !slices.ContainsFunc([]string{"ref", "dst"}, func(tree string) bool {
		info, err := os.Lstat(r.at(tree) + "/" + path)
		return err != nil || info.ModTime().Before(r.began)
	})
}

// allowed tells whether the package comment allows a name to be at the destination in any form, or
// not to be there.
func (r *run) allowed(c *changer, path string) bool {
	return below(path, c.deep) && !c.stayed(path) || r.leftover(c, path)
}

// foreign tells whether a name at the destination is not the session's to care for: because it is
// excluded, or the source does not have it.
func (r *run) foreign(name string, excluded []string) bool {
	_, err := os.Lstat(r.from() + "/" + name)
	return err != nil || below(name, excluded)
}

// leftover tells whether something has been in the source and is there no longer, and need not be
// deleted.
func (r *run) leftover(c *changer, path string) bool {
	_, err := os.Lstat(r.from() + "/" + path)
	return !r.options.Delete && err != nil && below(path, c.gone)
}

// left finds znodes that the run has left behind.
func (r *run) left() {
	r.t.Helper()
	zk, err := zkclient.Connect(r.t.Context(), zkclient.Config{Servers: []string{server.Addr()}, User: "root", Password: "admin"})
	r.must(err)
	defer zk.Close()
	names, err := zk.Children(r.t.Context(), wire.Base+"/"+r.name)
	r.must(err)
	stay := []string{"lock", "watch", "parties", "portlock", "usedports", "portmap", "dests", "destslock", "keys", "status"}
	for _, name := range names {
		if !slices.Contains(stay, name) {
			r.t.Errorf("znode %s is left after the run", name)
		}
	}
}
