// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// rule is a filter rule of the user's, as far as it says whether a directory is sent.
type rule struct {
	include bool
	pattern *regexp.Regexp // of "/" and the path below the base, each byte a rune
	slash   bool           // and a slash at its end, for a pattern that ends in ***
}

func (r rule) matches(path string) bool {
	if r.slash {
		path += "/"
	}
	return r.pattern.MatchString(path)
}

// LeavesOut tells of a directory, by its path below the base, whether the user's rules keep it from
// being sent, or one above it, or with Partial whether it is a PartialDir. rsync itself does not tell: what stands in a list of paths it sends,
// whatever the rules say of it. It is nil where there is no such rule.
func (o Options) LeavesOut() func(rel string) bool {
	var rules []rule
	for _, extra := range o.Extra {
		key, value, _ := strings.Cut(extra, ":")
		if r, _ := parseRule(key, value); r != nil {
			rules = append(rules, *r)
		}
	}
	if o.Partial {
		own, _ := parseRule("exclude", PartialDir+"/")
		rules = append([]rule{*own}, rules...)
	}
	if len(rules) == 0 {
		return nil
	}
	return func(rel string) bool {
		path := "/" + bytesAsRunes(rel)
		for end := 1; end < len(path); end++ {
			if path[end] == '/' && excludes(rules, path[:end]) {
				return true
			}
		}
		return rel != "" && excludes(rules, path)
	}
}

// excludes is decided by the first rule that matches.
func excludes(rules []rule, path string) bool {
	at := slices.IndexFunc(rules, func(r rule) bool { return r.matches(path) })
	return at >= 0 && !rules[at].include
}

// ruleForm is a rule as --filter takes it: its kind, modifiers, and the pattern.
var ruleForm = regexp.MustCompile(`(?s)^ *(?:([-+HSPR])|(exclude|include|hide|show|protect|risk)\b),?([a-zA-Z/!]*)[ _](.*)$`)

// parseRule reads a rule. It gives nil for one that has no say in whether a directory is sent, and
// says why one cannot be used.
func parseRule(key, value string) (r *rule, why string) {
	kind, modifiers, pattern := "", "", value
	switch key {
	case "exclude", "include":
		// rsync understands the form of --filter here too, but only so much of it.
		switch {
		case value == "!":
			return nil, clearing
		case strings.HasPrefix(value, "- "), strings.HasPrefix(value, "+ "):
			kind, pattern = value[:1], value[2:]
		default:
			kind = key
		}
	case "filter":
		switch strings.TrimSuffix(strings.TrimLeft(value, " "), ",") {
		case "!", "clear":
			return nil, clearing
		}
		if readsRuleFile(value) {
			return nil, nulSeparated
		}
		parts := ruleForm.FindStringSubmatch(value)
		if parts == nil {
			return nil, "it is no rule as the walk understands them: give exclude:PATTERN or include:PATTERN, or a rule that begins with one of - + H S P R and a blank"
		}
		kind, modifiers, pattern = parts[1]+parts[2], parts[3], parts[4]
		if strings.Trim(modifiers, "srpx") != "" {
			return nil, fmt.Sprintf("the walk does not understand its modifiers %q, only s, r, p and x", modifiers)
		}
	default:
		return nil, ""
	}
	if len(pattern) > maxPattern {
		return nil, fmt.Sprintf("rsync leaves out a pattern of more than %d bytes", maxPattern)
	}
	compiled, why := compilePattern(pattern)
	if why != "" {
		return nil, why
	}
	receiver := kind == "P" || kind == "R" || kind == "protect" || kind == "risk" || strings.Contains(modifiers, "r") && !strings.Contains(modifiers, "s")
	if receiver || strings.Contains(modifiers, "x") || pattern == "" {
		return nil, ""
	}
	return &rule{
		include: slices.Contains([]string{"+", "S", "include", "show"}, kind),
		pattern: compiled,
		slash:   strings.HasSuffix(strings.TrimSuffix(pattern, "/"), "***"),
	}, ""
}

