// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"fmt"
	"os"
	"strings"
)

// Entry is one directory to be transferred.
type Entry struct {
	Path      string // absolute, the file system's bytes
	Recursive bool   // with everything below
}

// Encode returns the entry as it stands in the queues: "1_/abs" or "0_/abs".
func (e Entry) Encode() []byte {
	if e.Recursive {
		return []byte("1_" + e.Path)
	}
	return []byte("0_" + e.Path)
}

// Decode reads what Encode, or a Python client, wrote. Whatever it accepts encodes to the same
// bytes again.
func Decode(b []byte) (Entry, error) {
	flag, path, found := strings.Cut(string(b), "_")
	switch {
	case !found || flag != "0" && flag != "1":
		return Entry{}, fmt.Errorf("cannot read path entry %s: it must begin with 0_ or 1_", Printable(string(b)))
	case !strings.HasPrefix(path, "/"):
		return Entry{}, fmt.Errorf("cannot read path entry %s: the path must begin with /", Printable(string(b)))
	case strings.Contains(path, "\x00"):
		// It would be two names in the NUL-separated list for rsync.
		return Entry{}, fmt.Errorf("cannot read path entry %s: no path can hold a NUL byte", Printable(string(b)))
	}
	return Entry{Path: path, Recursive: flag == "1"}, nil
}

// Rel returns the entry's path relative to base, "" for base itself. A path that is not below base,
// component by component, or would leave it again by "..", is an error.
func (e Entry) Rel(base string) (string, error) {
	rel, ok := below(base, e.Path)
	if !ok {
		return "", fmt.Errorf("cannot use path %s: it is not below %s; every client of a session must be given the same path",
			Printable(e.Path), Printable(base))
	}
	if rel != "" && !plain(rel) {
		return "", fmt.Errorf("cannot use path %s: below %s it must have no empty, . or .. component",
			Printable(e.Path), Printable(base))
	}
	return rel, nil
}

// CleanBase returns the spelling of a base path that all entries begin with: absolute, without
// trailing slashes ("/" stays). Nothing else is rewritten, as the entries of other clients begin
// with the spelling that these were given.
func CleanBase(path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("cannot use an empty path")
	}
	if strings.Contains(path, "\x00") {
		return "", fmt.Errorf("cannot use path %s: no path can hold a NUL byte", Printable(path))
	}
	if !strings.HasPrefix(path, "/") {
		wd, err := os.Getwd()
		if err != nil {
			return "", fmt.Errorf("cannot make path %s absolute: %w; give one that begins with /", Printable(path), err)
		}
		path = join(wd, strings.TrimPrefix(path+"/", "./"))
	}
	path = strings.TrimRight(path, "/")
	if path == "" {
		return "/", nil
	}
	return path, nil
}

// below cuts base off path; ok is false for a path that is neither base nor below it.
func below(base, path string) (rel string, ok bool) {
	if path == base {
		return "", true
	}
	return strings.CutPrefix(path, strings.TrimRight(base, "/")+"/")
}

// plain reports whether every component of rel names a directory entry.
func plain(rel string) bool {
	for name := range strings.SplitSeq(rel, "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	return true
}

func join(dir, name string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}
