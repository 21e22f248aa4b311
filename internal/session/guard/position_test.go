// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"strings"
	"testing"

	"vsc-zk/internal/session/wire"
)

// spot is "device:path" or "device:path@where".
func spot(s string) wire.Spot {
	s, at, _ := strings.Cut(s, "@")
	device, path, _ := strings.Cut(s, ":")
	return wire.Spot{Device: device, Path: wire.Text(path), At: wire.Text(at)}
}

// position is of a base, of what is above it, and, after "in", of what is mounted in it.
func position(dir string, list ...string) wire.Position {
	p := wire.Position{Boot: "b", Dir: wire.Text(dir)}
	above := true
	for _, s := range list {
		switch {
		case s == "in":
			above = false
		case above:
			p.Above = append(p.Above, spot(s))
		default:
			p.Below = append(p.Below, spot(s))
		}
	}
	return p
}

func TestOverlap(t *testing.T) {
	with := func(p wire.Position, change func(*wire.Position)) wire.Position { change(&p); return p }
	data := position("/data", "A:/data")
	whole := position("/", "A:/", "in", "P:/@proc", "B:/@mnt/new")
	inside := position("/mnt/new", "B:/", "A:/mnt")
	const same, destIn, sourceIn = "the same directory", "the destination is in", "the source is in"
	for what, c := range map[string]struct {
		source, dest wire.Position
		want         string
	}{
		"neighbours":             {data, position("/data2", "A:/data2"), ""},
		"same name, other disk":  {data, position("/data", "B:/data", "A:/"), ""},
		"same":                   {data, position("/data", "A:/data"), same},
		"same, bound elsewhere":  {data, position("/mnt/x", "A:/data", "A:/mnt/x"), same},
		"in it":                  {data, position("/data/a/b", "A:/data/a/b"), destIn},
		"around it":              {position("/data/a", "A:/data/a"), data, sourceIn},
		"in a mount in it":       {data, position("/data/m/x", "B:/x", "A:/data/m"), destIn},
		"in what is bound in it": {position("/data", "A:/data", "in", "B:/other@ext"), position("/other/y", "B:/other/y"), destIn},
		"around it, mounted":     {position("/dst/m/x", "B:/x", "A:/dst/m"), position("/dst", "A:/dst", "in", "B:/@m"), sourceIn},
		"both have proc":         {position("/", "A:/", "in", "P:/@proc"), position("/", "B:/", "in", "P:/@proc"), ""},
		"the whole system":       {whole, inside, destIn},
		"but for that":           {with(whole, func(p *wire.Position) { p.Exclude = "^/mnt$" }), inside, ""},
		"but for something else": {with(whole, func(p *wire.Position) { p.Exclude = "^/mnt2" }), inside, destIn},
		"of which rsync knows":   {with(whole, func(p *wire.Position) { p.Partial = true }), inside, ""},
		"same, but for a part":   {with(data, func(p *wire.Position) { p.Partial = true; p.Exclude = "x" }), data, same},
		"another machine":        {data, with(data, func(p *wire.Position) { p.Boot = "c" }), ""},
		"nothing is known":       {data, wire.Position{Boot: "b"}, ""},
		"a pattern of garbage":   {with(whole, func(p *wire.Position) { p.Exclude = "(" }), inside, ""},
	} {
		err := Overlap(c.source, c.dest)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}
