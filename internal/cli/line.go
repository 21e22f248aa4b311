// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// thread is what the thread column always says.
const thread = "MainThread"

// handler gives each record the form of the log, then passes it to the Log.
type handler struct {
	log    *Log
	logger string // the logger column
	attrs  []slog.Attr
	group  string // prefix of the names of further attributes
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.log.level }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = append([]slog.Attr{}, h.attrs...)
	for _, a := range attrs {
		next.add(a, h.group)
	}
	return &next
}

func (h *handler) WithGroup(name string) slog.Handler {
	next := *h
	next.group += name + "."
	return &next
}

// add takes one attribute; the last "logger" fills the column.
func (h *handler) add(a slog.Attr, group string) {
	value := a.Value.Resolve()
	switch {
	case value.Kind() == slog.KindGroup:
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, member := range value.Group() {
			h.add(member, group)
		}
	case a.Key == "logger" && group == "":
		h.logger = value.String()
	case !a.Equal(slog.Attr{}):
		h.attrs = append(h.attrs, slog.Attr{Key: group + a.Key, Value: value})
	}
}

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	full := *h
	full.attrs = append([]slog.Attr{}, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		full.add(a, h.group)
		return true
	})
	if h.log.json {
		h.log.record(encodeJSON(r, full.logger, full.attrs))
	} else {
		h.log.record([]byte(full.line(r)))
	}
	return nil
}

// line is the record in the format of doc.go.
func (h *handler) line(r slog.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-10s %-15s %-10s  %s", r.Time.Local().Format("2006-01-02 15:04:05,000"),
		levelName(r.Level), printable(h.logger), thread, printable(r.Message))
	for _, a := range h.attrs {
		b.WriteString(" " + printable(a.Key) + "=" + attrText(a.Value))
	}
	b.WriteByte('\n')
	return b.String()
}

// levelName is the level as Python's logging calls it.
func levelName(level slog.Level) string {
	switch {
	case level < slog.LevelInfo:
		return "DEBUG"
	case level < slog.LevelWarn:
		return "INFO"
	case level < slog.LevelError:
		return "WARNING"
	}
	return "ERROR"
}

// attrText is an attribute's value, quoted where it would not be one word.
func attrText(v slog.Value) string {
	text := v.String()
	if text == "" || strings.ContainsFunc(text, func(r rune) bool {
		return r == utf8.RuneError || r == '"' || r == '=' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}) {
		return strconv.Quote(text)
	}
	return text
}

// printable replaces what would damage a terminal or a log's lines: control
// characters other than newline and tab, and bytes that are not UTF-8.
func printable(text string) string {
	harmless := func(r rune) bool { return r == '\n' || r == '\t' || !unicode.IsControl(r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 || !harmless(r) {
			for _, c := range []byte(text[:size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}
