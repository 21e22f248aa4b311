// SPDX-License-Identifier: LGPL-2.1-or-later

package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/renameio/v2"
)

// report writes what became of every path, while it becomes known: to --report
// as JSON lines (a header, a line a path, a total), and the failed entries to
// --failed, from where --paths-from reads them. A path that was sent again by a
// later pass has a line for each; when the earlier one is a failure, the total
// counts the later one only.
type report struct {
	file   *os.File
	out    *json.Encoder
	failed string // path of --failed
	left   []byte // lines of --failed for what nobody has ended
	log    *slog.Logger
	broken error // why the report is not complete
}

// openReport makes the report; both files may be "".
func openReport(path, failed, session, source string, log *slog.Logger) (*report, error) {
	r := &report{failed: failed, log: log}
	if path == "" {
		return r, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot write the report: %w", err)
	}
	r.file, r.out = file, json.NewEncoder(file)
	r.out.SetEscapeHTML(false)
	r.write(struct {
		Type    string `json:"type"`
		Session string `json:"session"`
		Source  text   `json:"source"`
		Time    string `json:"time"`
	}{"header", session, text(source), now()})
	return r, r.broken
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

// write adds a line. A report that cannot be written on does not end a run of
// days: that is said at once, and again at the end.
func (r *report) write(line any) {
	if r.out == nil || r.broken != nil {
		return
	}
	if err := r.out.Encode(line); err != nil {
		r.broken = fmt.Errorf("cannot write the report: %w; it ends here", err)
		r.log.Error(r.broken.Error())
	}
}

// add writes a line for each path of a result. Attempts, seconds, bytes and who
// are null where a Python slave, which does not tell, has done it.
func (r *report) add(res result) {
	for _, path := range res.Paths {
		line := struct {
			Type        string   `json:"type"`
			Path        text     `json:"path"`
			Outcome     outcome  `json:"outcome"`
			Attempts    *int     `json:"attempts"`
			Seconds     *float64 `json:"seconds"`
			Bytes       *int64   `json:"bytes"`
			Who         *string  `json:"who"`
			Batch       int      `json:"batch,omitempty"` // paths in the run, which seconds and bytes are of
			Errors      []string `json:"errors,omitempty"`
			Differences int      `json:"differences,omitempty"`
			Examples    []string `json:"examples,omitempty"` // the first of them
		}{Type: "path", Path: path, Outcome: res.Outcome, Errors: res.Errors, Differences: res.Differences, Examples: res.Examples}
		if len(res.Paths) > 1 {
			line.Batch = len(res.Paths)
		}
		if res.Who != unknownSlave {
			line.Attempts, line.Seconds, line.Bytes, line.Who = &res.Attempts, &res.Seconds, &res.Bytes, &res.Who
		}
		r.write(line)
	}
}

// unfinished writes a line for a path that nobody has ended.
func (r *report) unfinished(value []byte) {
	r.left = append(append(r.left, entryLine(string(value))...), '\n')
	r.write(struct {
		Type    string `json:"type"`
		Path    text   `json:"path"`
		Outcome string `json:"outcome"`
	}{"path", text(value), "unfinished"})
}

// close writes the total and the file of failed paths.
func (r *report) close(queued int, failed map[text]bool, counts Counts) error {
	r.write(struct {
		Type   string `json:"type"`
		Time   string `json:"time"`
		Queued int    `json:"queued"`
		Counts
	}{"total", now(), queued, counts})
	err := r.broken
	if r.file != nil {
		err = errors.Join(err, r.file.Close())
		r.file, r.out = nil, nil
	}
	if r.failed != "" {
		lines := r.left
		for _, path := range slices.Sorted(maps.Keys(failed)) {
			lines = append(append(lines, entryLine(string(path))...), '\n')
		}
		if e := renameio.WriteFile(r.failed, lines, 0o644, renameio.WithStaticPermissions(0o644)); e != nil {
			err = errors.Join(err, fmt.Errorf("cannot write the failed paths: %w", e))
		}
	}
	return err
}

// entryLine is an entry as --failed and --paths-from have it, one a line: as it
// is, or quoted as in Go if a line could not hold it.
func entryLine(entry string) string {
	if strings.HasPrefix(entry, `"`) || !utf8.ValidString(entry) || strings.ContainsFunc(entry, unicode.IsControl) {
		return strconv.Quote(entry)
	}
	return entry
}

// entryFile is what a file that --failed has written holds. Its parts have to be
// sent one after the other.
type entryFile struct {
	entries   [][]byte
	leftovers [][]byte // deletions in directories that were sent in ranges
	links     [][]byte // nothing else may be sent after them
}

// readEntries reads such a file. Every line has to be an entry below base. What is
// named twice, or is part of another line, is left out: two runs over one
// directory would delete each other's files.
func readEntries(path, base string) (f entryFile, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return f, fmt.Errorf("cannot read the paths: %w", err)
	}
	number := 0
	seen := covered{}
	var entries, leftovers [][]byte
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
		job, err := decodeTask([]byte(line))
		if err == nil {
			_, err = job.within(base)
		}
		switch {
		case err != nil:
			return f, fmt.Errorf("cannot read %s, line %d: %w", path, number, err)
		case job.links != nil:
			f.links = append(f.links, []byte(line))
		case job.leftovers:
			leftovers = append(leftovers, []byte(line))
		default:
			entries = append(entries, []byte(line))
			seen.add(job)
		}
	}
	once := map[string]bool{}
	keep := func(value []byte) bool {
		job, _ := decodeTask(value) // which has been read above
		if once[string(value)] || seen.has(job, base) {
			return false
		}
		once[string(value)] = true
		return true
	}
	for _, value := range entries {
		if keep(value) {
			f.entries = append(f.entries, value)
		}
	}
	for _, value := range leftovers {
		if keep(value) {
			f.leftovers = append(f.leftovers, value)
		}
	}
	return f, nil
}

// covered holds the directories that are sent as a whole: with all below them
// (true), or with their own content.
type covered map[string]bool

func (c covered) add(job task) {
	if job.names == nil {
		c[job.entry.Path] = c[job.entry.Path] || job.entry.Recursive
	}
}

// has tells whether something larger covers a task.
func (c covered) has(job task, base string) bool {
	dir := job.entry.Path
	recursive, here := c[dir]
	if here && (recursive && !job.entry.Recursive || job.names != nil || job.leftovers) {
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
