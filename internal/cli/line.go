// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	levels "vsc-zk/internal/level"
	"vsc-zk/internal/pathbuilder"
)

// thread is what the thread column always says.
const thread = "MainThread"

// handler gives each record the form of the log, then hands it to the Log.
type handler struct {
	log    *Log
	logger string      // the logger column
	fields []slog.Attr // with JSON: what the logger was given, flat and plain
	group  string      // prefix of the names of further fields
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.level || level == levels.Detail && h.log.level == slog.LevelInfo || level == levels.Notice || h.log.heard != nil && level >= slog.LevelInfo
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := h.clone()
	for _, a := range attrs {
		next.add(a, h.group)
	}
	return next
}

func (h *handler) WithGroup(name string) slog.Handler {
	next := h.clone()
	next.group += name + "."
	return next
}

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	if h.log.heard != nil && r.Level >= slog.LevelInfo {
		h.log.heard(r.Level, printable(r.Message))
	}
	switch l := h.log; {
	case r.Level == levels.Notice:
		l.write(h.format(r), !l.quiet)
	case r.Level == levels.Detail && l.level <= slog.LevelInfo:
		l.write(h.format(r), l.level < slog.LevelInfo)
	case r.Level >= l.level:
		l.write(h.format(r), true)
	}
	return nil
}

func (h *handler) clone() *handler {
	next := *h
	next.fields = slices.Clone(h.fields)
	return &next
}

// add takes one field. "logger" fills the column; of two fields with one name the last one counts.
func (h *handler) add(a slog.Attr, group string) {
	value := a.Value.Resolve()
	name := group + a.Key
	switch {
	case value.Kind() == slog.KindGroup:
		if a.Key != "" {
			name += "."
		}
		for _, member := range value.Group() {
			h.add(member, name)
		}
	case name == "logger":
		h.logger = value.String()
	case h.log.json && !a.Equal(slog.Attr{}):
		h.fields = slices.DeleteFunc(h.fields, func(f slog.Attr) bool { return f.Key == name })
		h.fields = append(h.fields, slog.Attr{Key: name, Value: shown(value)})
	}
}

// format is a record in one of the two forms of doc.go.
func (h *handler) format(r slog.Record) []byte {
	full := h.clone()
	r.Attrs(func(a slog.Attr) bool {
		full.add(a, h.group)
		return true
	})
	if h.log.json {
		return full.object(r)
	}
	return fmt.Appendf(nil, "%s %-10s %-15s %-10s  %s\n", r.Time.Local().Format("2006-01-02 15:04:05,000"),
		levelName(r.Level), printable(full.logger), thread, printable(r.Message))
}

// object leaves the form to log/slog, apart from the names of the levels.
func (h *handler) object(r slog.Record) []byte {
	out := slog.NewRecord(r.Time, r.Level, printable(r.Message), 0)
	out.AddAttrs(slog.String("logger", printable(h.logger)))
	out.AddAttrs(h.fields...)
	var b bytes.Buffer
	json := slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: r.Level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if level, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey {
			return slog.String(a.Key, levelName(level))
		}
		return a
	}})
	_ = json.Handle(context.Background(), out) // writing to a buffer cannot fail
	return b.Bytes()
}

// levelName is the level as Python's logging calls it.
func levelName(level slog.Level) string {
	switch {
	case level < levels.Detail:
		return "DEBUG"
	case level < slog.LevelWarn:
		return "INFO"
	case level < slog.LevelError:
		return "WARNING"
	}
	return "ERROR"
}

// shown is the value of a field as JSON shows it. What is neither a number nor a text is left to
// encoding/json.
func shown(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(pathbuilder.Printable(v.String()))
	case slog.KindDuration:
		return slog.Float64Value(v.Duration().Seconds())
	case slog.KindAny:
	default:
		return v
	}
	switch x := v.Any().(type) {
	case error, fmt.Stringer:
		return slog.StringValue(pathbuilder.Printable(fmt.Sprint(x))) // which survives a nil pointer
	case []byte:
		return slog.StringValue(pathbuilder.Printable(string(x)))
	case []string:
		texts := make([]string, len(x))
		for i, text := range x {
			texts[i] = pathbuilder.Printable(text)
		}
		return slog.AnyValue(texts)
	}
	if x := reflect.ValueOf(v.Any()); x.Kind() == reflect.String {
		return slog.StringValue(pathbuilder.Printable(x.String()))
	}
	return v
}

// printable makes each line of a message printable. A line may begin with a double quote: it is not
// to be read back.
func printable(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if with := "." + line; pathbuilder.Printable(with) != with {
			lines[i] = pathbuilder.Printable(line)
		}
	}
	return strings.Join(lines, "\n")
}
