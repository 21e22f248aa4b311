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
	lost    int    // entries that the file missed since it could last be written
	grows   bool   // it was said that the file cannot be rotated
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

// Output takes the output of children: copied as it is, at levels INFO and DEBUG
// only. With JSON each line becomes a record of the logger "output".
func (l *Log) Output() io.Writer {
	switch {
	case l.level > slog.LevelInfo:
		return io.Discard
	case l.json:
		return writerFunc(l.writeLines)
	}
	return writerFunc(l.raw)
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

// record writes one record to both sinks.
func (l *Log) record(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.toStderr(b, true)
	l.toFile(b, true)
}

// raw writes a piece of child output to both sinks.
func (l *Log) raw(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.toStderr(b, false)
	l.toFile(b, false)
}

// toStderr begins a record on a line of its own. There is nowhere to say that
// writing failed.
func (l *Log) toStderr(b []byte, record bool) {
	b = onOwnLine(b, record && l.midLine)
	if len(b) == 0 {
		return
	}
	_, _ = l.stderr.Write(b)
	l.midLine = b[len(b)-1] != '\n'
}

// toFile writes to the file and sees to it that stderr tells what the file
// cannot hold.
func (l *Log) toFile(b []byte, record bool) {
	if l.file == nil {
		return
	}
	if l.lost > 0 {
		missing := l.own(slog.LevelWarn, fmt.Sprintf("%d log entries are missing here: the file could not be written", l.lost))
		if l.file.write(missing, true) != nil {
			l.lost++
			return
		}
		l.toStderr(l.own(slog.LevelWarn, fmt.Sprintf("log file %s can be written again", l.file.path)), true)
		l.lost = 0
	}
	if err := l.file.write(b, record); err != nil {
		l.lost = 1
		l.toStderr(l.own(slog.LevelError, fmt.Sprintf("cannot write the log file, entries go to stderr only until it can be written again: %s", err)), true)
	}
	if err := l.file.rotateFailed; err != nil && !l.grows {
		l.grows = true
		both := l.own(slog.LevelError, fmt.Sprintf("cannot rotate the log file, it grows until that works again: %s", err))
		l.toStderr(both, true)
		_ = l.file.write(both, true) // stderr has it
	} else if err == nil {
		l.grows = false
	}
}

// own is a record about the log itself, in the log's format.
func (l *Log) own(level slog.Level, message string) []byte {
	r := slog.NewRecord(time.Now(), level, message, 0)
	if l.json {
		return encodeJSON(r, l.program, nil)
	}
	h := handler{log: l, logger: l.program}
	return []byte(h.line(r))
}

// onOwnLine puts a newline in front of b if what came before did not end in one.
func onOwnLine(b []byte, midLine bool) []byte {
	if !midLine {
		return b
	}
	return append([]byte{'\n'}, b...)
}

// encodeJSON leaves the format to log/slog, apart from the names of the levels,
// which are those of the text form.
func encodeJSON(r slog.Record, logger string, attrs []slog.Attr) []byte {
	var b bytes.Buffer
	out := slog.NewRecord(r.Time, r.Level, printable(r.Message), 0)
	out.AddAttrs(slog.String("logger", printable(logger)))
	out.AddAttrs(attrs...)
	json := slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey {
			return slog.String(a.Key, levelName(level))
		}
		if err, ok := a.Value.Any().(error); ok {
			return slog.String(a.Key, printable(err.Error()))
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
	l.record(encodeJSON(r, "output", nil))
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// DefaultDir is the directory of the log and pid files of a program unless told
// otherwise: /tmp/<program>, shared by name with the users before us.
func DefaultDir(program string) string { return "/tmp/" + program }
