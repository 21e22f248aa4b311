// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsc-zk/internal/level"
)

// openLog opens a log, at level INFO unless told otherwise, with a file in a directory of its own.
func openLog(t *testing.T, cfg LogConfig, maxBytes int64, backups int) (l *Log, stderr *bytes.Buffer, file string) {
	t.Helper()
	stderr = new(bytes.Buffer)
	cfg.Program, cfg.Stderr = "zkrsync", stderr
	file = filepath.Join(t.TempDir(), "x.log")
	l = NewLog(cfg)
	if err := l.Open(LogFile{Path: file, MaxBytes: maxBytes, BackupCount: backups}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, stderr, file
}

// timestamps cuts the time off every line that begins with one.
var timestamps = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} `)

func TestLineFormat(t *testing.T) {
	there := time.FixedZone("there", 7200)
	at := time.Date(2026, 11, 22, 21, 1, 59, 870_999_999, there)
	for _, c := range []struct {
		level   slog.Level
		logger  string
		message string
		fields  []any
		want    string
	}{
		{slog.LevelInfo, "RsyncSource", "No active session", nil,
			"INFO       RsyncSource     MainThread  No active session"},
		{slog.LevelWarn, "RsyncDestination", "Wanted to activate destination localhost:26513, but old state was active", nil,
			"WARNING    RsyncDestination MainThread  Wanted to activate destination localhost:26513, but old state was active"},
		{slog.LevelError, "zkrsync", "Invalid depth!", nil, "ERROR      zkrsync         MainThread  Invalid depth!"},
		{slog.LevelDebug, "kazoo.client", "a", nil, "DEBUG      kazoo.client    MainThread  a"},
		{slog.LevelInfo, "x", "two\nlines", nil, "INFO       x               MainThread  two\nlines"},
		{slog.LevelInfo, "x", "a", []any{"path", "/p", "count", 3, "error", errors.New("b")}, "INFO       x               MainThread  a"},
		{slog.LevelInfo, "x", "a", []any{"logger", "y\x1b"}, `INFO       "y\x1b"         MainThread  a`},
		// What a terminal would obey, or a reader misread, is quoted, line by line.
		{slog.LevelInfo, "x", "/a\xffb\x1b[31m\r", nil, `INFO       x               MainThread  "/a\xffb\x1b[31m\r"`},
		{slog.LevelInfo, "x", "one\ntw\u0085o\nthr\u202eee", nil, "INFO       x               MainThread  one\n" + `"tw\u0085o"` + "\n" + `"thr\u202eee"`},
	} {
		r := slog.NewRecord(at, c.level, c.message, 0)
		r.Add(c.fields...)
		want := at.Local().Format("2006-01-02 15:04:05") + ",870 " + c.want + "\n"
		if diff := cmp.Diff(want, string(NewLog(LogConfig{}).handler(c.logger).format(r))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLoggerColumn(t *testing.T) {
	var stderr bytes.Buffer
	l := NewLog(LogConfig{Program: "zkrsync", Stderr: &stderr})
	l.Logger().Info("a")
	l.Logger().With("logger", "RsyncSource").Info("b")
	l.Logger().With("logger", "RsyncSource").With("path", "/p").With("logger", "kazoo.client").Info("c", "count", 1)
	l.Logger().WithGroup("g").Info("d", "logger", "not the column")
	want := `INFO       zkrsync         MainThread  a
