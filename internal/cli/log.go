// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// LogConfig says what is logged, and how.
type LogConfig struct {
	Level   slog.Level
	JSON    bool   // one JSON object a line
	Quiet   bool   // what is shown at every level is not
	Program string // the logger of records that name none
	Stderr  io.Writer

	// Heard is told every message from INFO on, also those below Level; nil: nobody is.
	Heard func(level slog.Level, message string)
}

// LogFile is where the log goes beside stderr.
type LogFile struct {
	// Path has its template already expanded; empty: no file. Directories that are missing are
	// made, for the user alone. PrivateFile says what becomes of a file in the default directory, and
	// package private of one where others can make files, too. A new file has mode 0640, or less.
	Path string

	// MaxBytes and BackupCount bound the file: a record that would bring it to MaxBytes or more
	// first makes it Path.1, the old Path.1 becomes Path.2, and so on up to Path.<BackupCount>. If
	// either is 0 the file grows without bound.
	MaxBytes    int64
	BackupCount int
}

// Log writes records and the output of children to stderr and, once there is one, to a file. It is
// safe for concurrent use.
//
// A file that can no longer be written (a full disk) does not stop the program: stderr says so,
// once, and goes on showing the records; when the file can be written again it says how many it
// misses.
type Log struct {
	level   slog.Level
	json    bool
	program string
	quiet   bool
	heard   func(level slog.Level, message string) // nil: nobody

	mu     sync.Mutex
	stderr io.Writer
	live   string // what stands below all else on the terminal; "": nothing
	file   *rotatingFile
	lost   int  // records that the file misses since it could last be written
	grows  bool // it was said that the file cannot be rotated
}

// NewLog makes a log to stderr.
func NewLog(cfg LogConfig) *Log {
	return &Log{level: cfg.Level, quiet: cfg.Quiet, json: cfg.JSON, program: cfg.Program, stderr: cfg.Stderr, heard: cfg.Heard}
}

// Open adds the file, which gets everything from the line that names it on.
func (l *Log) Open(f LogFile) error {
	if f.Path == "" {
		return nil
	}
	path, note, err := PrivateFile(f.Path, DefaultDir(l.program))
	if err != nil {
		return fmt.Errorf("cannot log to %s: %w", quote(f.Path), err)
	}
	file, err := openRotating(path, f.MaxBytes, f.BackupCount)
	if err != nil {
		return fmt.Errorf("cannot log to %s: %w", quote(path), err)
	}
	l.mu.Lock()
	l.file = file
	l.mu.Unlock()
	l.Logger().Info(fmt.Sprintf("Logging to file %s:", path), "file", path)
	if note != "" {
		l.Logger().Warn(note, "file", path)
	}
	return nil
}

// Reopen closes the file, if there is one, and goes on in the one that has its name now: somebody has renamed the
// old one.
func (l *Log) Reopen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return
	}
	_ = l.file.close() // what was written stands
	l.file.torn = false
	l.toFile(l.own(slog.LevelInfo, fmt.Sprintf("Logging to file %s:", l.file.path), slog.String("file", l.file.path)))
}

// Logger returns the logger of the program itself.
func (l *Log) Logger() *slog.Logger { return slog.New(l.handler(l.program)) }

func (l *Log) handler(logger string) *handler { return &handler{log: l, logger: logger} }

// Output takes the output of children, whole lines in each call, at levels INFO and DEBUG only. What is a detail stderr
// gets at DEBUG only. The
// text form shows the lines bare; in JSON each is a record of the logger "output".
func (l *Log) Output(detail bool) io.Writer {
	if l.level > slog.LevelInfo {
		return io.Discard
	}
	return writerFunc(func(lines []byte) { l.output(lines, !detail || l.level < slog.LevelInfo) })
}

func (l *Log) output(lines []byte, shown bool) {
	var b bytes.Buffer
	for line := range strings.Lines(string(lines)) {
		line = strings.TrimRight(line, "\r\n")
		if l.json {
			b.Write(l.handler("output").format(slog.NewRecord(time.Now(), slog.LevelInfo, line, 0)))
		} else {
			b.WriteString(printable(line) + "\n")
		}
	}
	l.write(b.Bytes(), shown)
}

// Close ends the log file; records that come later go to stderr alone.
func (l *Log) Close() error {
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

// write writes whole lines to the file and, if they are to be shown, to stderr.
func (l *Log) write(lines []byte, shown bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if shown {
		l.show(lines)
	}
	if l.file != nil {
		l.toFile(lines)
	}
}

// eraseLine is what a terminal takes its line back with.
const eraseLine = "\r\x1b[K"

// show writes whole lines to stderr, above the live one. If stderr cannot be written there is nowhere to say so.
func (l *Log) show(lines []byte) {
	if l.live != "" {
		lines = slices.Concat([]byte(eraseLine), lines, []byte(l.live))
	}
	_, _ = l.stderr.Write(lines)
}

// Live has a line stand below all else on stderr, which has to be a terminal and wide enough, in place of the one
// before; "" takes it away.
func (l *Log) Live(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line != l.live {
		_, _ = io.WriteString(l.stderr, eraseLine+line)
	}
	l.live = line
}

// Pass shows something on stderr at every level, and leaves it out of the file.
func (l *Log) Pass(message string, fields ...slog.Attr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.show(l.own(slog.LevelInfo, message, fields...))
}

// Beside is a writer to another stream that may be the same terminal.
func (l *Log) Beside(w io.Writer) io.Writer { return beside{l, w} }

type beside struct {
	log *Log
	w   io.Writer
}

func (b beside) Write(p []byte) (int, error) {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	if b.log.live != "" {
		_, _ = io.WriteString(b.log.stderr, eraseLine)
		defer func() { _, _ = io.WriteString(b.log.stderr, b.log.live) }()
	}
	return b.w.Write(p)
}

// toFile writes to the file, and has stderr tell what the file cannot hold.
func (l *Log) toFile(lines []byte) {
	file := slog.String("file", l.file.path)
	if l.lost > 0 {
		missing := l.own(slog.LevelWarn, fmt.Sprintf("%d log entries are missing here: the file could not be written", l.lost), file, slog.Int("count", l.lost))
		if l.file.write(missing) != nil {
			l.lost++
			return
		}
		l.show(l.own(slog.LevelWarn, fmt.Sprintf("log file %s can be written again", l.file.path), file))
		l.lost = 0
	}
	if err := l.file.write(lines); err != nil {
		l.lost = 1
		l.show(l.own(slog.LevelError,
			fmt.Sprintf("cannot write the log file, entries go to stderr only until it can be written again: %s", err), file, slog.Any("error", err)))
	}
	if err := l.file.rotateFailed; err != nil && !l.grows {
		l.grows = true
		both := l.own(slog.LevelError, fmt.Sprintf("cannot rotate the log file, it grows until that works again: %s", err), file, slog.Any("error", err))
		l.show(both)
		_ = l.file.write(both) // stderr has it
	} else if err == nil {
		l.grows = false
	}
}

// own is a record about the log itself.
func (l *Log) own(level slog.Level, message string, fields ...slog.Attr) []byte {
	r := slog.NewRecord(time.Now(), level, message, 0)
	r.AddAttrs(fields...)
	return l.handler(l.program).format(r)
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// DefaultDir is the directory of a program's log and pid files unless the user names another one:
// /tmp/<program>, which users of the Python program know, and may share with others.
func DefaultDir(program string) string { return "/tmp/" + program }
