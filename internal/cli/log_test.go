// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// openLog opens a log at level INFO with a file in a directory of its own.
func openLog(t *testing.T, change func(*LogConfig)) (l *Log, stderr *bytes.Buffer, file string) {
	t.Helper()
	stderr = new(bytes.Buffer)
	cfg := LogConfig{Level: slog.LevelInfo, File: filepath.Join(t.TempDir(), "x.log"), Program: "zkrsync", Stderr: stderr}
	if change != nil {
		change(&cfg)
	}
	l, err := OpenLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, stderr, cfg.File
}

// timestamps cuts the time off every line that begins with one.
var timestamps = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} `)

func TestLineFormat(t *testing.T) {
	utc := time.FixedZone("there", 7200)
	at := time.Date(2026, 11, 22, 21, 1, 59, 870_999_999, utc)
	for _, c := range []struct {
		level   slog.Level
		logger  string
		message string
		attrs   []any
		want    string
	}{
		{slog.LevelInfo, "RsyncSource", "No active session", nil,
			"INFO       RsyncSource     MainThread  No active session"},
		{slog.LevelWarn, "RsyncDestination", "Wanted to activate destination localhost:26513, but old state was active", nil,
			"WARNING    RsyncDestination MainThread  Wanted to activate destination localhost:26513, but old state was active"},
		{slog.LevelError, "zkrsync", "Invalid depth!", nil, "ERROR      zkrsync         MainThread  Invalid depth!"},
		{slog.LevelDebug, "kazoo.client", "a", nil, "DEBUG      kazoo.client    MainThread  a"},
		{slog.LevelInfo, "x", "two\nlines", nil, "INFO       x               MainThread  two\nlines"},
		{slog.LevelInfo, "x", "a", []any{"path", "/p", "n", 3, "took", 2 * time.Second, "ok", true},
			"INFO       x               MainThread  a path=/p n=3 took=2s ok=true"},
		{slog.LevelInfo, "x", "a", []any{"path", "/a b", "empty", "", "quoted", `"`, "pair", "k=v", "lines", "a\nb", "bytes", "a\xff"},
			"INFO       x               MainThread  a path=\"/a b\" empty=\"\" quoted=\"\\\"\" pair=\"k=v\" lines=\"a\\nb\" bytes=\"a\\xff\""},
		{slog.LevelInfo, "x", "/a\xffb\x1b[31m\r", nil, `INFO       x               MainThread  /a\xffb\x1b[31m\x0d`},
		{slog.LevelInfo, "x", "a", []any{slog.Group("g", "h", 1), "err", errors.New("b c")}, `INFO       x               MainThread  a g.h=1 err="b c"`},
	} {
		h := handler{log: &Log{}, logger: c.logger}
		r := slog.NewRecord(at, c.level, c.message, 0)
		r.Add(c.attrs...)
		for _, a := range attrsOf(r) {
			h.add(a, "")
		}
		want := at.Local().Format("2006-01-02 15:04:05") + ",870 " + c.want + "\n"
		if diff := cmp.Diff(want, h.line(r)); diff != "" {
			t.Error(diff)
		}
	}
}

func attrsOf(r slog.Record) (attrs []slog.Attr) {
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	return attrs
}

func TestLoggerColumn(t *testing.T) {
	l, stderr, _ := openLog(t, func(c *LogConfig) { c.File = "" })
	l.Logger().Info("a")
	l.Logger().With("logger", "RsyncSource").Info("b")
	l.Logger().With("logger", "RsyncSource").With("path", "/p").With("logger", "kazoo.client").Info("c", "n", 1)
	l.Logger().With("host", "h").WithGroup("g").With("a", 1).Info("d", "logger", "not the column", "logger2", 2)
	base := l.Logger().With("x", 1)
	base.With("y", 2).Info("e")
	base.With("z", 3).Info("f")
	want := `INFO       zkrsync         MainThread  a
INFO       RsyncSource     MainThread  b
INFO       kazoo.client    MainThread  c path=/p n=1
INFO       zkrsync         MainThread  d host=h g.a=1 g.logger="not the column" g.logger2=2
INFO       zkrsync         MainThread  e x=1 y=2
INFO       zkrsync         MainThread  f x=1 z=3
`
	if diff := cmp.Diff(want, timestamps.ReplaceAllString(stderr.String(), "")); diff != "" {
		t.Error(diff)
	}
}

