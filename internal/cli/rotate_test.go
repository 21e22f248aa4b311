// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pythonRotation writes records of the given lengths with Python's own handler.
const pythonRotation = `
import json, logging, logging.handlers, sys
job = json.load(sys.stdin)
handler = logging.handlers.RotatingFileHandler(job["path"], maxBytes=job["max"], backupCount=job["backups"])
for i, length in enumerate(job["lengths"]):
    handler.emit(logging.makeLogRecord({"msg": "%d %s" % (i, "x" * length)}))
`

func TestRotationIsPythons(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		max     int64
		backups int
		records int
	}{{200, 5, 100}, {200, 1, 30}, {1000, 3, 60}, {200, 0, 30}, {0, 5, 30}, {1 << 20, 5, 30}} {
		lengths := make([]int, c.records)
		for i := range lengths {
			lengths[i] = random.IntN(90)
		}
		theirs, ours := filepath.Join(t.TempDir(), "x.log"), filepath.Join(t.TempDir(), "x.log")
		job, err := json.Marshal(map[string]any{"path": theirs, "max": c.max, "backups": c.backups, "lengths": lengths})
		if err != nil {
			t.Fatal(err)
		}
		python(t, pythonRotation, bytes.NewBuffer(job))

		f, err := openRotating(ours, c.max, c.backups)
		if err != nil {
			t.Fatal(err)
		}
		for i, length := range lengths {
			record := []byte(strconv.Itoa(i) + " " + strings.Repeat("x", length) + "\n")
			if err := f.write(record); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(contents(t, theirs), contents(t, ours)); diff != "" {
			t.Errorf("max %d, backups %d: -python +ours\n%s", c.max, c.backups, diff)
		}
	}
}

// contents gives what the files of a log hold, by the end of their names.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, name := range names {
		texts[strings.TrimPrefix(name, path)] = readFile(t, name)
	}
	return texts
}

// A record that is longer than the limit gets a file of its own. An empty file is not kept.
func TestRotationOfLongRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	f, err := openRotating(path, 5, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first record\n", "second record\n"} {
		if err := f.write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"": "second record\n", ".1": "first record\n"}
	if diff := cmp.Diff(want, contents(t, path)); diff != "" {
		t.Error(diff)
	}
}

// Two processes that log to one file rotate it once, not twice.
func TestRotationByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	one, err := openRotating(path, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	two, err := openRotating(path, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range []struct {
		f    *rotatingFile
		text string
	}{{one, "111111\n"}, {two, "222222\n"}, {one, "3\n"}, {two, "4\n"}} {
		if err := w.f.write([]byte(w.text)); err != nil {
			t.Fatal(i, err)
		}
	}
	want := map[string]string{"": "222222\n4\n", ".1": "111111\n3\n"}
	if diff := cmp.Diff(want, contents(t, path)); diff != "" {
		t.Error(diff)
	}
	if err := one.write([]byte("55555\n")); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{"": "222222\n4\n55555\n", ".1": "111111\n3\n"}
	if got := contents(t, path); got[".1"] != want[".1"] || got[".2"] != "" {
		t.Errorf("rotated twice: %q", got)
	}
}

// A file that cannot be renamed grows; stderr and the file say so once.
func TestRotationFails(t *testing.T) {
	l, stderr, file := openLog(t, LogConfig{}, 200, 1)
	// A directory with content stands in the way of the rename.
	if err := os.MkdirAll(filepath.Join(file+".1", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		l.Logger().Info("record")
	}
	for name, text := range map[string]string{"stderr": stderr.String(), "file": readFile(t, file)} {
		if strings.Count(text, "record\n") != 5 || strings.Count(text, "cannot rotate the log file") != 1 {
			t.Errorf("%s has\n%s", name, text)
		}
	}
	if err := os.RemoveAll(file + ".1"); err != nil {
		t.Fatal(err)
	}
	l.Logger().Info("rotated")
	if text := readFile(t, file); !strings.HasSuffix(text, "rotated\n") || strings.Contains(text, "record\n") {
		t.Errorf("the file has\n%s", text)
	}
}

// A record that the disk takes only in part does not spoil the next one's line.
func TestTornRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	f, err := openRotating(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	good := f.file
	read, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	go func() {
		_, _ = read.Read(make([]byte, 1))
		_ = read.Close()
	}()
	f.file = pipe
	if err := f.write(bytes.Repeat([]byte("x"), 1<<20)); err == nil {
		t.Fatal("a closed pipe took all")
	}
	f.file = good
	for _, record := range []string{"one\n", "two\n"} {
		if err := f.write([]byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	if got := readFile(t, path); got != "\none\ntwo\n" {
		t.Errorf("the file has %q", got)
	}
}

// What is no regular file is never renamed.
func TestRotationOfDevices(t *testing.T) {
	f, err := openRotating("/dev/null", 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := f.write([]byte("record\n")); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode().IsRegular() {
		t.Errorf("/dev/null: %v %v", info, err)
	}
}
