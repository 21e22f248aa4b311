// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxRule is the longest pattern, in bytes, that rsync takes. It drops a longer one with a message
// and goes on.
const maxRule = 4095

// FilterRule returns the rsync pattern that excludes exactly the path rel below the root of the
// transfer; with dirOnly only if it is a directory. The pattern is for --exclude=PATTERN or for a
// NUL-separated list (--from0 --exclude-from=FILE); both take any byte.
func FilterRule(rel string, dirOnly bool) (string, error) {
	if !plain(rel) || strings.Contains(rel, "\x00") {
		return "", fmt.Errorf("cannot exclude %s: it must have no empty, . or .. component, nor a NUL byte", Printable(rel))
	}
	rule := "/" + escapePattern(rel)
	if dirOnly {
		rule += "/"
	}
	if len(rule) > maxRule {
		return "", fmt.Errorf("cannot exclude %s: rsync takes no pattern of more than %d bytes", Printable(rel), maxRule)
	}
	return rule, nil
}

// ProtectRule returns the rule for rsync's --filter=RULE that keeps directories of a name, wherever
// they are, from being deleted at the destination.
func ProtectRule(name string) string {
	return "P " + escapePattern(name) + "/"
}

// escapePattern writes a name as a pattern that matches nothing else. A backslash escapes only in
// patterns that have a wildcard; in others rsync compares the bytes.
func escapePattern(name string) string {
	if !strings.ContainsAny(name, "*?[") {
		return name
	}
	var pattern strings.Builder
	for _, b := range []byte(name) {
		if strings.IndexByte(`*?[\`, b) >= 0 {
			pattern.WriteByte('\\')
		}
		pattern.WriteByte(b)
	}
	return pattern.String()
}

// ProtectName returns the name that a pattern of the form /NAME(/.*|$) excludes, NAME being a
// single name without a wildcard. Such a pattern says what to do with directories that exist only
// at the destination; ok is false for any other pattern.
func ProtectName(re *regexp.Regexp) (name string, ok bool) {
	if re == nil {
		return "", false
	}
	quoted, ok := strings.CutSuffix(re.String(), "(/.*|$)")
	if !ok {
		return "", false
	}
	quoted, ok = strings.CutPrefix(quoted, "/")
	if !ok {
		return "", false
	}
	parsed, err := syntax.Parse(quoted, syntax.Perl)
	if err != nil || parsed.Op != syntax.OpLiteral || parsed.Flags&syntax.FoldCase != 0 {
		return "", false
	}
	name = string(parsed.Rune)
	return name, plain(name) && !strings.ContainsAny(name, "/\x00")
}
