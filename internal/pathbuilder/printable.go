// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns a path, or any other text that comes from elsewhere, as it may stand in a line
// of a log or on a terminal: as it is, or quoted like a string in Go. Quoted is what is not UTF-8,
// what has a character that is not printed (control characters, the C1 ones included, marks that
// change the direction of writing, blanks other than the space), and what itself begins with a
// quotation mark. So strconv.Unquote gives back what was quoted, and nothing else looks quoted.
func Printable(text string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if strings.HasPrefix(text, `"`) || !utf8.ValidString(text) || strings.ContainsFunc(text, odd) {
		return strconv.Quote(text)
	}
	return text
}
