// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"strconv"
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for _, plain := range []string{"", "/data/größe x", `/say "x"\`, "/日本/٣", "/a#;$`b"} {
		if got := Printable(plain); got != plain {
			t.Errorf("Printable(%q) = %s, want it as it is", plain, got)
		}
	}
	odd := []string{"/a\nb", "/\r", "/\t", "/\xff", "/\x1b[2J", "/\x7f", "/a\u2028b", "/a\u00a0b", `"/quoted"`}
	for r := '\u0080'; r <= '\u009f'; r++ { // C1
		odd = append(odd, "/a"+string(r)+"b")
	}
	for _, r := range "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" { // directions
		odd = append(odd, "/a"+string(r)+"b")
	}
	for _, text := range odd {
		got := Printable(text)
		if back, err := strconv.Unquote(got); err != nil || back != text {
			t.Errorf("Printable(%q) = %s, which reads as %q, %v", text, got, back, err)
		}
	}
}

// One line comes out, of characters that are printed, and the text can be read back.
func FuzzPrintable(f *testing.F) {
	for _, text := range []string{"/a b", "\n", "\xff", "\"", "\u202e", "\u0085"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Printable(text)
		if strings.ContainsFunc(got, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q", got)
		}
		if back, err := strconv.Unquote(got); strings.HasPrefix(got, `"`) && (err != nil || back != text) || !strings.HasPrefix(got, `"`) && got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}
