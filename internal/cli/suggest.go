// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import "fmt"

// suggest names the option whose name is nearest to an unknown one, as the end of a message; empty
// if none is near.
func (p *Program) suggest(name string) string {
	if len(name) == 1 {
		if flag := p.flags.ShorthandLookup(name); flag != nil {
			return fmt.Sprintf("; the long name of -%s is %s", name, display(flag))
		}
	}
	if hint := p.foreign(name); hint != "" {
		return "; " + hint
	}
	best, distance := "", 1+len(name)/3
	for _, g := range p.allGroups() {
		for _, opt := range g.options {
			if d := editDistance(normal(name), normal(opt.Name)); d <= distance && (best == "" || d < distance) {
				best, distance = opt.Name, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// foreign returns what to do instead of giving an option of another program, "" if it is none.
func (p *Program) foreign(name string) string {
	if p.Foreign == nil {
		return ""
	}
	hint, _, _ := p.Foreign(name)
	return hint
}

// editDistance is how many letters must be added, dropped or replaced to make b out of a
// (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
