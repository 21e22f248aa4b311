// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"

	"vsc-zk/internal/pathbuilder"
	"vsc-zk/internal/session/wire"
)

// bootID is a file with an id that each start of a kernel makes anew: devices have the same numbers
// wherever it is the same, in containers too.
const bootID = "/proc/sys/kernel/random/boot_id"

// Position says where the base stands on this machine.
func (b *Base) Position() (wire.Position, error) {
	if _, err := b.noted(); err != nil {
		return wire.Position{}, err
	}
	found, err := b.tree.Position()
	if err != nil {
		return wire.Position{}, err
	}
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return wire.Position{}, fmt.Errorf("cannot tell this machine from others: %w", err)
	}
	p := wire.Position{Boot: strings.TrimSpace(string(boot)), Dir: wire.Text(b.Dir), Above: spots(found.Above), Below: spots(found.Below)}
	if b.Config.Exclude != nil {
		p.Exclude = b.Config.Exclude.String()
	}
	return p, nil
}

func spots(found []pathbuilder.Spot) (spots []wire.Spot) {
	for _, s := range found {
		spots = append(spots, wire.Spot{Device: s.Device, Path: wire.Text(s.Path), At: wire.Text(s.At)})
	}
	return spots
}

// Overlap is an error if a source and a destination are one directory, or one is in the other, so that a
// session would send what it has just written. Of two machines, whose devices have their own numbers, it
// says nothing; nor of a destination that the source may leave out.
func Overlap(source, dest wire.Position) error {
	if source.Boot == "" || source.Boot != dest.Boot || len(source.Above) == 0 || len(dest.Above) == 0 {
		return nil
	}
	refuse := func(why string) error {
		return fmt.Errorf("cannot send from %s of %s into %s of %s: %s", source.Dir, source.Who, dest.Dir, dest.Who, why)
	}
	if s, d := source.Above[0], dest.Above[0]; s.Device == d.Device && s.Path == d.Path {
		return refuse("they are the same directory")
	}
	if len(places(source, dest)) > 0 {
		return refuse("the source is in the destination")
	}
	exclude, err := regexp.Compile(source.Exclude)
	if err != nil || source.Partial {
		return nil
	}
	for _, at := range places(dest, source) {
		if source.Exclude == "" || !excluded(exclude, string(source.Dir), at) {
			return refuse("the destination is in the source")
		}
	}
	return nil
}

// places are where one base is seen in another, as that is called.
func places(inner, outer wire.Position) (found []string) {
	areas := append([]wire.Spot{{Device: outer.Above[0].Device, Path: outer.Above[0].Path}}, outer.Below...)
	for _, area := range areas {
		for _, spot := range inner.Above {
			if rel, ok := toSpot(area).Holds(toSpot(spot)); ok {
				found = append(found, path.Join(string(outer.Dir), string(area.At), rel))
			}
		}
	}
	return found
}

func toSpot(s wire.Spot) pathbuilder.Spot {
	return pathbuilder.Spot{Device: s.Device, Path: string(s.Path)}
}

// excluded tells whether a pattern leaves out a directory, or one between it and the base.
func excluded(pattern *regexp.Regexp, base, at string) bool {
	for ; len(at) > len(base); at = path.Dir(at) {
		if pattern.MatchString(at) {
			return true
		}
	}
	return false
}
