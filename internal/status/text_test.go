// SPDX-License-Identifier: LGPL-2.1-or-later

package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"vsc-zk/internal/session/wire"
)

// everything is a snapshot in which every field has a value, with names that a terminal would obey.
func everything() *Snapshot {
	now, load := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), 2.5
	const odd = "\x1b[31m\u009b\u202ex"
	return &Snapshot{
		Format: 1, Time: now, Session: "home", State: Still, Waits: []Wait{{wire.WaitBytes, now.Add(-time.Minute)}}, Control: Control{true, true, 1000, map[string]int{"m": 1}, []wire.Text{"a"}}, Master: "m:1",
		Began: now.Add(-time.Hour), Phase: "walking", Walk: 2,
		Paths:    Paths{4000, 2500, 12, 3, 1490, 4, 5, 1, 2},
		Totals:   Totals{100, 50, 1 << 40, 1 << 30, 1 << 20, 1 << 19, 7, 8},
		Rates:    Rates{1000, 300, 5, 10, 2000},
		Estimate: Estimate{ByPaths, true, Range{38, 47}, &Range{3000, 4000}},
		Clients: []Client{
			{Who: "m:1", Role: "source", Program: Go, Master: true, Host: "m", Version: "v1", Since: now, Load: &load, Base: "/a\xff", Warning: &Warning{now, odd}, Source: &Source{8, 1, 5, 6}},
			{Who: odd, Role: "destination", Program: Go, Dest: &Destination{8, 1, "paused", odd, now, 6, 1000, 120, 500, 100}},
			{Who: "p:1", Role: "source", Program: Python, Source: &Source{Jobs: 1}},
			{Who: "p:2", Role: "destination", Program: Python, Dest: &Destination{Slots: 1}},
			{Who: "w:2", Program: Go},
		},
		Runs: []Run{
			{"1_/a/" + odd, 3, "m:1", odd, now.Add(-time.Minute), 2, 5_000_000, 6_000_000},
			{Path: "1_/b", Paths: 1, Source: "p:1", Began: now},
		},
		Failures: []Failure{{"1_/c\xff" + odd, []wire.Text{"first", odd}}}, FailuresLeft: 30,
	}
}

// Nothing that others have written reaches a terminal as it is.
func TestTextIsHarmless(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text": func(b *bytes.Buffer) error { return everything().Text(b) },
		"JSON": func(b *bytes.Buffer) error { return everything().JSON(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", name, b.String())
		}
	}
}

func TestText(t *testing.T) {
	time.Local = time.UTC
	s := everything()
	s.Clients, s.Failures, s.FailuresLeft = s.Clients[:1], nil, 0
	s.Clients[0].Warning.Text = "it is full"
	s.Runs = s.Runs[1:]
	var b bytes.Buffer
	if err := s.Text(&b); err != nil {
		t.Fatal(err)
	}
	want := `Remaining: 2500, Failed: 4
Session home: standing still: nothing moves since 11:59:00; begun at 11:00:00, 1h00m ago
  done   ~42 % (38 to 47), ~58m20s (50m00s to 1h06m) left, by paths
  phase  looking for what has changed, walk 2
  paths  4,000 queued, 2,500 remaining (12 in work, 3 to be flushed), 1,490 completed, 4 failed, 5 vanished, 1 changed, 2 skipped
  files  100 looked at (1.1 TB), 50 transferred (1.1 GB), 1.0 MB sent, 7 deleted, 8 differences
  rate   1.0 kB/s now; in the last 5m00s 2.0 kB/s, 10 files/s, 5.0 paths/s

Clients (1)
  m:1  master  1 of 8 jobs  load 2.5  6 B/s

Last warnings
  12:00:00  m:1  it is full

Running (1), the oldest first
  0s  1_/b  p:1 to ?
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// Of thousands the text shows a few, and says how many there are. For programs all runs are there.
func TestTextOfThousands(t *testing.T) {
	s := everything()
	s.Runs = nil
	for i := range 5000 {
		s.Runs = append(s.Runs, Run{Path: wire.Text(fmt.Sprintf("1_/%d", i)), Paths: 1, Source: "m:1"})
	}
	var b, j bytes.Buffer
	if err := s.Text(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "  and 4980 more\n") || strings.Count(b.String(), " 1_/") > most+1 || !strings.Contains(b.String(), "Failed (31)") || !strings.Contains(b.String(), "  and 30 more\n") {
		t.Error(b.String())
	}
	if err := s.JSON(&j); err != nil || strings.Count(j.String(), `"path":"1_/`) != 5000 {
		t.Errorf("%v, %d runs in JSON", err, strings.Count(j.String(), `"path":"1_/`))
	}
}

