// SPDX-License-Identifier: LGPL-2.1-or-later

package zktest

import (
	"fmt"
	"os"
	"path/filepath"
)

// PrivateCopy copies the files of a directory into a new one, readable by this user alone, as config files with
// passwords should be.
func PrivateCopy(from, to string) error {
	err := os.Mkdir(to, 0o700)
	if err == nil {
		err = os.CopyFS(to, os.DirFS(from))
	}
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w", from, err)
	}
	files, err := filepath.Glob(filepath.Join(to, "*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Chmod(file, 0o600); err != nil {
			return fmt.Errorf("cannot copy %s: %w", from, err)
		}
	}
	return nil
}
