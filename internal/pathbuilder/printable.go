// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable gives a path as it may stand in a one-line message: as it is, or
// quoted when it holds control characters or is not UTF-8.
func printable(path string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if utf8.ValidString(path) && !strings.ContainsFunc(path, odd) {
		return path
	}
	return strconv.Quote(path)
}