func TestTextOfNone(t *testing.T) {
	var b bytes.Buffer
	s := (&facts{}).snapshot("x")
	if err := s.Text(&b); err != nil || b.String() != "No active session\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// The schema in examples is that of the JSON: it takes what is written, knows each field, and refuses what is not there.
func TestSchema(t *testing.T) {
	data, err := os.ReadFile("../../examples/state.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	none := (&facts{}).snapshot("x")
	bare := everything()
	bare.Estimate.Seconds, bare.Control, bare.Clients = nil, Control{}, bare.Clients[2:]
	for name, s := range map[string]*Snapshot{"all": everything(), "none": none, "bare": bare} {
		var b bytes.Buffer
		if err := s.JSON(&b); err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(b.Bytes(), &value); err != nil {
			t.Fatal(err)
		}
		for _, wrong := range disagree(root, root, value, "") {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	for _, wrong := range []string{`{}`, `{"format":2}`, `[]`} {
		var value any
		if err := json.Unmarshal([]byte(wrong), &value); err != nil {
			t.Fatal(err)
		}
		if len(disagree(root, root, value, "")) == 0 {
			t.Errorf("%s is a snapshot", wrong)
		}
	}
	fields(t, root, root, reflect.TypeFor[Snapshot](), "")
}

// disagree checks a value by the part of JSON Schema that the file uses. A property that it does not know is wrong here:
// the schema has to say what there is.
func disagree(root, schema map[string]any, value any, at string) (wrong []string) {
	schema = resolve(root, schema)
	fail := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	if choices, ok := schema["anyOf"].([]any); ok {
		for _, choice := range choices {
			if len(disagree(root, choice.(map[string]any), value, at)) == 0 {
				return nil
			}
		}
		fail("%v is none of %v", value, choices)
	}
	if is, ok := schema["const"]; ok && value != is {
		fail("%v is not %v", value, is)
	}
	if among, ok := schema["enum"].([]any); ok && !slices.Contains(among, value) {
		fail("%v is not among %v", value, among)
	}
	number, isNumber := value.(float64)
	text, isText := value.(string)
	object, isObject := value.(map[string]any)
	list, isList := value.([]any)
	_, isBool := value.(bool)
	good, known := map[string]bool{
		"object": isObject, "array": isList, "string": isText, "number": isNumber, "integer": isNumber && number == float64(int64(number)),
		"boolean": isBool, "null": value == nil,
	}[fmt.Sprint(schema["type"])]
	if known && !good {
		fail("%v is no %v", value, schema["type"])
		return wrong
	}
	if schema["format"] == "date-time" {
		if at, err := time.Parse(time.RFC3339, text); err != nil || at.UTC().Format(time.RFC3339) != text {
			fail("%q is no time in UTC, to the second: %v", text, err)
		}
	}
	for _, item := range list {
		wrong = append(wrong, disagree(root, schema["items"].(map[string]any), item, at+"[]")...)
	}
	if !isObject {
		return wrong
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, there := object[name.(string)]; !there {
			fail("%v is missing", name)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, value := range object {
		if property, ok := properties[name].(map[string]any); ok {
			wrong = append(wrong, disagree(root, property, value, at+"."+name)...)
		} else if more, ok := schema["additionalProperties"].(map[string]any); ok {
			wrong = append(wrong, disagree(root, more, value, at+"."+name)...)
		} else {
			fail("%s is not known", name)
		}
	}
	return wrong
}

func resolve(root, schema map[string]any) map[string]any {
	if ref, ok := schema["$ref"].(string); ok {
		return root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	return schema
}

// fields fails unless a schema has the fields of a type, no others, and each that may not be missing.
func fields(t *testing.T, root, schema map[string]any, of reflect.Type, at string) {
	t.Helper()
	if choices, ok := schema["anyOf"].([]any); ok {
		schema = choices[0].(map[string]any)
	}
	schema = resolve(root, schema)
	switch of.Kind() {
	case reflect.Pointer:
		fields(t, root, schema, of.Elem(), at)
		return
	case reflect.Slice:
		fields(t, root, schema["items"].(map[string]any), of.Elem(), at)
		return
	case reflect.Struct:
	default:
		return
	}
	if of == reflect.TypeFor[time.Time]() {
		return
	}
	properties := schema["properties"].(map[string]any)
	var names, musts []string
	for i := range of.NumField() {
		name, rest, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		names = append(names, name)
		if rest == "" {
			musts = append(musts, name)
		}
		if property, ok := properties[name].(map[string]any); ok {
			fields(t, root, property, of.Field(i).Type, at+"."+name)
		}
	}
	slices.Sort(names)
	if got := slices.Sorted(maps.Keys(properties)); !slices.Equal(got, names) {
		t.Errorf("%s: the schema has %q, the type %q", at, got, names)
	}
	var required []string
	for _, name := range schema["required"].([]any) {
		required = append(required, name.(string))
	}
	slices.Sort(required)
	slices.Sort(musts)
	if !slices.Equal(required, musts) {
		t.Errorf("%s: the schema requires %q, the type %q", at, required, musts)
	}
}
