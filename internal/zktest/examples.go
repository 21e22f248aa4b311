// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"fmt"
	"os"
	"path/filepath"
)

// PrivateCopy copies the config files of the examples into a new directory, readable by this user alone, as
// files with passwords should be.
func PrivateCopy(from, to string) error {
	err := os.Mkdir(to, 0o700)
	for _, name := range []string{"zkinitree.cfg", "zkrs.conf"} {
		var text []byte
		if err == nil {
			text, err = os.ReadFile(filepath.Join(from, name))
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), text, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w", from, err)
	}
	return nil
}
