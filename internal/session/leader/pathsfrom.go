// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"vsc-zk/internal/session/member"
	"vsc-zk/internal/session/wire"
)

// pathsFile is what a file that --failed has written holds. Its parts have to be sent one after the
// other.
type pathsFile struct {
	tasks     []wire.Task
	leftovers []wire.Task // deletions in directories that were sent in ranges
	links     []wire.Task // nothing else may be sent after them
	hash      string
}

// listed is what PathsFrom holds. It is read once: it may be a pipe, or be changed while the session runs.
func (l *Leader) listed() (pathsFile, error) {
	if l.list == nil {
		f, err := readPaths(l.cfg.PathsFrom, l.base.Dir)
		if err != nil {
			return f, err
		}
		l.list = &f
	}
	return *l.list, nil
}

// hashList tells one list from another.
func hashList(list io.Reader) (string, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, list)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// Fits tells whether a leader with this configuration could go on with the session: it needs the list of paths
// that the session is about. One that came out of a pipe nobody has a second time.
func (c Config) Fits(ctx context.Context, m *member.Member) (bool, error) {
	meta, _, ok, err := m.Meta(ctx)
	path := cmp.Or(c.PathsFrom, c.Changed)
	if err != nil || !ok || meta.Plan.List == "" && path == "" {
		return err == nil, err
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return false, nil
	}
	defer file.Close()
	hash, err := hashList(file)
	return err == nil && hash == meta.Plan.List, nil
}

// readPaths reads such a file. Every line has to be an entry below base. What is named twice, or is part
// of another line, is left out: two runs over one directory would delete each other's files.
func readPaths(path, base string) (f pathsFile, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return f, fmt.Errorf("cannot read the paths: %w", err)
	}
	if f.hash, err = hashList(bytes.NewReader(data)); err != nil {
		return f, err
	}
	number := 0
	seen := covered{}
	for line := range strings.Lines(string(data)) {
		number++
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			continue
		}
		if strings.HasPrefix(line, `"`) {
			if line, err = strconv.Unquote(line); err != nil {
				return f, fmt.Errorf("cannot read %s, line %d: the quotes are not closed rightly", path, number)
			}
		}
		task := wire.DecodeTask([]byte(line))
		err := task.Err
		if err == nil {
			_, err = task.Within(base)
		}
		switch {
		case err != nil:
			return f, fmt.Errorf("cannot read %s, line %d: %w", path, number, err)
		case task.Kind == wire.Links:
			f.links = append(f.links, task)
		case task.Kind == wire.Leftovers:
			f.leftovers = append(f.leftovers, task)
		default:
			f.tasks = append(f.tasks, task)
			seen.add(task)
		}
	}
	once := map[wire.Text]bool{}
	rest := func(tasks []wire.Task) (kept []wire.Task) {
		for _, task := range tasks {
			if !once[task.Value] && !seen.has(task, base) {
				kept = append(kept, task)
			}
			once[task.Value] = true
		}
		return kept
	}
	f.tasks, f.leftovers = rest(f.tasks), rest(f.leftovers)
	return f, nil
}

// covered holds the directories that are sent as a whole: with all below them (true), or with their own
// content.
type covered map[string]bool

func (c covered) add(task wire.Task) {
	if task.Kind != wire.Range {
		c[task.Dir] = c[task.Dir] || task.Kind == wire.Recursive
	}
}

// has tells whether something larger covers a task.
func (c covered) has(task wire.Task, base string) bool {
	dir := task.Dir
	recursive, here := c[dir]
	if here && (recursive && task.Kind != wire.Recursive || task.Kind == wire.Range || task.Kind == wire.Leftovers) {
		return true
	}
	for len(dir) > len(base) {
		dir = dir[:strings.LastIndexByte(dir, '/')]
		if c[dir] {
			return true
		}
	}
	return false
}