INFO       RsyncSource     MainThread  b
INFO       kazoo.client    MainThread  c
INFO       zkrsync         MainThread  d
`
	if diff := cmp.Diff(want, timestamps.ReplaceAllString(stderr.String(), "")); diff != "" {
		t.Error(diff)
	}
}

func TestBothSinksAgree(t *testing.T) {
	l, stderr, file := openLog(t, LogConfig{}, 0, 0)
	l.Logger().Debug("not this")
	l.Logger().Info("one")
	fmt.Fprint(l.Output(false), "child\nwithout an end")
	l.Logger().Warn("two")
	fmt.Fprint(l.Output(false), "\x1b[2J\r\nmore\n\n")
	l.Logger().Error("three")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := "INFO       zkrsync         MainThread  Logging to file " + file + ":\n" +
		"INFO       zkrsync         MainThread  one\nchild\nwithout an end\n" +
		"WARNING    zkrsync         MainThread  two\n" + `"\x1b[2J"` + "\nmore\n\n" +
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
	for lowest, want := range map[slog.Level]string{
		slog.LevelDebug: "Ldiwec",
		slog.LevelInfo:  "Liwec",
		slog.LevelWarn:  "we",
		slog.LevelError: "e",
	} {
		l, stderr, file := openLog(t, LogConfig{Level: lowest}, 0, 0)
		l.Logger().Debug("d")
		l.Logger().Info("i")
		l.Logger().Warn("w")
		l.Logger().Error("e")
		fmt.Fprintln(l.Output(false), "c")
		var got strings.Builder
		for line := range strings.Lines(timestamps.ReplaceAllString(stderr.String(), "")) {
			words := strings.Fields(line)
			got.WriteString(map[bool]string{true: "L", false: words[len(words)-1]}[strings.Contains(line, "Logging to file")])
		}
		if got.String() != want {
			t.Errorf("%s: got %s, want %s", lowest, got.String(), want)
		}
		if readFile(t, file) != stderr.String() {
			t.Errorf("%s: the file differs", lowest)
		}
	}
}

// objects decodes a log in JSON, and checks and drops the times.
func objects(t *testing.T, log string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if at, err := time.Parse(time.RFC3339Nano, object["time"].(string)); err != nil || time.Since(at) > time.Minute {
			t.Errorf("time %v", object["time"])
		}
		delete(object, "time")
		all = append(all, object)
	}
	return all
}

// path is a type of paths, which may have any byte.
type path string

// byWhom has a form of its own for the log.
type byWhom struct{ host, pid string }

func (b byWhom) LogValue() slog.Value { return slog.StringValue(b.host + ":" + b.pid) }

type outcome int

func (o *outcome) String() string { return "outcome " + strconv.Itoa(int(*o)) }

func TestJSON(t *testing.T) {
	l, stderr, file := openLog(t, LogConfig{JSON: true}, 0, 0)
	log := l.Logger().With("logger", "RsyncSource", "path", "/earlier", "attempt", 1)
	log.Warn("a \xff\n\"b\"", "path", path("/x\xfe"), "bytes", int64(1)<<40, "error", errors.New("no \xfd"), "attempt", 2)
	log.Info("values", "path", []byte("1_/x\x00"), "seconds", 1500*time.Millisecond, "source", byWhom{"h", "1"},
		"flags", []string{"a", "b\n"}, "ok", true, "rate", 0.5, "none", nil, "no outcome", (*outcome)(nil), "outcome", new(outcome))
	log.Info("quotes", "path", `"/x\xfe"`, "file", `/a"b\`, "error", errors.Join(errors.New("c"), errors.New("d")))
	log.WithGroup("g").With("a", 1).Info("groups", slog.Group("h", "b", 2, "a", 3), slog.Group("", "c", 4), "logger", "not the column")
	log.Info("not a number", "rate", math.NaN(), "x", func() {})
	fmt.Fprint(l.Output(false), "one\ntwo\x1b\r\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	with := func(message string, fields map[string]any) map[string]any {
		all := map[string]any{"level": "INFO", "logger": "RsyncSource", "msg": message, "path": "/earlier", "attempt": 1.0}
		for key, value := range fields {
			all[key] = value
		}
		return all
	}
	got := objects(t, stderr.String())
	for _, key := range []string{"rate", "x"} { // log/slog says why it cannot be
		if text, ok := got[5][key].(string); !ok || !strings.HasPrefix(text, "!ERROR:") {
			t.Errorf("%s is %v", key, got[5][key])
		}
	}
	want := []map[string]any{
		{"level": "INFO", "logger": "zkrsync", "msg": "Logging to file " + file + ":", "file": file},
		with(`"a \xff"`+"\n\"b\"", map[string]any{"level": "WARNING", "path": `"/x\xfe"`, "bytes": float64(1 << 40), "error": `"no \xfd"`, "attempt": 2.0}),
		with("values", map[string]any{"path": `"1_/x\x00"`, "seconds": 1.5, "source": "h:1", "flags": []any{"a", `"b\n"`}, "ok": true, "rate": 0.5,
			"none": nil, "no outcome": "<nil>", "outcome": "outcome 0"}),
		with("quotes", map[string]any{"path": `"\"/x\\xfe\""`, "file": `/a"b\`, "error": `"c\nd"`}),
		with("groups", map[string]any{"g.a": 1.0, "g.h.b": 2.0, "g.h.a": 3.0, "g.c": 4.0, "g.logger": "not the column"}),
		with("not a number", map[string]any{"rate": got[5]["rate"], "x": got[5]["x"]}),
		{"level": "INFO", "logger": "output", "msg": "one"},
		{"level": "INFO", "logger": "output", "msg": `"two\x1b"`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if readFile(t, file) != stderr.String() {
		t.Error("the file differs")
	}
}

// One name is in an object once, whatever the order: readers of JSON disagree about two.
func TestJSONNamesAreUnique(t *testing.T) {
	var stderr bytes.Buffer
	log := NewLog(LogConfig{JSON: true, Stderr: &stderr}).Logger().With("path", "a")
	one, two := log.With("path", "b"), log.With("path", "c")
	one.Info("x", "path", "d", "path", "e")
	two.Info("x")
	one.Info("x")
	var got []any
	for _, object := range objects(t, stderr.String()) {
		got = append(got, object["path"])
	}
	if diff := cmp.Diff([]any{"e", "c", "b"}, got); diff != "" || strings.Count(stderr.String(), `"path"`) != 3 {
		t.Errorf("%s\n%s", diff, stderr.String())
	}
}

// Whatever bytes a text has, it prints, and its bytes can be had again.
func FuzzReversible(f *testing.F) {
	for _, text := range []string{"", "/a b", "größe", `"`, `"a"`, `"a\x00"`, "\xff", "a\nb", "\u0085", "\u202e", "\ufffd", "\U0001f600"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var stderr bytes.Buffer
		NewLog(LogConfig{JSON: true, Stderr: &stderr}).Logger().Info("x", "path", text)
		var object struct{ Path string }
		if err := json.Unmarshal(stderr.Bytes(), &object); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(object.Path, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q does not print", object.Path)
		}
		if strings.HasPrefix(object.Path, `"`) {
			var err error
			if object.Path, err = strconv.Unquote(object.Path); err != nil {
				t.Error(err)
			}
		}
		if object.Path != text {
			t.Errorf("%q is read for %q", object.Path, text)
		}
	})
}

