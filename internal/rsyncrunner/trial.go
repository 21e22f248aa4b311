// SPDX-License-Identifier: LGPL-2.1-or-later

package rsyncrunner

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// oldest is the first version of rsync that this package works with: those before do not report what
// is read back.
var oldest = [2]int{3, 1}

var versionLine = regexp.MustCompile(`^rsync +version v?(\d+)\.(\d+)`)

// CheckVersion refuses an rsync that is too old. One whose version cannot be read may do.
func CheckVersion(ctx context.Context) error { return checkVersion(ctx, "") }

// Version is the number of rsync's version, and where rsync is.
func Version(ctx context.Context) (version, file string, err error) {
	file, err = exec.LookPath("rsync")
	if err != nil {
		return "", "", fmt.Errorf("cannot find rsync: %w; install it, or correct PATH", err)
	}
	text, _, err := ask(ctx, file, "--version")
	if err != nil {
		return "", "", err
	}
	line, _, _ := strings.Cut(text, "\n")
	if fields := strings.Fields(line); len(fields) > 2 {
		return fields[2], file, nil
	}
	return "", "", fmt.Errorf("cannot read the version of %s: it says %q", file, cut(line, 80))
}

// FollowsLinks tells whether rsync follows links in the components above what it reads: before 3.5.0, which
// has --insecure-links for that, it does.
func FollowsLinks(ctx context.Context) (bool, error) { return followsLinks(ctx, "") }

func followsLinks(ctx context.Context, program string) (bool, error) {
	help, _, err := ask(ctx, programName(program), "--help")
	return err == nil && !strings.Contains(help, "--insecure-links"), err
}

func checkVersion(ctx context.Context, program string) error {
	text, _, err := ask(ctx, programName(program), "--version")
	if err != nil {
		return err
	}
	found := versionLine.FindStringSubmatch(text)
	if found == nil {
		return nil
	}
	major, _ := strconv.Atoi(found[1])
	minor, _ := strconv.Atoi(found[2])
	if major < oldest[0] || major == oldest[0] && minor < oldest[1] {
		return fmt.Errorf("cannot work with rsync %d.%d (%s): install %d.%d or newer", major, minor, programName(program), oldest[0], oldest[1])
	}
	return nil
}