// compilePattern makes a regular expression of a pattern of rsync's. Text and pattern are bytes, so
// each byte is a rune of its own.
func compilePattern(pattern string) (re *regexp.Regexp, why string) {
	pattern = strings.TrimSuffix(pattern, "/") // for directories only, as all is here
	rest, anchored := strings.CutPrefix(pattern, "/")
	wild := strings.ContainsAny(rest, "*?[")
	var b strings.Builder
	for rest != "" {
		c := rest[0]
		rest = rest[1:]
		switch {
		case c == '*':
			stars := len(rest) - len(strings.TrimLeft(rest, "*"))
			rest = rest[stars:]
			if stars > 0 {
				b.WriteString(`.*`)
			} else {
				b.WriteString(`[^/]*`)
			}
		case c == '?':
			b.WriteString(`[^/]`)
		case c == '[':
			set, left, ok := byteSet(rest)
			if !ok {
				return nil, "its pattern has a [ without an end"
			}
			b.WriteString(set)
			rest = left
		case c == '\\' && wild:
			if rest == "" {
				return nil, "its pattern ends in a backslash"
			}
			writeByte(&b, rest[0])
			rest = rest[1:]
		default:
			writeByte(&b, c)
		}
	}
	begin := `/`
	switch {
	case anchored:
		begin = `^/`
	case strings.HasPrefix(pattern, "**"):
		begin = `(?:^|/)`
	}
	return regexp.MustCompile(`(?s)` + begin + b.String() + `$`), ""
}

func writeByte(b *strings.Builder, c byte) { fmt.Fprintf(b, `\x{%02x}`, c) }

// byteSet reads what follows a [ up to its end, and gives it as a set of bytes, which a slash is
// never in.
func byteSet(text string) (set, rest string, ok bool) {
	rest, negated := strings.CutPrefix(text, "!")
	if !negated {
		rest, negated = strings.CutPrefix(text, "^")
	}
	var in [256]bool
	for first := true; ; first = false {
		if rest == "" {
			return "", "", false
		}
		if rest[0] == ']' && !first {
			rest = rest[1:]
			break
		}
		if name, after, found := strings.Cut(strings.TrimPrefix(rest, "[:"), ":]"); found && strings.HasPrefix(rest, "[:") {
			class, err := regexp.Compile("[[:" + name + ":]]")
			if err != nil {
				return "", "", false
			}
			for c := range 128 {
				in[c] = in[c] || class.MatchString(string(rune(c)))
			}
			rest = after
			continue
		}
		from, left, ok := setByte(rest)
		if !ok {
			return "", "", false
		}
		to := from
		if len(left) > 1 && left[0] == '-' && left[1] != ']' {
			if to, left, ok = setByte(left[1:]); !ok {
				return "", "", false
			}
		}
		for c := int(from); c <= int(to); c++ {
			in[c] = true
		}
		rest = left
	}
	var b strings.Builder
	b.WriteByte('[')
	for c := range 256 {
		if in[c] != negated && c != '/' {
			writeByte(&b, byte(c))
		}
	}
	b.WriteByte(']')
	if b.Len() == 2 {
		return `[^\x{00}-\x{ff}]`, rest, true // nothing
	}
	return b.String(), rest, true
}

func setByte(text string) (c byte, rest string, ok bool) {
	text, _ = strings.CutPrefix(text, `\`)
	if text == "" {
		return 0, "", false
	}
	return text[0], text[1:], true
}

func bytesAsRunes(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

const clearing = "it would clear the rules that keep excluded directories out"

const nulSeparated = "rsync would expect NUL instead of line ends in its file, as it does in the list of paths, and so not find the rules: give them one by one (exclude:PATTERN, include:PATTERN)"

// readsRuleFile reports whether a filter rule names a file with more rules:
// merge or dir-merge, or their short forms . and :
func readsRuleFile(rule string) bool {
	rule = strings.TrimLeft(rule, " ")
	return strings.HasPrefix(rule, "merge") || strings.HasPrefix(rule, "dir-merge") ||
		strings.HasPrefix(rule, ".") || strings.HasPrefix(rule, ":")
}
