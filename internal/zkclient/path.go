// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import (
	"fmt"
	"strings"
)

// Path joins base, an absolute znode path, and name. A name without a leading "/" is below base. An
// absolute name must be base or below it, component by component ("/administrator" is not below
// "/admin"). An empty name is base. Slashes at the end are dropped. Empty, "." and ".." components
// are errors.
func Path(base, name string) (string, error) {
	if !strings.HasPrefix(base, "/") {
		return "", fmt.Errorf("cannot use %q as a base: it does not begin with /", base)
	}
	base = strings.TrimRight(base, "/")
	full := name
	if !strings.HasPrefix(name, "/") {
		full = base + "/" + name
	}
	full = strings.TrimRight(full, "/")
	if full != base && !strings.HasPrefix(full, base+"/") {
		return "", fmt.Errorf("cannot use the path %s: it is not below %s", name, base)
	}
	if full == "" {
		return "/", nil
	}
	for _, part := range strings.Split(full[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("cannot use the path %s: it has an empty, \".\" or \"..\" component", full)
		}
	}
	return full, nil
}

// split cuts an absolute path into its parent and its last component.
func split(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[i+1:]
	}
	return path[:i], path[i+1:]
}

// join appends a child's name to a path.
func join(path, name string) string {
	if path == "/" {
		return "/" + name
	}
	return path + "/" + name
}

// full is path as the server knows it.
func (c *Client) full(path string) string {
	if path == "/" && c.chroot != "" {
		return c.chroot
	}
	return c.chroot + path
}

// own is the reverse of full.
func (c *Client) own(path string) string {
	if path == c.chroot && path != "" {
		return "/"
	}
	return strings.TrimPrefix(path, c.chroot)
}
