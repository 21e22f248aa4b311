// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"
)

const realStatistics = `sending incremental file list
dir/
dir/Total file size: 5 bytes

Number of files: 1,055 (reg: 1,054, dir: 1)
Number of created files: 54 (reg: 53, dir: 1)
Number of deleted files: 0
Number of regular files transferred: 53
Total file size: 39,488,123,456 bytes
Total transferred file size: 39,488 bytes
Literal data: 39,488 bytes
Matched data: 0 bytes
File list size: 65,515
File list generation time: 0.001 seconds
File list transfer time: 0.000 seconds
Total bytes sent: 42,840
Total bytes received: 1,070

sent 42,840 bytes  received 1,070 bytes  87,820.00 bytes/sec
total size is 39,488  speedup is 0.90
`

// readStats reads all that an rsync has printed.
func readStats(output []byte) Stats {
	stats := Stats{}
	for line := range bytes.Lines(output) {
		stats.read(string(line))
	}
	return stats
}

func TestStats(t *testing.T) {
	want := Stats{
		"Number_of_files": 1055, "Number_of_regular_files_transferred": 53, "Total_file_size": 39488123456,
		"Total_transferred_file_size": 39488, "Literal_data": 39488, "Matched_data": 0, "File_list_size": 65515,
		"Total_bytes_sent": 42840, "Total_bytes_received": 1070,
	}
	if got := readStats([]byte(realStatistics)); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(want) != len(StatNames) {
		t.Error("not all counters are tested")
	}
	for _, line := range []string{
		"", "Total file size", "Total file size:", "Total file size: ", "Total file size: -5", "Total file size: +5", "Total file size: 39.4K",
		"Total file size: 99999999999999999999", "Total file size: ,", " Total file size: 5", "Speed: 5", "Total_file_size :5",
	} {
		if got := readStats([]byte(line)); len(got) != 0 {
			t.Errorf("%q: %v", line, got)
		}
	}
	if got := readStats([]byte("Total file size: 9223372036854775807\r\n")); got["Total_file_size"] != 1<<63-1 {
		t.Errorf("%v", got)
	}
}

// What is read, written as rsync writes it, reads the same again.
func FuzzStats(f *testing.F) {
	f.Add([]byte(realStatistics))
	f.Add([]byte("Total file size: 1,2,3 bytes\nLiteral data:0\nMatched data: ,7\n"))
	f.Add([]byte("Number of files: \xff\n:\n::\nTotal bytes sent: 9223372036854775808"))
	f.Add([]byte("Number_of files:5\x00\rTotal bytes sent: ٣"))
	f.Fuzz(func(t *testing.T, output []byte) {
		stats := readStats(output)
		var text strings.Builder
		for name, number := range stats {
			if number < 0 {
				t.Errorf("%s is %d", name, number)
			}
			fmt.Fprintf(&text, "%s: %s bytes\n", strings.ReplaceAll(name, "_", " "), grouped(number))
		}
		if again := readStats([]byte(text.String())); !maps.Equal(again, stats) {
			t.Errorf("%v, then %v", stats, again)
		}
	})
}

// grouped writes a number with commas, as rsync does.
func grouped(number int64) string {
	text := fmt.Sprint(number)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func TestResultInWords(t *testing.T) {
	for code, want := range map[int]string{0: "exit status 0 (everything was transferred)", 23: "exit status 23 (some files were not transferred)", 99: "exit status 99"} {
		if got := (Result{Code: code}).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, code := range []int{1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24, 25, 30, 35} {
		if exitText(code) == "" {
			t.Errorf("%d has no words", code)
		}
		if (Result{Code: code}).Class() == Fine {
			t.Errorf("%d is fine", code)
		}
	}
}

// BenchmarkStats reads the end of an rsync's output, and a long list of files before it.
func BenchmarkStats(b *testing.B) {
	stats := []byte(realStatistics)
	list := bytes.Repeat([]byte("some/directory/with a file: of a name\n"), 1000)
	for name, output := range map[string][]byte{"stats": stats, "list": append(list, stats...)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(output)))
			for b.Loop() {
				if s := readStats(output); s["Total_file_size"] != 39_488_123_456 {
					b.Fatal(s)
				}
			}
		})
	}
}
