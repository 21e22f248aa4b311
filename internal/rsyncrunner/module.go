// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"vsc-zk/internal/private"
)

// modulePathVariable carries the module's path to the daemon. Its name must begin with an
// upper-case letter (rsync expands no other) and not with RSYNC_.
const modulePathVariable = "ZKRS_MODULE_PATH"

// maxModulePath is the number of bytes that rsync has room for when it expands a variable.
const maxModulePath = 2000

// URL returns the address of a module for rsync. host may be an IPv6 address, with or without
// brackets.
func URL(host string, port int, module string) string {
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return "rsync://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/" + module
}

// checkModule refuses names that a config file or a URL cannot carry.
func checkModule(module string) error {
	bad := ""
	switch {
	case module == "":
		bad = "it is empty"
	case module == "global":
		bad = "rsync uses this name for itself"
	case strings.ContainsAny(module, `/[]\%`):
		bad = "it has a slash, a bracket, a backslash or a percent sign"
	case strings.HasPrefix(module, "#"):
		bad = "it begins with #"
	case strings.ContainsFunc(module, unicode.IsControl):
		bad = "it has a control character"
	case strings.Join(strings.Fields(module), " ") != module:
		bad = "it has blanks at an end or several together"
	}
	if bad != "" {
		return fmt.Errorf("cannot name an rsync module %q: %s; choose another session name", module, bad)
	}
	return nil
}

// cleanModulePath removes empty and "." components, since rsync takes "/./" for the border of its
// chroot. ".." stays, as what is before it may be a link.
func cleanModulePath(path string) (string, error) {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("cannot serve %q: the path is not absolute", path)
	}
	var clean strings.Builder
	for component := range strings.SplitSeq(path, "/") {
		if component != "" && component != "." {
			clean.WriteString("/" + component)
		}
	}
	if clean.Len() > maxModulePath {
		return "", fmt.Errorf("cannot serve a path of %d bytes: rsync takes %d at most", clean.Len(), maxModulePath)
	}
	if clean.Len() == 0 {
		return "/", nil
	}
	return clean.String(), nil
}

// privilege is what the daemon may do.
type privilege struct {
	root   bool // may set uid and gid for transfers
	chroot bool
}

// moduleConfig returns the daemon's config file.
func moduleConfig(module string, may privilege) string {
	lines := []string{
		"reverse lookup = no",
		"path = %" + modulePathVariable + "%",
		"read only = no",
	}
	if may.root {
		lines = append(lines, "uid = 0", "gid = 0")
	}
	if may.chroot {
		lines = append(lines, "use chroot = yes")
	} else {
		lines = append(lines, "use chroot = no", "munge symlinks = no")
	}
	return strings.Join(append(lines, "["+module+"]"), "\n") + "\n"
}

// configFile is the daemon's config file.
type configFile struct {
	name, text string

	mu      sync.Mutex
	removed bool // by us
}

// writeConfig makes the config file, mode 0600, in a directory of its own, mode 0700, below base.
func writeConfig(base, text string) (*configFile, error) {
	dir, err := private.TempDir(base, "zkrsync-")
	if err != nil {
		return nil, fmt.Errorf("cannot write the rsync daemon's config file: %w", err)
	}
	name, err := writeTemporary(dir, text)
	if err != nil {
		_ = os.Remove(dir)
		return nil, fmt.Errorf("cannot write the rsync daemon's config file: %w", err)
	}
	return &configFile{name: name, text: text}, nil
}

// keep writes the file again unless it is as it was, and tells whether it had to.
func (c *configFile) keep() (repaired bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return false, nil
	}
	if data, err := os.ReadFile(c.name); err == nil && string(data) == c.text {
		return false, nil
	}
	dir := filepath.Dir(c.name)
	err = private.KeepDir(dir)
	if err == nil {
		var fresh string
		if fresh, err = writeTemporary(dir, c.text); err == nil {
			if err = os.Rename(fresh, c.name); err != nil {
				_ = os.Remove(fresh)
			}
		}
	}
	if err != nil {
		return false, fmt.Errorf("cannot write the rsync daemon's config file again, which somebody has removed or changed: %w", err)
	}
	return true, nil
}

func (c *configFile) remove() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removed = true
	_ = os.RemoveAll(filepath.Dir(c.name))
}

// writeTemporary writes a file of mode 0600 and returns its name.
func writeTemporary(dir, text string) (string, error) {
	file, err := os.CreateTemp(dir, "rsyncd-*.conf")
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(text)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}
