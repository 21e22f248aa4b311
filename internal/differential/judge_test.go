// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vsc-zk/internal/session"
	"vsc-zk/internal/testtree"
	"vsc-zk/internal/zkclient"
)

// reference makes REF with the one rsync, and tells whether it managed all.
func (r *run) reference() bool {
	r.t.Helper()
	args := append(r.options.rsyncArgs(r.at("src")), "--", r.at("src")+"/", r.at("ref")+"/")
	ctx, cancel := context.WithTimeout(r.t.Context(), deadline)
	defer cancel()
	out, err := exec.CommandContext(ctx, "rsync", args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 23) {
		r.t.Fatalf("rsync %q: %v: %s", args, err, out)
	}
	if err != nil {
		r.t.Logf("the one rsync: %v: %s", err, out)
	}
	return err == nil
}

// failedEntries reads what the master says has failed, relative to the source.
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
		rel, err := filepath.Rel(r.at("src"), path)
		switch {
		case kind == "l":
			single = append(single, path) // the names of links, in JSON
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

// judge compares what the run has made with what the one rsync makes. c is nil if nothing was changed during the run.
func (r *run) judge(runErr error, c *changer) {
	r.t.Helper()
	if runErr != nil && !errors.Is(runErr, session.ErrIncomplete) {
		r.t.Errorf("the master: %v", runErr)
	}
	managed := r.reference()
	switch {
	case c != nil && runErr != nil && r.options.delete:
		r.t.Errorf("nothing is in the way, and yet: %v", runErr)
	case c != nil: // without --delete, what was sent before may be in the way
	case managed && runErr != nil:
		r.t.Errorf("the one rsync manages all, the session does not: %v", runErr)
	case !managed && runErr == nil:
		r.t.Errorf("the one rsync does not manage all, and the session does not say so")
	}
	differences, err := testtree.Compare(r.at("ref"), r.at("dst"))
	r.must(err)
	var recursive, single []string
	if runErr != nil {
		recursive, single = r.failedEntries()
	}
	links := map[bool]string{true: "-H", false: "without -H"}[r.options.hardLinks]
	fromSource, err := testtree.Compare(r.at("src"), r.at("dst"))
	r.must(err)
	excluded := r.options.excluded(r.at("src"))
	wrong := map[string]string{}
	for _, line := range fromSource {
		path, rest := r.cutName(line)
		wrong[path] = rest
	}
	for _, line := range differences {
		path, rest := r.cutName(line)
		switch {
		case !managed && wrong[path] == "":
			continue // the session does better: it is as in the source
		case strings.HasPrefix(rest, "modified ") && r.kept(path):
			continue
		case slices.ContainsFunc(r.linkNames(path, rest), func(name string) bool { return r.foreign(name, excluded) }):
			continue
		case c != nil && r.allowed(c, path, rest):
			continue
		case below(path, recursive), slices.Contains(single, path), slices.Contains(single, filepath.Dir(path)):
			continue // it was said
		}
		r.t.Errorf("differs from the one rsync (%s): %s; source and destination: %s", links, line, wrong[path])
	}
	r.untouched()
	r.left()
}

// identical compares without any allowance.
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

// untouched finds what was done to that which links lead to.
func (r *run) untouched() {
	r.t.Helper()
	differences, err := testtree.Compare(r.at("outside.before"), r.at("outside"))
	r.must(err)
	for _, line := range differences {
		r.t.Errorf("changed outside of the trees: %s", line)
	}
}

// cutName parts a line of Compare.
func (r *run) cutName(line string) (path, rest string) {
	r.t.Helper()
	quoted, err := strconv.QuotedPrefix(line)
	r.must(err)
	path, err = strconv.Unquote(quoted)
	r.must(err)
	return path, strings.TrimPrefix(line[len(quoted):], ": ")
}

// kept tells whether only an exclude pattern has kept a directory from being deleted: what was around it was, and its
// modification time is when.
func (r *run) kept(path string) bool {
	_, err := os.Lstat(r.at("src") + "/" + path)
	return r.options.delete && r.options.exclude != "" && err != nil
}

// allowed are the differences that the package comment allows.
func (r *run) allowed(c *changer, path, what string) bool {
	if below(path, c.deep) {
		return true
	}
	if r.leftover(c, path) {
		return true
	}
	return slices.ContainsFunc(r.linkNames(path, what), func(name string) bool { return below(name, c.deep) || r.leftover(c, name) })
}

// linkNames are the names in a line of Compare about hard links, none in any other.
func (r *run) linkNames(path, what string) []string {
	r.t.Helper()
	rest, ok := strings.CutPrefix(what, "the same file as ")
	if !ok {
		return nil
	}
	names := []string{path}
	for rest != "" {
		quoted, err := strconv.QuotedPrefix(rest)
		r.must(err)
		name, err := strconv.Unquote(quoted)
		r.must(err)
		names = append(names, name)
		rest = strings.TrimPrefix(rest[len(quoted):], " and as ")
	}
	return names
}

// foreign tells whether a name at the destination is none of the session's business: excluded, or not in the source.
func (r *run) foreign(name string, excluded []string) bool {
	_, err := os.Lstat(r.at("src") + "/" + name)
	return err != nil || below(name, excluded)
}

// leftover tells whether something has been in the source, is there no longer, and need not be deleted.
func (r *run) leftover(c *changer, path string) bool {
	_, err := os.Lstat(r.at("src") + "/" + path)
	return !r.options.delete && err != nil && below(path, c.gone)
}

// left finds znodes of the run that its end has left.
func (r *run) left() {
	r.t.Helper()
	zk, err := zkclient.Connect(r.t.Context(), zkclient.Config{Servers: []string{server.Addr()}, User: "root", Password: "admin"})
	r.must(err)
	defer zk.Close()
	names, err := zk.Children(r.t.Context(), session.Base+"/"+r.name)
	r.must(err)
	stay := []string{"lock", "watch", "parties", "portlock", "usedports", "portmap", "dests", "destslock"}
	for _, name := range names {
		if !slices.Contains(stay, name) {
			r.t.Errorf("znode %s is left after the run", name)
		}
	}
}
