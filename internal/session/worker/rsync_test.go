// SPDX-License-Identifier: LGPL-2.1-or-later

package worker

import (
	"testing"

	"vsc-zk/internal/rsyncrunner"
)

// A run is not ended when much of a large file would have to be sent again.
func TestTooMuchToLose(t *testing.T) {
	const large = 64 << 20
	for what, c := range map[string]struct {
		file rsyncrunner.Reading
		want bool
	}{
		"small":            {rsyncrunner.Reading{Size: large - 1, Read: large / 2}, false},
		"just begun":       {rsyncrunner.Reading{Size: large, Read: large/littleOf - 1}, false},
		"in the midst":     {rsyncrunner.Reading{Size: large, Read: large / 2}, true},
		"nearly done":      {rsyncrunner.Reading{Size: large, Read: large - 1}, true},
		"huge, just begun": {rsyncrunner.Reading{Size: 1 << 40, Read: 1 << 20}, false},
		"huge, a little":   {rsyncrunner.Reading{Size: 1 << 40, Read: large / littleOf}, true},
	} {
		if got := tooMuchToLose(c.file, large); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}