func TestBothSinksAgree(t *testing.T) {
	l, stderr, file := openLog(t, nil)
	l.Logger().Debug("not this")
	l.Logger().Info("one")
	fmt.Fprint(l.Output(), "child\nunfinished")
	l.Logger().Warn("two")
	fmt.Fprint(l.Output(), "more\n")
	l.Logger().Error("three")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := "INFO       zkrsync         MainThread  Logging to file " + file + ":\n" +
		"INFO       zkrsync         MainThread  one\nchild\nunfinished\n" +
		"WARNING    zkrsync         MainThread  two\nmore\n" +
		"ERROR      zkrsync         MainThread  three\n"
	if diff := cmp.Diff(want, timestamps.ReplaceAllString(stderr.String(), "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(stderr.String(), readFile(t, file)); diff != "" {
		t.Error(diff)
	}
	l.Logger().Warn("after the end")
	if !strings.Contains(stderr.String(), "after the end") {
		t.Error("a closed log keeps quiet on stderr")
	}
}

func TestLevels(t *testing.T) {
	for level, want := range map[slog.Level]string{
		slog.LevelDebug: "Ldiwec",
		slog.LevelInfo:  "Liwec",
		slog.LevelWarn:  "we",
		slog.LevelError: "e",
	} {
		l, stderr, file := openLog(t, func(c *LogConfig) { c.Level = level })
		l.Logger().Debug("d")
		l.Logger().Info("i")
		l.Logger().Warn("w")
		l.Logger().Error("e")
		fmt.Fprintln(l.Output(), "c")
		var got strings.Builder
		for line := range strings.Lines(timestamps.ReplaceAllString(stderr.String(), "")) {
			words := strings.Fields(line)
			got.WriteString(map[bool]string{true: "L", false: words[len(words)-1]}[strings.Contains(line, "Logging to file")])
		}
		if got.String() != want {
			t.Errorf("%s: got %s, want %s", level, got.String(), want)
		}
		if readFile(t, file) != stderr.String() {
			t.Errorf("%s: the file differs", level)
		}
	}
}

func TestJSON(t *testing.T) {
	l, stderr, file := openLog(t, func(c *LogConfig) { c.JSON = true })
	l.Logger().With("logger", "RsyncSource").Warn("a \xff\n\"b\"", "path", "/x\xfe", "n", 3, "err", errors.New("no \xfd"))
	fmt.Fprint(l.Output(), "one\nt")
	fmt.Fprint(l.Output(), "wo\nrest")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	for line := range strings.Lines(stderr.String()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if at, err := time.Parse(time.RFC3339Nano, object["time"].(string)); err != nil || time.Since(at) > time.Minute {
			t.Errorf("time %v", object["time"])
		}
		delete(object, "time")
		got = append(got, object)
	}
	want := []map[string]any{
		{"level": "INFO", "logger": "zkrsync", "msg": "Logging to file " + file + ":"},
		{"level": "WARNING", "logger": "RsyncSource", "msg": "a \\xff\n\"b\"", "path": `/x\xfe`, "n": 3.0, "err": `no \xfd`},
		{"level": "INFO", "logger": "output", "msg": "one"},
		{"level": "INFO", "logger": "output", "msg": "two"},
		{"level": "INFO", "logger": "output", "msg": "rest"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if readFile(t, file) != stderr.String() {
		t.Error("the file differs")
	}
}

func TestFullDisk(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		l, stderr, file := openLog(t, func(c *LogConfig) { c.JSON = asJSON })
		good := l.file.file
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = full.Close() }()

		l.file.file = full
		l.Logger().Info("lost 1")
		l.Logger().Info("lost 2")
		fmt.Fprintln(l.Output(), "lost 3")
		l.file.file = good
		l.Logger().Info("kept")

		for text, count := range map[string]int{"lost ": 3, "cannot write the log file": 1, "no space left on device": 1, "x.log can be written again": 1, "kept": 1} {
			if got := strings.Count(stderr.String(), text); got != count {
				t.Errorf("stderr has %q %d times, not %d:\n%s", text, got, count, stderr.String())
			}
		}
		inFile := readFile(t, file)
		if strings.Contains(inFile, "lost ") || !strings.Contains(inFile, "3 log entries are missing here") || !strings.Contains(inFile, "kept") {
			t.Errorf("the file has\n%s", inFile)
		}
	}
}

func TestUnusableFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), "")
	for _, path := range []string{dir, filepath.Join(dir, "file", "x.log"), "/proc/nonexistent/x.log"} {
		_, err := OpenLog(LogConfig{File: path, Program: "zkrsync", Stderr: io.Discard})
		if err == nil || !strings.HasPrefix(err.Error(), "cannot log to '"+path+"'") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestConcurrentRecordsStayWhole(t *testing.T) {
	l, _, file := openLog(t, func(c *LogConfig) { c.MaxBytes, c.BackupCount = 4000, 100 })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				l.Logger().Info("message", "key", "value")
				fmt.Fprintln(l.Output(), "child")
			}
		})
	}
	wg.Wait()
	counts := map[string]int{}
	files, err := filepath.Glob(file + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		for line := range strings.Lines(timestamps.ReplaceAllString(readFile(t, f), "")) {
			counts[line]++
		}
	}
	delete(counts, "INFO       zkrsync         MainThread  Logging to file "+file+":\n")
	want := map[string]int{"INFO       zkrsync         MainThread  message key=value\n": 800, "child\n": 800}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Error(diff)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
