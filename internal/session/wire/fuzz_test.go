// SPDX-License-Identifier: LGPL-2.1-or-later

package wire

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// roundTrip fails unless what decodes encodes again, to something that decodes to the same.
func roundTrip[T any](t *testing.T, data []byte, decode func([]byte) (T, bool), encode func(T) []byte) {
	t.Helper()
	first, ok := decode(data)
	if !ok {
		return
	}
	coded := encode(first)
	second, ok := decode(coded)
	if !ok {
		t.Fatalf("%q decodes, but not what it encodes to, %q", data, coded)
	}
	if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%q and what it encodes to, %q, differ:\n%s", data, coded, diff)
	}
	if again := encode(second); !bytes.Equal(coded, again) {
		t.Fatalf("%q encodes to %q, and that to %q", data, coded, again)
	}
}

func noError[T any](decode func([]byte) (T, error)) func([]byte) (T, bool) {
	return func(data []byte) (T, bool) {
		v, err := decode(data)
		return v, err == nil
	}
}

func FuzzTask(f *testing.F) {
	for _, task := range []Task{
		LeftoversTask("/data/a"), LinksTask([]Text{"a", "b/\xff"}), ListedTask([]Text{"a\n", "b/\xff"}), RangeTask("/data", "m\xfe", ""), RangeTask("/", "", "x"),
	} {
		f.Add([]byte(task.Value))
	}
	for _, value := range []string{"", "1_/data/a", "0_/", "1_relative", "l_[]", "l_[null]", "c_[]", "c_{}", "r_{}", "d_", "7", "x_/data", "1_/a\n\xff"} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data,
			func(data []byte) (Task, bool) {
				task := DecodeTask(data)
				return task.canonical(), task.Kind != Unreadable
			},
			func(task Task) []byte { return []byte(task.Value) })
		if task := DecodeTask(data); task.Kind == Unreadable != (task.Err != nil) || string(task.Value) == "" && len(data) > 0 {
			t.Fatalf("%q gives %+v", data, task)
		}
	})
}

// canonical is the task made anew from what was read.
func (t Task) canonical() Task {
	switch t.Kind {
	case Shallow, Recursive:
		return DirTask(t.Entry())
	case Range:
		return RangeTask(t.Dir, t.From, t.To)
	case Leftovers:
		return LeftoversTask(t.Dir)
	case Links:
		return LinksTask(t.Files)
	case Listed:
		return ListedTask(t.Files)
	}
	return t
}

func FuzzMeta(f *testing.F) {
	meta := NewMeta("ID", time.Unix(7, 0), Terms{"delete": "yes", "rsyncpath": "/\xff"})
	meta.Stage.Cursor, meta.Ended.Completed, meta.Cut = "1_/\xff", 3, &Cut{Node: "part-1", Last: "0_/a"}
	meta.Steered = Steered{Version: 3, Skips: 1, Requeue: 2, Puts: 4}
	meta.Plan = Plan{Depth: 3, Subpaths: []Text{"2_a"}}
	f.Add(meta.Encode())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, DecodeMeta, Meta.Encode) })
}

func FuzzResult(f *testing.F) {
	f.Add(Result{Paths: []Text{"1_/a", "0_/\xfe"}, Outcome: Failed, Errors: []string{"x"}, Deleted: 1, Dest: "h:1"}.Encode())
	f.Add(Result{Paths: []Text{"1_/a"}, Outcome: Vanished, Within: true}.Encode())
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, noError(DecodeResult), Result.Encode)
	})
}

func FuzzFailure(f *testing.F) {
	f.Add(Failure{Path: "1_/\xff", Errors: []string{strings.Repeat("x", maxFailure), "last"}}.Encode())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeFailure), Failure.Encode) })
}

func FuzzPart(f *testing.F) {
	f.Add(Part{Who: "h:1", Report: "/a\xff"}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodePart), Part.Encode) })
}

func FuzzSynced(f *testing.F) {
	f.Add(Synced{}.To(3).ToVoid(7, "").ToVoid(9, "x").Encode())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeSynced), Synced.Encode) })
}

func FuzzWanted(f *testing.F) {
	f.Add(Wanted{Split: []string{WantedName("/a", 255)}, Share: []string{"b"}}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, func(data []byte) (Wanted, bool) { return DecodeWanted(data), true }, Wanted.Encode)
	})
}

