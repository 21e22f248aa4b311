// SPDX-License-Identifier: LGPL-2.1-or-later

package guard

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"vsc-zk/internal/pathbuilder"
)

// Config is what a base has to be, and what of it is left out. Sources of a session agree on all of
// it.
type Config struct {
	Path       string // the base: of the source or of the destination
	VerifyPath bool   // look whether the base is there
	Sentinel   string // name below the base without which nothing runs; "": none
	Delete     bool   // rsync may delete at the destination
	AllowEmpty bool   // an empty source is not refused with Delete

	Exclude      *regexp.Regexp // directories that are left out; nil: none
	ExcludeUser  string         // only those of this user; "": of any
	ExcludeBelow bool           // also below the depth
}

// Base is the base path of a client.
type Base struct {
	Dir    string // absolute, without a trailing slash
	Config Config
}

// NewBase refuses a path that cannot be a base.
func NewBase(cfg Config) (*Base, error) {
	dir, err := pathbuilder.CleanBase(cfg.Path)
	if err != nil {
		return nil, err
	}
	return &Base{dir, cfg}, nil
}

//lint:ignore ST1005 the text is the Python program's, which logs are searched for
var errBasePath = errors.New("Basepath not available")

// CheckStart refuses to start on a base that is not there, unless the user has asked for no such
// check, or that has no sentinel.
func (b *Base) CheckStart() error {
	if b.Config.VerifyPath && !b.isDir() {
		return fmt.Errorf("cannot use path %q: it does not exist or is not a directory", b.Dir)
	}
	return b.checkSentinel()
}

// Problem says why nothing can be received into the base now, nil if it can.
func (b *Base) Problem() error {
	if b.Config.VerifyPath && !b.isDir() {
		return errBasePath
	}
	return b.checkSentinel()
}

// SourceProblem says why nothing can be sent from the base now, nil if it can.
func (b *Base) SourceProblem() error {
	if err := b.Problem(); err != nil {
		return err
	}
	return b.CheckNotEmpty()
}

func (b *Base) isDir() bool {
	info, err := os.Stat(b.Dir)
	return err == nil && info.IsDir()
}

// checkSentinel looks for the file that says that the right file system is mounted.
func (b *Base) checkSentinel() error {
	if b.Config.Sentinel == "" {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(b.Dir, b.Config.Sentinel)); err != nil {
		return fmt.Errorf("cannot use %q: the file %q that --sentinel names is not in it (%w)", b.Dir, b.Config.Sentinel, err)
	}
	return nil
}

// CheckNotEmpty refuses an empty source when rsync may delete: what looks empty is most often a file
// system that is not mounted, and the destination would be wiped.
func (b *Base) CheckNotEmpty() error {
	if !b.Config.Delete || b.Config.AllowEmpty {
		return nil
	}
	dir, err := os.Open(b.Dir)
	if err != nil {
		return fmt.Errorf("cannot look into the source before deleting: %w", err)
	}
	defer dir.Close()
	switch _, err := dir.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("cannot use --delete: source %q is empty, is its file system mounted? (--allow-empty if this is meant)", b.Dir)
	case err != nil:
		return fmt.Errorf("cannot look into the source before deleting: %w", err)
	}
	return nil
}

// Unprotected says what ExcludeBelow cannot do with this pattern, "" if it can do all.
func (b *Base) Unprotected() string {
	if !b.Config.ExcludeBelow || !b.Config.Delete || b.Config.Exclude == nil {
		return ""
	}
	if _, ok := pathbuilder.ProtectName(b.Config.Exclude); ok {
		return ""
	}
	return fmt.Sprintf("--exclude-below cannot protect what exists at the destination only: --delete deletes it there though it matches %q. "+
		"A pattern of the form /name(/.*|$) protects that name", b.Config.Exclude)
}
