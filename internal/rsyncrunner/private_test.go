// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Nobody exchanges the config file: not where others may write and delete, and not by a directory of his own
// in the place of ours.
func TestDaemonsConfigIsPrivate(t *testing.T) {
	base := t.TempDir() + "/open"
	if err := errors.Join(os.Mkdir(base, 0o700), os.Chmod(base, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := writeConfig(base, "text"); err == nil || !strings.Contains(err.Error(), "has no sticky bit; type chmod +t "+base) {
		t.Errorf("error %v", err)
	}

	if err := os.Chmod(base, fs.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	config, err := writeConfig(base, "text")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(config.name)
	if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("its directory %v: %v", info, err)
	}
	for what, lay := range map[string]func() error{
		"a directory": func() error { return errors.Join(os.Mkdir(dir, 0o777), os.Chown(dir, 65534, 65534)) },
		"an open one": func() error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) },
		"a link":      func() error { return os.Symlink(t.TempDir(), dir) },
	} {
		if err := errors.Join(os.RemoveAll(dir), lay()); err != nil {
			t.Fatal(err)
		}
		if _, err := config.keep(); err == nil {
			t.Errorf("with %s in the place of ours the file is written", what)
		}
	}
}

func TestFollowsLinks(t *testing.T) {
	for text, want := range map[string]bool{"--links, -l\n--insecure-links": false, "--links, -l": true} {
		if got, err := followsLinks(t.Context(), script(t, "echo '"+text+"'")); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
