// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// LogConfig says where the log goes.
type LogConfig struct {
	Level slog.Level

	// File, its template already expanded, gets everything from the line that
	// names it on; empty: no file. Directories that are missing are made, for
	// the user alone. See PrivateFile for the directory of the default.
	File string

	// Before a record that would bring File to MaxBytes or more, File becomes
	// File.1, File.1 becomes File.2, and so on to File.<BackupCount>. If either
	// is 0 the file grows without bound.
	MaxBytes    int64
	BackupCount int

	JSON    bool   // one JSON object a line
	Program string // the logger of records that name none
	Stderr  io.Writer
}

// Log writes records and the output of children to stderr and, if there is one,
// to a file. It is safe for concurrent use.
//
// A file that can no longer be written (a full disk) does not stop the program:
// stderr says so, once, the records go on appearing there, and the file says
// how many are missing when it can be written again.
type Log struct {
	level   slog.Level
	json    bool
	program string

	mu      sync.Mutex
	stderr  io.Writer
	midLine bool // stderr: what was written last did not end its line
	file    *rotatingFile
	lost    int    // records that the file missed
	partial []byte // JSON: a line of child output that is not complete yet
}

// OpenLog opens the log and, with a file, writes its first line.
func OpenLog(cfg LogConfig) (*Log, error) {
	l := &Log{level: cfg.Level, json: cfg.JSON, program: cfg.Program, stderr: cfg.Stderr}
	if cfg.File == "" {
		return l, nil
	}
	path, note, err := PrivateFile(cfg.File, DefaultDir(cfg.Program))
	if err != nil {
		return nil, fmt.Errorf("cannot log to %s: %w", quote(cfg.File), err)
	}
	if l.file, err = openRotating(path, cfg.MaxBytes, cfg.BackupCount); err != nil {
		return nil, fmt.Errorf("cannot log to %s: %w", quote(path), err)
	}
	l.Logger().Info(fmt.Sprintf("Logging to file %s:", path))
	if note != "" {
		l.Logger().Warn(note)
	}
	return l, nil
}

// Logger returns the logger of the program itself.
func (l *Log) Logger() *slog.Logger { return slog.New(&handler{log: l, logger: l.program}) }

// File is the path of the log file, empty if there is none.
func (l *Log) File() string {
	if l.file == nil {
		return ""
	}
	return l.file.path
}

// Output takes the output of children: copied as it is, at levels INFO and DEBUG
// only. With JSON each line becomes a record of the logger "output".
func (l *Log) Output() io.Writer {
	switch {
	case l.level > slog.LevelInfo:
		return io.Discard
	case l.json:
		return writerFunc(l.writeLines)
	}
	return writerFunc(func(b []byte) { l.write(b) })
}

// Close ends the log file; records that come later go to stderr alone.
func (l *Log) Close() error {
	l.mu.Lock()
	rest := l.partial
	l.partial = nil
	l.mu.Unlock()
	if len(rest) > 0 {
		l.outputRecord(rest)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.close()
	l.file = nil
	if err != nil {
		return fmt.Errorf("cannot close the log file: %w", err)
	}
	return nil
}

// write copies b, one record or a piece of child output, to both sinks.
func (l *Log) write(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.toStderr(b)
	if l.file == nil {
		return
	}
	if l.lost > 0 {
		missing := l.record(slog.LevelWarn, fmt.Sprintf("%d records are missing here: the file could not be written", l.lost))
		if l.file.write(missing) != nil {
			l.lost++
			return
		}
		l.toStderr(l.record(slog.LevelWarn, fmt.Sprintf("log file %s can be written again", l.file.path)))
		l.lost = 0
	}
	if err := l.file.write(b); err != nil {
		l.lost++
		l.toStderr(l.record(slog.LevelError, fmt.Sprintf("cannot write the log file, records go to stderr only until it can be written again: %s", err)))
	}
}

// toStderr writes to stderr. There is nowhere to say that this failed.
func (l *Log) toStderr(b []byte) {
	if len(b) == 0 {
		return
	}
	_, _ = l.stderr.Write(b)
}

// record is a record about the log itself, in the log's format.
func (l *Log) record(level slog.Level, message string) []byte {
	r := slog.NewRecord(time.Now(), level, message, 0)
	if l.json {
		return l.encodeJSON(r, l.program, nil)
	}
	h := handler{log: l, logger: l.program}
	return []byte(h.line(r))
}

func (l *Log) writeJSON(_ context.Context, r slog.Record, logger string, attrs []slog.Attr) error {
	l.write(l.encodeJSON(r, logger, attrs))
	return nil
}

// encodeJSON leaves the format to log/slog, apart from the names of the levels,
// which are those of the text form.
func (l *Log) encodeJSON(r slog.Record, logger string, attrs []slog.Attr) []byte {
	var b bytes.Buffer
	out := slog.NewRecord(r.Time, r.Level, printable(r.Message), 0)
	out.AddAttrs(slog.String("logger", printable(logger)))
	out.AddAttrs(attrs...)
	json := slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey {
			return slog.String(a.Key, levelName(level))
		}
		if a.Value.Kind() == slog.KindString {
			return slog.String(a.Key, printable(a.Value.String()))
		}
		return a
	}})
	_ = json.Handle(context.Background(), out) // writing to a buffer cannot fail
	return b.Bytes()
}

// writeLines makes records of the whole lines of child output.
func (l *Log) writeLines(b []byte) {
	l.mu.Lock()
	whole := append(l.partial, b...)
	end := bytes.LastIndexByte(whole, '\n') + 1
	l.partial = bytes.Clone(whole[end:])
	whole = whole[:end]
	l.mu.Unlock()
	for line := range bytes.Lines(whole) {
		l.outputRecord(line)
	}
}

func (l *Log) outputRecord(line []byte) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, strings.TrimRight(string(line), "\r\n"), 0)
	l.write(l.encodeJSON(r, "output", nil))
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// DefaultDir is the directory of the log and pid files of a program unless told
// otherwise: /tmp/<program>, shared by name with the users before us.
func DefaultDir(program string) string { return "/tmp/" + program }
