// SPDX-License-Identifier: LGPL-2.1-or-later

package private

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	groupWrites = 0o020
	othersWrite = 0o002
	othersUse   = 0o006 // read or write
)

// owner is whose a file is, and the mode bits with it.
func owner(info fs.FileInfo) (uid, gid uint32, links uint64) {
	stat := info.Sys().(*syscall.Stat_t) // which it is, on Linux
	return stat.Uid, stat.Gid, uint64(stat.Nlink)
}

// ours tells whether a file belongs to root or to this user.
func ours(info fs.FileInfo) bool {
	uid, _, _ := owner(info)
	return uid == 0 || uid == uint32(os.Geteuid())
}

// nobody is the owner that files are shown to have whose owners have no number here: the host's root, in a
// container of a user. It is -1 where all users have numbers.
var nobody = sync.OnceValue(func() int {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || slices.Equal(strings.Fields(string(ids)), []string{"0", "0", "4294967295"}) {
		return -1
	}
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return -1
	}
	uid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1
	}
	return uid
})

func unnumbered(info fs.FileInfo) bool {
	uid, _, _ := owner(info)
	return int(uid) == nobody()
}

// open tells whether others may write, by the mode.
func open(info fs.FileInfo) bool {
	_, gid, _ := owner(info)
	mode := info.Mode()
	return mode&othersWrite != 0 || mode&groupWrites != 0 && gid != 0 && gid != uint32(os.Getegid())
}

// Controlled tells why others control a directory: "" if they do not, or if nobody can look.
func Controlled(dir string) (why string) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return ""
	case !ours(info):
		uid, _, _ := owner(info)
		return fmt.Sprintf("%s belongs to another user (%d)", dir, uid)
	case open(info):
		return fmt.Sprintf("others may write in %s", dir)
	}
	return ""
}

// OpenFile is os.OpenFile for a file that is written.
func OpenFile(path string, flag int, mode fs.FileMode) (*os.File, error) {
	why := Controlled(filepath.Dir(path))
	if why == "" {
		return os.OpenFile(path, flag, mode)
	}
	// Its sentence is better than the kernel's, which may refuse such files by itself (fs.protected_regular and
	// the like), but it can be too early.
	if err := Check(path); err != nil {
		return nil, err
	}
	// A pipe that somebody has laid would hold the open up.
	file, err := os.OpenFile(path, flag&^os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = mine(info, path, why)
	}
	if err == nil && flag&os.O_TRUNC != 0 {
		err = file.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Check tells whether OpenFile would refuse a file that exists. What cannot be looked at is left to OpenFile.
func Check(path string) error {
	why := Controlled(filepath.Dir(path))
	if why == "" {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%s is a symbolic link, and %s: it is not followed; remove it, or give another name", path, why)
	}
	return mine(info, path, why)
}

// mine refuses a file that somebody else may have laid.
func mine(info fs.FileInfo, path, why string) error {
	_, _, links := owner(info)
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file, and %s: it is not written; remove it, or give another name", path, why)
	case !ours(info):
		return fmt.Errorf("%s belongs to another user, and %s: it is not written; remove it, or give another name", path, why)
	case links > 1:
		return fmt.Errorf("%s has other names (hard links), and %s: it is not written; remove it, or give another name", path, why)
	}
	return nil
}

// TempDir makes a directory for temporary files of ours below base, "" for os.TempDir. Whoever asked for it
// removes it.
func TempDir(base, pattern string) (string, error) {
	base = cmp.Or(base, os.TempDir())
	if err := checkTemporary(base); err != nil {
		return "", err
	}
	return os.MkdirTemp(base, pattern)
}

// KeepDir makes a directory of TempDir's again when it is gone. Somebody else's in its place is an error.
func KeepDir(dir string) error {
	base := filepath.Dir(dir)
	if err := os.MkdirAll(base, 0o700); err != nil {
		return err
	}
	if err := checkTemporary(base); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if uid, _, _ := owner(info); !info.IsDir() || uid != uint32(os.Geteuid()) || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not the directory that this program has made, or not its own alone any more", dir)
	}
	return nil
}

// checkTemporary goes through a directory and those above it.
func checkTemporary(base string) error {
	dir, err := filepath.Abs(base)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return err
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return err
		case !ours(info) && !unnumbered(info):
			return fmt.Errorf("temporary files in %s could be exchanged: %s; set TMPDIR to a directory of your own", base, Controlled(dir))
		case open(info) && info.Mode()&fs.ModeSticky == 0:
			return fmt.Errorf("temporary files in %s could be exchanged: others may write in %s, which has no sticky bit; type chmod +t %[2]s, or set TMPDIR to a directory of your own", base, dir)
		}
		above := filepath.Dir(dir)
		if above == dir {
			return nil
		}
		dir = above
	}
}

// maxSecret bounds the file of a secret, in bytes.
const maxSecret = 1 << 20

// ReadSecret reads a file that only those may read who may know what is in it.
func ReadSecret(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !ours(info):
		uid, _, _ := owner(info)
		return nil, fmt.Errorf("%s belongs to another user (%d): chown it to the one that this program runs as", path, uid)
	case info.Mode()&othersUse != 0, open(info):
		return nil, fmt.Errorf("others may read or write %s; type chmod 600 %[1]s, and think of another secret if it was seen", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err == nil && len(data) > maxSecret {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSecret)
	}
	return data, err
}

// OthersWrite tells whether everybody may write a file.
func OthersWrite(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode()&othersWrite != 0
}

// Exposed tells in what way others get at a file with secrets that was read already: "" if they do not.
func Exposed(info fs.FileInfo) string {
	switch {
	case !ours(info):
		uid, _, _ := owner(info)
		return fmt.Sprintf("belongs to another user (%d)", uid)
	case open(info):
		return "can be written by others"
	case info.Mode()&othersUse != 0:
		return "can be read by others"
	}
	return ""
}
