// SPDX-License-Identifier: LGPL-2.1-or-later

package leader

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vsc-zk/internal/session/wire"
)

// written is a list of changes in a file.
func written(t *testing.T, text string) (*changes, error) {
	t.Helper()
	name := t.TempDir() + "/list"
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := openChanges(name, "/data")
	if err == nil {
		t.Cleanup(func() { c.file.Close() })
	}
	return c, err
}

func names(t *testing.T, c *changes) (all []string) {
	t.Helper()
	if err := c.each(func(rel string) error { all = append(all, rel); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestChanges(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                   nil,
		"a\nb/c\n":                           {"a", "b/c"},
		"a\nb":                               {"a", "b"},
		"a\n\n./b//c/\n.\n":                  {"a", "b/c"},
		"/data/a\n/data\n/data/\n":           {"a"},
		"a\nb\x00c\x00":                      {"a\nb", "c"},
		"\xff \t\"\x00":                      {"\xff \t\""},
		"a..b\n..c\n":                        {"a..b", "..c"},
		strings.Repeat("x/", 2000) + "\nb\n": {strings.Repeat("x/", 1999) + "x", "b"},
	} {
		c, err := written(t, text)
		if err != nil {
			t.Errorf("%.40q: %v", text, err)
			continue
		}
		if got := names(t, c); !slices.Equal(got, want) {
			t.Errorf("%.40q: %.80q", text, got)
		}
	}
	for text, want := range map[string]string{
		"a\n/other/b\n": "line 2: /other/b is not below /data", "/database\n": "line 1: ", "a\n../b\n": "line 2: ", "a\x00/data/../b\x00": "line 2: ",
		strings.Repeat("x", 5000): "line 1: ", strings.Repeat("x", 100_000): "line 1: ",
	} {
		if _, err := written(t, text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// All names are in tasks of a bounded size, which are the same each time.
func TestChangesAsTasks(t *testing.T) {
	var text strings.Builder
	var want []string
	for i := range 3000 {
		name := fmt.Sprintf("%0*d", i%200+5, i)
		want = append(want, name)
		text.WriteString(name + "\n")
	}
	c, err := written(t, text.String())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	var tasks []wire.Task
	add := func(task wire.Task) error { tasks = append(tasks, task); return nil }
	if err := c.tasks(0, add); err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if len(task.Files) > changedNames || len(task.Value) > 2*changedBytes {
			t.Errorf("%d names in %d bytes", len(task.Files), len(task.Value))
		}
		for _, file := range task.Files {
			all = append(all, string(file))
		}
	}
	if !slices.Equal(all, want) {
		t.Errorf("%d names, want %d", len(all), len(want))
	}
	before := tasks
	tasks = nil
	if err := c.tasks(3, add); err != nil || len(tasks) != len(before)-3 || tasks[0].Value != before[3].Value {
		t.Errorf("%d tasks after the third of %d, %v", len(tasks), len(before), err)
	}
}

// Ten million lines out of a pipe need no more memory than a few.
func TestManyChanges(t *testing.T) {
	const lines = 10_000_000
	pipe := t.TempDir() + "/pipe"
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		file, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err == nil {
			buffered := bufio.NewWriter(file)
			for i := range lines {
				fmt.Fprintf(buffered, "d%d/f%d\n", i/1000, i)
			}
			err = buffered.Flush()
			file.Close()
		}
		wrote <- err
	}()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	c, err := openChanges(pipe, "/data")
	if err != nil {
		t.Fatal(err)
	}
	defer c.file.Close()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	n, tasks := 0, 0
	err = c.tasks(0, func(task wire.Task) error {
		n += len(task.Files)
		if tasks++; tasks%1000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			if now.HeapAlloc > before.HeapAlloc+16<<20 {
				return fmt.Errorf("%d bytes after %d names", now.HeapAlloc-before.HeapAlloc, n)
			}
		}
		return nil
	})
	if err != nil || n != lines {
		t.Errorf("%d names, %v", n, err)
	}
}