// The handler keeps the rules of log/slog.
func TestHandlerRules(t *testing.T) {
	var stderr bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		stderr.Reset()
		return NewLog(LogConfig{JSON: true, Stderr: &stderr}).handler("x")
	}, func(t *testing.T) map[string]any {
		var object map[string]any
		if err := json.Unmarshal(stderr.Bytes(), &object); err != nil {
			t.Fatal(err)
		}
		nested := map[string]any{}
		for name, value := range object {
			into := nested
			parts := strings.Split(name, ".")
			for _, group := range parts[:len(parts)-1] {
				if into[group] == nil {
					into[group] = map[string]any{}
				}
				into = into[group].(map[string]any)
			}
			into[parts[len(parts)-1]] = value
		}
		return nested
	})
}

func TestFullDisk(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		l, stderr, file := openLog(t, LogConfig{JSON: asJSON}, 0, 0)
		good := l.file.file
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = full.Close() }()

		l.file.file = full
		l.Logger().Info("lost 1")
		l.Logger().Info("lost 2")
		fmt.Fprintln(l.Output(false), "lost 3")
		l.file.file = good
		l.Logger().Info("kept")

		for text, count := range map[string]int{"lost ": 3, "cannot write the log file": 1, "x.log can be written again": 1, "kept": 1} {
			if got := strings.Count(stderr.String(), text); got != count {
				t.Errorf("stderr has %q %d times, not %d:\n%s", text, got, count, stderr.String())
			}
		}
		inFile := readFile(t, file)
		if strings.Contains(inFile, "lost ") || !strings.Contains(inFile, "3 log entries are missing here") || !strings.Contains(inFile, "kept") {
			t.Errorf("the file has\n%s", inFile)
		}
		if !asJSON {
			continue
		}
		if said := objects(t, stderr.String())[2]; said["file"] != file || !strings.Contains(fmt.Sprint(said["error"]), "no space left on device") {
			t.Errorf("said %v", said)
		}
		if said := objects(t, inFile)[1]; said["file"] != file || said["count"] != 3.0 {
			t.Errorf("the file says %v", said)
		}
	}
}

func TestUnusableFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), "")
	for _, path := range []string{dir, filepath.Join(dir, "file", "x.log"), "/proc/nonexistent/x.log"} {
		err := NewLog(LogConfig{Program: "zkrsync", Stderr: io.Discard}).Open(LogFile{Path: path})
		if err == nil || !strings.HasPrefix(err.Error(), "cannot log to '"+path+"'") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestConcurrentRecordsStayWhole(t *testing.T) {
	l, _, file := openLog(t, LogConfig{}, 4000, 100)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				l.Logger().Info("message", "path", "/p")
				fmt.Fprintln(l.Output(false), "child")
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
	want := map[string]int{"INFO       zkrsync         MainThread  message\n": 800, "child\n": 800}
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

// Details are in the file only, but for DEBUG; notices are everywhere, but for who wants it quiet.
func TestLevelsBeside(t *testing.T) {
	for _, c := range []struct {
		config       LogConfig
		shown, filed string
	}{
		{LogConfig{Level: slog.LevelDebug}, "ndc", "ndc"},
		{LogConfig{Level: slog.LevelInfo}, "n", "ndc"},
		{LogConfig{Level: slog.LevelWarn}, "n", "n"},
		{LogConfig{Level: slog.LevelWarn, Quiet: true}, "", "n"},
	} {
		l, stderr, file := openLog(t, c.config, 0, 0)
		log := l.Logger()
		log.Log(t.Context(), level.Notice, "n")
		log.Log(t.Context(), level.Detail, "d")
		fmt.Fprintln(l.Output(true), "c")
		for _, got := range []struct{ name, text, want string }{{"stderr", stderr.String(), c.shown}, {"the file", readFile(t, file), c.filed}} {
			letters := ""
			for line := range strings.Lines(got.text) {
				if words := strings.Fields(line); len(words[len(words)-1]) == 1 {
					letters += words[len(words)-1]
				}
				if strings.Contains(line, "DEBUG") {
					t.Errorf("%s: %s", got.name, line)
				}
			}
			if letters != got.want {
				t.Errorf("%+v: %s has %q, want %q", c.config, got.name, letters, got.want)
			}
		}
	}
}

// Whatever is written stands above the live line, which is there again behind it.
func TestLiveLine(t *testing.T) {
	l, stderr, file := openLog(t, LogConfig{Level: slog.LevelWarn}, 0, 0)
	l.Live("1 of 2")
	l.Live("1 of 2")
	l.Logger().Warn("w")
	fmt.Fprint(l.Beside(stderr), "other\n")
	l.Pass("passed")
	l.Live("2 of 2")
	l.Live("")
	l.Logger().Warn("end")
	const erase = "\r\x1b[K"
	got := regexp.MustCompile(`[-0-9]{10} [0-9:,]{12} `).ReplaceAllString(stderr.String(), "")
	want := erase + "1 of 2" + erase + "WARNING    zkrsync         MainThread  w\n1 of 2" + erase + "other\n1 of 2" +
		erase + "INFO       zkrsync         MainThread  passed\n1 of 2" + erase + "2 of 2" + erase + "WARNING    zkrsync         MainThread  end\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if text := readFile(t, file); strings.Contains(text, "of 2") || strings.Contains(text, "passed") {
		t.Errorf("the file has %q", text)
	}
}
