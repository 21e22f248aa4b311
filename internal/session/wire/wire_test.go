// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"testing"

	"vsc-zk/internal/zkclient"
)

func TestOnlyForGo(t *testing.T) {
	for value, want := range map[string]bool{
		"1_/data/a": false, "0_/data": false, "1_/data/a#b": false,
		"1_/data/#a": true, "1_/data/;a": true, "1_/data/a\nb": true, "0_/data/a\r": true,
		"d_/data/a": true, `l_["a"]`: true, `c_["a"]`: true, `r_{"path":"/data"}`: true, "garbage": true,
	} {
		if got := DecodeTask([]byte(value)).OnlyForGo("/data"); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

func TestRangesHoldNames(t *testing.T) {
	task := RangeTask("/data/d", "b", "d")
	for name, want := range map[string]bool{"d/a": false, "d/b": true, "d/czz": true, "d/d": false} {
		if task.Holds(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestWithin(t *testing.T) {
	for value, want := range map[string]string{
		"1_/data/a/b": "a/b", "0_/data": "", `l_["x/y"]`: "", `c_["x/y"]`: "",
		"1_/other": "!", "1_/database": "!", `l_["../x"]`: "!", `c_["x/../../y"]`: "!", "1_/data/../x": "!",
	} {
		task := DecodeTask([]byte(value))
		rel, err := task.Within("/data")
		if err != nil || task.Err != nil {
			rel = "!"
		}
		if rel != want {
			t.Errorf("%q: %q, %v", value, rel, err)
		}
	}
}

func TestResultIsBounded(t *testing.T) {
	r := Result{Paths: []Text{"1_/a"}, Outcome: Failed}
	for i := range 10_000 {
		r.Errors = append(r.Errors, fmt.Sprint(i, strings.Repeat("x", 100)))
		r.Examples = append(r.Examples, strings.Repeat("y", 100))
	}
	data := r.Encode()
	if len(data) > 2*maxResult {
		t.Errorf("%d bytes", len(data))
	}
	got, err := DecodeResult(data)
	if err != nil {
		t.Fatal(err)
	}
	if last := got.Errors[len(got.Errors)-1]; last != fmt.Sprintf("... and %d more", 10_000-len(got.Errors)+1) {
		t.Errorf("the last line is %q of %d", last, len(got.Errors))
	}
}

func TestBadSessionNames(t *testing.T) {
	for _, name := range []string{"", " ", "/", "/abs", "..", "a//b"} {
		if _, err := NewTree(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	if tree, err := NewTree("a"); err != nil || tree.Name() != "a" || tree.Module() != "zkrs-a" {
		t.Errorf("%v, %v", tree, err)
	}
}

func TestSynced(t *testing.T) {
	s := Synced{}.To(10).ToVoid(20, "").To(30).ToVoid(40, "no").To(50)
	for czxid, want := range map[int64]string{1: "done", 10: "done", 11: "again", 20: "again", 21: "done", 31: "no", 40: "no", 41: "done", 50: "done", 51: "open"} {
		got := "open"
		if span, known := s.Of(0, czxid); known {
			got = "done"
			if span != nil {
				got = cmp.Or(span.Error, "again")
			}
		}
		if got != want {
			t.Errorf("%d is %s, want %s", czxid, got, want)
		}
	}
	for _, c := range []struct {
		since, czxid int64
		want         bool
	}{{12, 25, true}, {20, 25, true}, {21, 25, false}, {5, 10, false}, {5, 11, true}, {15, 45, true}, {41, 60, false}, {35, 60, true}} {
		if span, _ := s.Of(c.since, c.czxid); (span != nil) != c.want {
			t.Errorf("from %d to %d: %v, want one: %v", c.since, c.czxid, span, c.want)
		}
	}
	for through := int64(60); through < 10_000; through += 2 {
		s = s.ToVoid(through, "").To(through + 1)
	}
	if span, known := s.Of(0, 15); len(s.Void) != maxSpans || !known || span == nil {
		t.Errorf("%d spans, and what was void is not: %v, %v", len(s.Void), span, known)
	}
}

// What becomes part of a command line is a port and the name of a host, nothing else.
func TestHostileDest(t *testing.T) {
	for _, value := range []string{
		"-1:h:1", "0:h:1", "70000:h:1", "65536:h:1", "+7:h:1", "0x10:h:1", "07:h:1", " 7:h:1", "7:h:-1", "7:h:x", "7:h", "7::1", ":h:1", "", "x",
		"7:-e:1", "7:--rsh=x:1", "7:a b:1", "7:$(touch /x):1", "7:`id`:1", "7:h;id:1", "7:h|id:1", "7:h/../x:1", "7:u@h:1", "7:[::1]:1", "7:h\n:1", "7:h\x00:1",
		"7:h%20:1", "7:.h:1", "7:h.:1", "7:" + strings.Repeat("h", 300) + ":1",
	} {
		if d, err := DecodeDest([]byte(value)); err == nil {
			t.Errorf("%q is taken for %+v", value, d)
		}
	}
	for _, value := range []string{"1:h:1", "65535:a.b-c_d.example:17", "4444:127.0.0.1:3"} {
		if d, err := DecodeDest([]byte(value)); err != nil || string(d.Encode()) != value {
			t.Errorf("%q: %+v, %v", value, d, err)
		}
	}
}

// What takes longer has the lower number, and the number does not say more than it takes.
func TestPriority(t *testing.T) {
	before := zkclient.DefaultPriority
	for seconds := 0.1; seconds < 1e6; seconds *= 1.1 {
		n := Priority(seconds)
		at := SecondsAt(n)
		if n > before || n < 51 || at > seconds*1.0001 || seconds >= 1 && seconds < 4e4 && at < seconds/1.2600 || seconds < 1 && n != zkclient.DefaultPriority {
			t.Errorf("%v seconds have the priority %d, which says %v", seconds, n, at)
		}
		before = n
	}
	for _, n := range []int{0, 50, 100, 900} {
		if SecondsAt(n) != 0 {
			t.Errorf("the priority %d says %v seconds", n, SecondsAt(n))
		}
	}
	if Priority(math.NaN()) != zkclient.DefaultPriority {
		t.Error("nothing has a priority")
	}
}
