// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsc-zk/internal/session/wire"

	"github.com/google/go-cmp/cmp"
)

var doneTime = time.Unix(1795381907, 353541000)

const doneStats = `{"py/tuple": [1795381907.353541, {"unfinished": 1, "failed": 2, "completed": 3, "vanished": 4, "changed": 5, "skipped": 6}]}`

func writeDone(t *testing.T, path string) (problem error) {
	t.Helper()
	problem, err := writeDoneFile(path, wire.Counts{Unfinished: 1, Failed: 2, Completed: 3, Vanished: 4, Changed: 5, Skipped: 6}, doneTime)
	if err != nil {
		t.Fatal(err)
	}
	return problem
}

// pythonReads is how a Python program sees the file.
func pythonReads(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("/usr/bin/python3", "-c",
		"import gzip,json,sys; t=gzip.open(sys.argv[1]).read().decode(); json.loads(t); sys.stdout.write(t)", path).CombinedOutput()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	return string(out)
}

func gz(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDoneFileIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "done.gz")
	if problem := writeDone(t, path); problem != nil {
		t.Error(problem)
	}
	if diff := cmp.Diff(`{"stats": `+doneStats+`}`, pythonReads(t, path)); diff != "" {
		t.Error(diff)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Method, FNAME, time in little endian, best compression, unknown system,
	// the name without .gz.
	want := append([]byte{0x1f, 0x8b, 8, 8, 0x93, 0x5a, 0x03, 0x6b, 2, 0xff}, "done\x00"...)
	if diff := cmp.Diff(want, data[:len(want)]); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o644 {
		t.Errorf("mode %v, want 0644", info.Mode())
	}
}

func TestDoneFileWithoutSlash(t *testing.T) {
	t.Chdir(t.TempDir())
	writeDone(t, "done.gz")
	if got := pythonReads(t, "done.gz"); !strings.Contains(got, doneStats) {
		t.Error(got)
	}
}

func TestDoneFileMerges(t *testing.T) {
	future := `{"py/tuple": [9995381907.5, {"unfinished": 9}]}`
	for _, c := range []struct {
		name    string
		before  []byte
		want    string
		problem bool
	}{
		{"other keys are kept, in order", gz(t, `{"z": [1, 2.50], "stats": {"py/tuple": [1.5, {}]}, "a": {"b": 1e3}}`),
			`{"z": [1, 2.50], "stats": ` + doneStats + `, "a": {"b": 1e3}}`, false},
		{"stats is added", gz(t, `{"z": 1}`), `{"z": 1, "stats": ` + doneStats + `}`, false},
		{"an entry of the future stays", gz(t, `{"stats": `+future+`}`), `{"stats": ` + future + `}`, false},
		{"stats of another form", gz(t, `{"stats": 5}`), `{"stats": ` + doneStats + `}`, false},
		{"empty", nil, `{"stats": ` + doneStats + `}`, true},
		{"plain text", []byte("hello"), `{"stats": ` + doneStats + `}`, true},
		{"not an object", gz(t, `[1]`), `{"stats": ` + doneStats + `}`, true},
		{"not JSON", gz(t, `{"a"`), `{"stats": ` + doneStats + `}`, true},
		{"truncated", gz(t, `{"a": "`+strings.Repeat("x", 1000)+`"}`)[:25], `{"stats": ` + doneStats + `}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "done.gz")
			if err := os.WriteFile(path, c.before, 0o666); err != nil {
				t.Fatal(err)
			}
			if problem := writeDone(t, path); (problem != nil) != c.problem {
				t.Errorf("problem %v, want one: %v", problem, c.problem)
			}
			if diff := cmp.Diff(c.want, pythonReads(t, path)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDoneFileThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir")
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := writeDoneFile(path, wire.Counts{}, doneTime); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the file", err)
	}
}
