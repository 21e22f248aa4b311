// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"fmt"
	"testing"
)

func TestCauses(t *testing.T) {
	denied := func(i int) []string {
		return []string{"exit status 23 (partial transfer)", fmt.Sprintf(`rsync: [sender] send_files failed to open "/data/dir%d/\"x\"" (in m): Permission denied (13)`, i)}
	}
	full := []string{"exit status 23 (partial transfer)", `rsync: [receiver] mkstemp "/data/x" (in m) failed: No space left on device (28)`}
	c := newCauses()
	for i := range alike + 5 {
		if got, want := c.common(denied(i)), i >= 3; got != want {
			t.Errorf("after %d: common %v", i, got)
		}
		if got, want := c.told(denied(i)), i >= alike; got != want {
			t.Errorf("after %d: told %v", i, got)
		}
		if _, first := c.failed(denied(i)); first != (i == alike-1) {
			t.Errorf("after %d: first %v", i+1, first)
		}
	}
	if c.common(full) {
		t.Error("another error is taken for the same cause")
	}
	if text := cause(denied(7)); text != `rsync: [sender] send_files failed to open ... (in m): Permission denied (13)` {
		t.Errorf("%q", text)
	}
}
