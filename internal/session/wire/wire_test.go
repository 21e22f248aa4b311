// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"fmt"
	"strings"
	"testing"
)

func TestOnlyForGo(t *testing.T) {
	for value, want := range map[string]bool{
		"1_/data/a": false, "0_/data": false, "1_/data/a#b": false,
		"1_/data/#a": true, "1_/data/;a": true, "1_/data/a\nb": true, "0_/data/a\r": true,
		"d_/data/a": true, `l_["a"]`: true, `r_{"path":"/data"}`: true, "garbage": true,
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
		"1_/data/a/b": "a/b", "0_/data": "", `l_["x/y"]`: "",
		"1_/other": "!", "1_/database": "!", `l_["../x"]`: "!", "1_/data/../x": "!",
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
	got := DecodeResult(data)
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
