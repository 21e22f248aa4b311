// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"vsc-zk/internal/pathbuilder"
)

// Text is a string of any bytes, such as a name of a file. In JSON it is a string if it is UTF-8,
// else {"base64": "..."}.
type Text string

// String is the text as a terminal or a log line may show it.
func (s Text) String() string { return s.short().Line() }

// Line is the whole text as a line of a file.
func (s Text) Line() string { return pathbuilder.Printable(string(s)) }

// LogValue is the text as a field of a log message, which the log makes printable as it does any other.
func (s Text) LogValue() slog.Value { return slog.StringValue(string(s.short())) }

// short is the text without most of the names of a task of hundreds.
func (s Text) short() Text {
	const most = 200
	if len(s) > most && (strings.HasPrefix(string(s), listedPrefix+"[") || strings.HasPrefix(string(s), linksPrefix+"[")) {
		return s[:most] + "..."
	}
	return s
}

// MarshalJSON never fails.
func (s Text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(s)) {
		return json.Marshal(string(s))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString([]byte(s))})
}

// UnmarshalJSON reads both forms.
func (s *Text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(s))
	}
	var raw struct {
		Base64 []byte `json:"base64"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("cannot read a path: %w", err)
	}
	*s = Text(raw.Base64)
	return nil
}

// mustEncode is the JSON of a value that has nothing in it that JSON cannot hold.
func mustEncode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// Harmless passes lines of JSON on to w with no character in them that a terminal would obey: encoding/json leaves
// delete, the C1 range and the marks of direction as they are. They are within strings, where \u means the same.
func Harmless(w io.Writer) io.Writer { return harmless{w} }

type harmless struct{ w io.Writer }

func (h harmless) Write(line []byte) (int, error) {
	if bytes.ContainsFunc(line, odd) {
		var b []byte
		for _, r := range string(line) {
			switch {
			case !odd(r):
				b = utf8.AppendRune(b, r)
			case r > 0xffff:
				high, low := utf16.EncodeRune(r)
				b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
			default:
				b = fmt.Appendf(b, `\u%04x`, r)
			}
		}
		if _, err := h.w.Write(b); err != nil {
			return 0, err
		}
		return len(line), nil
	}
	return h.w.Write(line)
}

func odd(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