func FuzzEpitaph(f *testing.F) {
	f.Add(Epitaph{Epoch: 7, Cleaner: "h:1"}.Encode())
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, func(data []byte) (Epitaph, bool) { return DecodeEpitaph(data), true }, Epitaph.Encode)
	})
}

func FuzzLinks(f *testing.F) {
	f.Add(EncodeLinks([]LinkGroup{{Ino: 1, Paths: []Text{"a", "\xff"}}}))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeLinks), EncodeLinks) })
}

func FuzzPlace(f *testing.F) {
	sign := Sign{FSID: 1 << 63, Inode: 2, Names: []Text{"a", "\xff"}}
	f.Add(Place{Sign: sign, Mounts: []Mounted{{Path: "b/c", Sign: sign}}}.Encode())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodePlace), Place.Encode) })
}

func FuzzPosition(f *testing.F) {
	f.Add(Position{Who: "h:1", Source: true, Boot: "b", Dir: "/\xff", Above: []Spot{{Device: "8:1", Path: "/a"}}, Below: []Spot{{At: "b"}}, Exclude: "/x"}.Encode())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodePosition), Position.Encode) })
}

func FuzzDest(f *testing.F) {
	f.Add([]byte("4444:host.example:17"))
	for _, value := range []string{"0x10:h:", "+7:h:x:y", "-1:h:1", "0:h:1", "65536:h:1", "1:-e:1", "1:a b:1", "1:$(id):1", "1:h:1\n"} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeDest), Dest.Encode) })
}

func FuzzKey(f *testing.F) {
	f.Add(Key{Fingerprint: strings.Repeat("0f", 32)}.Encode())
	f.Add(Key{Fingerprint: strings.Repeat("0f", 32), Mode: "plain"}.Encode())
	f.Add([]byte(`{"fingerprint":"","mode":"x"}`))
	decode := func(data []byte) (Key, error) { return DecodeKey(data, true) }
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, noError(decode), Key.Encode)
		if _, err := DecodeKey(data, false); err == nil {
			t.Fatal("a key that lasts is good")
		}
	})
}

func FuzzLack(f *testing.F) {
	f.Add(LacksRoot.Encode())
	f.Add([]byte("\x1b[2J"))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeLack), Lack.Encode) })
}

func FuzzNumber(f *testing.F) {
	f.Add([]byte("12"))
	f.Add([]byte("-1"))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeNumber), EncodeNumber) })
}

func FuzzUse(f *testing.F) {
	f.Add(Use{Rate: 7, Links: 2, Held: true}.Encode())
	f.Add([]byte(`{"rate":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeUse), Use.Encode) })
}

func FuzzShares(f *testing.F) {
	f.Add(Shares{Epoch: 7, Limit: 9, Rates: map[string]int64{"h:1": 5}}.Encode())
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeShares), Shares.Encode) })
}

func FuzzStatus(f *testing.F) {
	f.Add(Status{
		Role: RoleSource, Host: "h", Version: "1", Since: 7, Load: 0.5, Warning: NewWarning(8, "odd \x1b\xff"), Base: "/a\xff",
		Source: &SourceStatus{Jobs: 2, Sent: 1, Rate: 2, Runs: []RunStatus{{Path: "1_/\xff", Paths: 3, Destination: "h:1", Began: 9, Attempt: 1, Sent: 4, Rate: 5}}},
		Leader: &LeaderStatus{Walked: 0.25, Rates: Rates{Over: 60, Paths: 1}, Progress: 3, Waits: []Wait{{WaitBytes, 4}}, Foreseen: &Foreseen{2, 1}},
	}.Encode())
	f.Add(Status{Role: RoleDestination, Destination: &DestinationStatus{Slots: 4, State: Paused, Why: "full", Since: 1, Size: 1 << 63, Free: 1}}.Encode())
	f.Add([]byte(`{"role":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeStatus), Status.Encode) })
}

func FuzzControl(f *testing.F) {
	f.Add(Control{Paused: true, Stop: true, Jobs: map[string]int{"h": 0, "h:1": 4}, Skip: []Text{"a/b\xff"}, Requeue: 2}.Encode())
	for _, bad := range []string{"", "{}", `{"skip":[""]}`, `{"skip":["/a"]}`, `{"skip":["a/../b"]}`, `{"jobs":{"h":-1}}`, `{"requeue":-1}`} {
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeControl), Control.Encode) })
}

func FuzzHeed(f *testing.F) {
	f.Add(Heed{Version: -1, Jobs: 2, Running: 1, BwLimit: 7, Leads: true}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, noError(DecodeHeed), Heed.Encode) })
}
