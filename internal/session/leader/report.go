// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"vsc-zk/internal/private"
	"vsc-zk/internal/session/wire"
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

// header is the first line of a report.
type header struct {
	Type    string    `json:"type"`
	Session string    `json:"session"`
	Source  wire.Text `json:"source"`
	Time    string    `json:"time"`
	Run     string    `json:"run"` // the same in all parts of a run's report
}

// open makes the report of a run that begins; path may be "".
func (r *report) open(path, session, source, run string) error {
	return r.openWith(os.O_TRUNC, path, session, source, run)
}

// goOn writes on for a run that another leader has begun, in the same file if it has that.
func (r *report) goOn(path, session, source, run string) error {
	flags := os.O_TRUNC
	if file, err := os.Open(path); err == nil {
		var first header
		if json.NewDecoder(file).Decode(&first) == nil && first.Run == run {
			flags = os.O_APPEND
		}
		file.Close()
	}
	return r.openWith(flags, path, session, source, run)
}

func (r *report) openWith(flags int, path, session, source, run string) error {
	r.leave()
	if path == "" {
		return nil
	}
	file, err := private.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o640)
	if err != nil {
		r.broken = fmt.Errorf("cannot write the report: %w", err)
		return r.broken
	}
	r.file, r.out, r.broken = file, json.NewEncoder(wire.Harmless(file)), nil
	r.out.SetEscapeHTML(false)
	r.write(header{"header", session, wire.Text(source), now(), run})
	return r.broken
}

// leave ends the report without a total: another leader writes on, or nothing was begun.
func (r *report) leave() {
	if r.file != nil {
		if err := r.file.Close(); err != nil && r.broken == nil {
			r.log.Error(fmt.Sprintf("cannot write the report: %v", err), "error", err)
		}
		r.file, r.out = nil, nil
	}
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
		r.log.Error(r.broken.Error(), "error", err)
	}
}

// add writes a line for each path of a result. Attempts, seconds, bytes and who
// are null where a Python slave, which does not tell, has done it.
func (r *report) add(res wire.Result) {
	for _, path := range res.Paths {
		line := struct {
			Type        string       `json:"type"`
			Path        wire.Text    `json:"path"`
			Outcome     wire.Outcome `json:"outcome"`
			Attempts    *int         `json:"attempts"`
			Seconds     *float64     `json:"seconds"`
			Bytes       *int64       `json:"bytes"`
			Who         *string      `json:"who"`
			Batch       int          `json:"batch,omitempty"` // paths in the run, which seconds and bytes are of
			Errors      []string     `json:"errors,omitempty"`
			Differences int          `json:"differences,omitempty"`
			Examples    []string     `json:"examples,omitempty"` // the first of them
		}{Type: "path", Path: path, Outcome: res.Outcome, Errors: res.Errors, Differences: res.Differences, Examples: res.Examples}
		if len(res.Paths) > 1 {
			line.Batch = len(res.Paths)
		}
		if res.Who != wire.UnknownWorker {
			line.Attempts, line.Seconds, line.Bytes, line.Who = &res.Attempts, &res.Seconds, &res.Bytes, &res.Who
		}
		r.write(line)
	}
}

// unfinished writes a line for a path that nobody has ended.
func (r *report) unfinished(path wire.Text) {
	r.left = append(append(r.left, path.Line()...), '\n')
	r.write(struct {
		Type    string    `json:"type"`
		Path    wire.Text `json:"path"`
		Outcome string    `json:"outcome"`
	}{"path", path, "unfinished"})
}

// close writes the total and the file of failed paths.
func (r *report) close(queued int, failed []wire.Text, counts wire.Counts) error {
	r.write(struct {
		Type   string `json:"type"`
		Time   string `json:"time"`
		Queued int    `json:"queued"`
		wire.Counts
	}{"total", now(), queued, counts})
	err := r.broken
	if r.file != nil {
		err = errors.Join(err, r.file.Close())
		r.file, r.out = nil, nil
	}
	if r.failed != "" {
		lines := r.left
		for _, path := range failed {
			lines = append(append(lines, path.Line()...), '\n')
		}
		if e := renameio.WriteFile(r.failed, lines, 0o640, beside(r.failed), renameio.WithStaticPermissions(0o640)); e != nil {
			err = errors.Join(err, fmt.Errorf("cannot write the failed paths to %s: %w", r.failed, e))
			for line := range strings.Lines(string(lines)) {
				line = strings.TrimSuffix(line, "\n")
				r.log.Error("To be sent again: "+line, "path", line)
			}
		}
	}
	return err
}
