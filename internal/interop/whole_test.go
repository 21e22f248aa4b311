// SPDX-License-Identifier: LGPL-2.1-or-later

package interop

import (
	"testing"

	"vsc-zk/internal/testtree"
)

// Each role in turn is of the other kind, and then all are of both, with every odd name there is.
// Where Python slaves send, there are no names that they would lose, unless a Go master keeps those
// from them.
func TestWholeSessions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		names        testtree.Names
		master       kind
		slaves       []kind
		destinations []kind
	}{
		"Python master":               {testtree.PlainNames, python, []kind{golang, golang}, []kind{golang, golang}},
		"Go master":                   {testtree.PlainNames, golang, []kind{python, python}, []kind{python, python}},
		"Go slaves":                   {testtree.PlainNames, python, []kind{golang, golang}, []kind{python, python}},
		"Go destinations":             {testtree.PlainNames, python, []kind{python, python}, []kind{golang, golang}},
		"Python slaves":               {testtree.PlainNames, golang, []kind{python, python}, []kind{golang, golang}},
		"Python destinations":         {testtree.PlainNames, golang, []kind{golang, golang}, []kind{python, python}},
		"Python master and a mixture": {testtree.LineNames, python, []kind{golang, python}, []kind{golang, python}},
		"Go master and a mixture":     {testtree.OddNames, golang, []kind{golang, python}, []kind{golang, python}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, testtree.TreeOptions{Fanout: []int{3, 2}, Files: 2, Size: 1000, Names: c.names})
			if c.slaves[0] == golang && c.slaves[1] == golang {
				r.addLost()
			}
			m := r.begin(c.master)
			var others []client
			for _, k := range c.destinations {
				others = append(others, r.destination(k))
			}
			for _, k := range c.slaves {
				others = append(others, r.slave(k, nil))
			}
			r.end(m, others...)
			r.wantStats(m)
		})
	}
}
