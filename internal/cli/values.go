// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The types below are pflag values. String returns the value as a config file has it, so that
// Set(String()) changes nothing.

type stringValue struct {
	target  *string
	choices []string
}

func (v *stringValue) String() string { return *v.target }
func (v *stringValue) Type() string   { return "string" }
func (v *stringValue) Set(text string) error {
	if err := checkChoice(text, v.choices); err != nil {
		return err
	}
	*v.target = text
	return nil
}

type listValue []string

func (v *listValue) String() string { return strings.Join(*v, ",") }
func (v *listValue) Type() string   { return "strlist" }
func (v *listValue) Set(text string) error {
	*v = nil
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*v = append(*v, item)
		}
	}
	return nil
}

// escapedListValue is a list with items that may have commas.
type escapedListValue []string

func (v *escapedListValue) Type() string { return "strlist" }

func (v *escapedListValue) String() string {
	items := make([]string, len(*v))
	for i, item := range *v {
		items[i] = strings.ReplaceAll(item, ",", `\,`)
	}
	return strings.Join(items, ",")
}

func (v *escapedListValue) Set(text string) error {
	const comma = "\x00" // which no option can have
	if err := (*listValue)(v).Set(strings.ReplaceAll(text, `\,`, comma)); err != nil {
		return err
	}
	for i, item := range *v {
		(*v)[i] = strings.ReplaceAll(item, comma, ",")
	}
	return nil
}

type intValue[T int | int64] struct{ target *T }

func (v intValue[T]) String() string { return strconv.FormatInt(int64(*v.target), 10) }
func (v intValue[T]) Type() string   { return "int" }
func (v intValue[T]) Set(text string) error {
	n, err := parseInt(text)
	if err != nil {
		return err
	}
	if int64(T(n)) != n {
		return fmt.Errorf("integer value out of range: %s", quote(text))
	}
	*v.target = T(n)
	return nil
}

// intOrValue is an integer, or a word that stands for one.
type intOrValue struct {
	intValue[int]
	word  string
	means int
}

func (v intOrValue) String() string {
	if *v.target == v.means {
		return v.word
	}
	return v.intValue.String()
}

func (v intOrValue) Set(text string) error {
	if text == v.word {
		*v.target = v.means
		return nil
	}
	if err := v.intValue.Set(text); err != nil {
		return err
	}
	if *v.target == v.means { // only the word may set that
		*v.target = math.MinInt
	}
	return nil
}

// parseInt reads an integer as optparse does. A prefix counts only at the very beginning: with a
// sign or a blank in front of it the number is decimal.
func parseInt(text string) (int64, error) {
	base, digits := 10, strings.TrimSpace(text)
	if strings.HasPrefix(text, "0") {
		base = 8
		for prefix, b := range map[string]int{"0x": 16, "0b": 2, "0o": 8} {
			if len(digits) > 2 && strings.EqualFold(digits[:2], prefix) {
				base, digits = b, strings.TrimPrefix(digits[2:], "_")
			}
		}
	}
	unsigned := digits
	if base == 10 {
		unsigned = strings.TrimPrefix(strings.TrimPrefix(digits, "-"), "+")
	}
	invalid := fmt.Errorf("invalid integer value: %s", quote(text))
	if strings.ContainsAny(unsigned, "+-") || strings.HasPrefix(unsigned, "_") ||
		strings.HasSuffix(unsigned, "_") || strings.Contains(unsigned, "__") {
		return 0, invalid
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), base, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("integer value out of range: %s", quote(text))
	}
	if err != nil {
		return 0, invalid
	}
	return n, nil
}

// boolValue is a boolean that calls onTrue, if there is one, when it is switched on. One with forms is switched on by
// these, too.
type boolValue struct {
	target *bool
	onTrue func()
	forms  []string
	form   *string // the one that was given; "": none
}

func (v boolValue) String() string {
	if v.form != nil && *v.form != "" {
		return *v.form
	}
	return boolText(*v.target)
}

func (v boolValue) Type() string { return "bool" }
func (v boolValue) Set(text string) error {
	*v.target = text == "true"
	if v.form != nil {
		*v.form = ""
		if text != "true" && text != "false" {
			if err := checkChoice(text, v.forms); err != nil {
				return err
			}
			*v.target, *v.form = true, text
		}
	}
	if *v.target && v.onTrue != nil {
		v.onTrue()
	}
	return nil
}

func boolText(b bool) string { return strconv.FormatBool(b) }

type regexpValue struct{ target **regexp.Regexp }

func (v regexpValue) Type() string { return "regex" }

func (v regexpValue) String() string {
	if *v.target == nil {
		return ""
	}
	return (*v.target).String()
}

func (v regexpValue) Set(text string) error {
	if text == "" {
		*v.target = nil
		return nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return fmt.Errorf("invalid regular expression %s: %s", quote(text), explainRegexp(err))
	}
	*v.target = re
	return nil
}

// explainRegexp says what of Python's dialect, in which the pattern may have been written, RE2
// lacks.
func explainRegexp(err error) string {
	var e *syntax.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	switch {
	case slices.ContainsFunc([]string{"(?=", "(?!", "(?<=", "(?<!"}, func(s string) bool { return strings.HasPrefix(e.Expr, s) }):
		return "look-ahead and look-behind are not supported; the syntax is RE2"
	case e.Code == syntax.ErrInvalidPerlOp && e.Expr == "(?P", len(e.Expr) == 2 && e.Expr[0] == '\\' && e.Expr[1] >= '1' && e.Expr[1] <= '9':
		return "back-references are not supported; the syntax is RE2"
	case e.Expr == `\Z`:
		return `\Z is written \z; the syntax is RE2`
	}
	return fmt.Sprintf("%s: %s; the syntax is RE2", e.Code, e.Expr)
}

// showValue is the value of --help and its like, which act when they are set: Set returns a request
// for a text.
type showValue struct {
	what    string
	choices []string // if not nil the value, one of these, says what to show
}

func (v showValue) String() string { return "" }
func (v showValue) Type() string   { return "show" }
func (v showValue) Set(text string) error {
	if v.choices == nil {
		return &request{v.what}
	}
	if err := checkChoice(text, v.choices); err != nil {
		return err
	}
	return &request{text}
}

// request is the error that asks for a text in place of a run: one of the choices of --help and
// --completion, or "version".
type request struct{ what string }

func (r *request) Error() string { return "asked for " + r.what }

func checkChoice(text string, choices []string) error {
	if choices == nil || slices.Contains(choices, text) {
		return nil
	}
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = quote(c)
	}
	return fmt.Errorf("invalid choice: %s (choose from %s)", quote(text), strings.Join(quoted, ", "))
}

// ParseBool reads a boolean of a config file.
func ParseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "1", "yes", "true", "on":
		return true, nil
	case "0", "no", "false", "off":
		return false, nil
	}
	return false, fmt.Errorf("invalid boolean value: %s (use yes or no)", quote(text))
}

// parseEnvBool reads a boolean of the environment, which may also be y, n or empty.
func parseEnvBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "y":
		return true, nil
	case "n", "":
		return false, nil
	}
	return ParseBool(text)
}

// quote writes text as Python's repr does, because the messages are those of the Python program.
func quote(text string) string {
	mark := '\''
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		mark = '"'
	}
	var b strings.Builder
	b.WriteRune(mark)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r == mark || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += size
	}
	b.WriteRune(mark)
	return b.String()
}
