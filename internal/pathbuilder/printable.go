// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable is s as it may be shown in a terminal or a log line: quoted as in Go if it is not
// UTF-8 or has control characters or marks that change the direction of writing.
func Printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
		return strconv.Quote(s)
	}
	return s
}
