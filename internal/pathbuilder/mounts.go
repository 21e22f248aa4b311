// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Mounts is what was mounted below the base of a tree at one time. Its methods may be called at the same
// time.
type Mounts struct {
	tree *Tree
	base *Place

	mu     sync.Mutex
	points map[string]mount // by path below the base; mounted again, a file system is as it was

	reusedIDs bool // as on kernels before 6.8, where a later mount may get the id of an earlier one
}

// Apart is a directory that is not what it was, as another file system is mounted there than at the
// start, or none any more: what is there now is neither to be sent nor to be deleted at the destination.
type Apart struct {
	Rel string // below the base
	New bool   // nothing was mounted there
	Why error
}

// mount is one mounted file system, or a part of one, seen from an open directory.
type mount struct {
	unique uint64 // id that is never used again; 0 where the kernel has none
	id     int    // the one of mountinfo, used again after an unmount
	parent int    // id of the mount that the point is on
	dev    string // major:minor
	root   string // what of the file system is mounted
	point  string // where
	fstype string
	source string

	fsid uint64 // see statFileSystem
	ino  uint64 // of the open directory
}

func (m mount) String() string {
	source := m.source
	if source == "" {
		source = "(no name)"
	}
	return fmt.Sprintf("%s (%s) mounted at %s", Printable(source), Printable(m.fstype), Printable(m.point))
}

// isMount reports whether two directories are on one mount.
func (m mount) isMount(was mount) bool {
	if m.unique != 0 && was.unique != 0 {
		return m.unique == was.unique
	}
	return m.id == was.id && m.dev == was.dev && m.point == was.point && m.fstype == was.fstype && m.source == was.source && m.fsid == was.fsid
}

// isFileSystem reports whether two mounts are of one file system, as far as can be told.
func (m mount) isFileSystem(was mount) bool {
	if m.fsid != 0 || was.fsid != 0 {
		return m.fstype == was.fstype && m.fsid == was.fsid
	}
	return m.fstype == was.fstype && m.source == was.source
}

// otherMount says that a directory lies on another mount than at the start.
func otherMount(path string, was, is mount) error {
	now := fmt.Sprintf("it is on %s: is a file system not mounted?", is)
	if was.String() == is.String() {
		now = "another file system is mounted there."
	}
	return fmt.Errorf("cannot rely on %s: it was on %s when this client started, now %s See what is mounted, then start this client again",
		Printable(path), was, now)
}

// Mounts notes what is mounted below the base now.
func (p *Place) Mounts() (*Mounts, error) {
	m := &Mounts{tree: p.tree, base: p}
	return m, m.note()
}

// Points are the directories below the base where something was mounted.
func (m *Mounts) Points() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.points))
}

// Look is an error if the directory rel ("" for the base) is not to be relied on, as it lies on another
// mount than at the start, or if that cannot be told. Of what is directly below rel, or with recursive
// anywhere below it, it gives the directories that are apart. Only with deletes does something that is
// mounted where nothing was count: a file system may be mounted when somebody goes there, and then what
// is seen is what is there.
func (m *Mounts) Look(rel string, recursive, deletes bool) ([]Apart, error) {
	if err := m.same(rel, deletes); err != nil {
		return nil, err
	}
	inside := func(point string) bool {
		below, ok := strings.CutPrefix(point, rel+"/")
		if rel == "" {
			below, ok = point, true
		}
		return ok && (recursive || !strings.Contains(below, "/"))
	}
	points := map[string]bool{}
	if deletes {
		table, err := readMountTable()
		if err != nil {
			return nil, m.cannotTell(rel, err)
		}
		points = m.tree.pointsBelow(table)
	}
	m.mu.Lock()
	for point := range m.points {
		points[point] = true
	}
	m.mu.Unlock()
	maps.DeleteFunc(points, func(point string, _ bool) bool { return !inside(point) })
	var apart []Apart
	for _, point := range slices.Sorted(maps.Keys(points)) {
		if slices.ContainsFunc(apart, func(a Apart) bool { return strings.HasPrefix(point, a.Rel+"/") }) {
			continue
		}
		err := m.same(point, deletes)
		_, noted := m.covering(point)
		if err == nil || noted != point && hidden(err) {
			continue
		}
		apart = append(apart, Apart{Rel: point, New: noted != point, Why: err})
	}
	return apart, nil
}

// same is nil if rel lies on the mount that it lay on.
func (m *Mounts) same(rel string, deletes bool) error {
	fd, err := m.tree.open(rel, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	was, point := m.covering(rel)
	if was.unique != 0 {
		stat, err := statMount(fd)
		if err != nil {
			return m.cannotTell(rel, err)
		}
		if stat.Mnt_id == was.unique {
			return nil
		}
	}
	table, err := readMountTable()
	if err != nil {
		return m.cannotTell(rel, err)
	}
	is, err := m.identify(fd, table)
	if err != nil {
		return m.cannotTell(rel, err)
	}
	if is.isMount(was) {
		return nil
	}
	now, err := m.back(point, was, table)
	if err != nil {
		return err
	}
	if now == nil {
		return otherMount(m.tree.path(rel), was, is)
	}
	if !deletes || is.isMount(*now) {
		return nil
	}
	return otherMount(m.tree.path(rel), *now, is)
}

// back gives what is mounted at a point now, if that is what was; nil if it is not.
func (m *Mounts) back(point string, was mount, table map[int]mount) (*mount, error) {
	if point == "" {
		if _, err := m.base.Check(); err != nil {
			return nil, err
		}
		now := m.base.lies()
		return &now, nil
	}
	fd, err := m.tree.open(point, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	now, err := m.identify(fd, table)
	if err != nil {
		return nil, m.cannotTell(point, err)
	}
	if !now.isMount(was) && (!now.isFileSystem(was) || now.ino != was.ino) {
		return nil, nil
	}
	m.mu.Lock()
	m.points[point] = now
	m.mu.Unlock()
	return &now, nil
}

// hidden reports whether an error says that a mount point cannot be reached as a directory, because
// something is mounted above it or because it is a file.
func hidden(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// covering is the mount that rel lay on, and where that was.
func (m *Mounts) covering(rel string) (was mount, point string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for rel != "" {
		if found, ok := m.points[rel]; ok {
			return found, rel
		}
		rel = rel[:max(strings.LastIndexByte(rel, '/'), 0)]
	}
	return m.base.lies(), ""
}

func (m *Mounts) cannotTell(rel string, err error) error {
	return fmt.Errorf("cannot learn what %s is mounted on: %w", Printable(m.tree.path(rel)), err)
}

// note fills in the points. Only opening a place tells which of several mounts there is visible, or
// whether none is.
func (m *Mounts) note() error {
	table, err := readMountTable()
	if err != nil {
		return m.cannotTell("", err)
	}
	m.points = map[string]mount{}
	for point := range m.tree.pointsBelow(table) {
		fd, err := m.tree.open(point, unix.O_PATH)
		if err != nil {
			continue // what cannot be reached is not worked on either
		}
		found, err := m.identify(fd, table)
		unix.Close(fd)
		if err == nil {
			m.points[point] = found
		}
	}
	return nil
}

func (m *Mounts) identify(fd int, table map[int]mount) (mount, error) {
	found, err := identify(fd, table)
	if m.reusedIDs {
		found.unique = 0
	}
	return found, err
}

// identify returns the mount that an open directory lies on.
func identify(fd int, table map[int]mount) (mount, error) {
	id, err := mountID(fd)
	if err != nil {
		return mount{}, err
	}
	found, ok := table[id]
	if !ok {
		return mount{}, fmt.Errorf("%s does not list mount %d: was it mounted or unmounted just now?", mountTable, id)
	}
	stat, fsid, err := statFileSystem(fd)
	found.unique, found.ino, found.fsid = stat.Mnt_id, stat.Ino, fsid
	return found, err
}

// statFileSystem is statMount, with the id of the file system: 0 if it has none, or but its device's number.
func statFileSystem(fd int) (stat unix.Statx_t, fsid uint64, err error) {
	if stat, err = statMount(fd); err != nil {
		return stat, 0, err
	}
	var fs unix.Statfs_t
	if err := ignoreInterrupts(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return stat, 0, fmt.Errorf("statfs: %w", err)
	}
	fsid = uint64(uint32(fs.Fsid.Val[0])) | uint64(uint32(fs.Fsid.Val[1]))<<32
	if fsid == unix.Mkdev(stat.Dev_major, stat.Dev_minor) {
		fsid = 0
	}
	return stat, fsid, nil
}

// statMount looks at an open directory's inode and its mount's unique id, which is 0 on kernels that have
// none. The kernel knows the answer, so no file server is asked.
func statMount(fd int) (stat unix.Statx_t, err error) {
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_MNT_ID_UNIQUE, &stat)
	if err == unix.ENOSYS || err == unix.EPERM {
		var old unix.Stat_t
		if err := unix.Fstat(fd, &old); err != nil {
			return stat, fmt.Errorf("stat: %w", err)
		}
		stat.Ino, stat.Dev_major, stat.Dev_minor = old.Ino, unix.Major(old.Dev), unix.Minor(old.Dev)
		return stat, nil
	}
	if err != nil {
		return stat, fmt.Errorf("statx: %w", err)
	}
	if stat.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		stat.Mnt_id = 0
	}
	return stat, nil
}

// mountID is the id in the mount table; statx has it only since Linux 5.8.
func mountID(fd int) (int, error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		if value, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("/proc/self/fdinfo has no mnt_id")
}

const mountTable = "/proc/self/mountinfo"

// readMountTable returns the mounts of this process by their ids.
func readMountTable() (map[int]mount, error) {
	text, err := os.ReadFile(mountTable)
	if err != nil {
		return nil, err
	}
	return parseMountTable(string(text))
}

// parseMountTable reads lines like proc_pid_mountinfo(5) has them:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMountTable(text string) (map[int]mount, error) {
	table := map[int]mount{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+3 {
			return nil, fmt.Errorf("%s has a line that cannot be read: %q", mountTable, line)
		}
		id, err := strconv.Atoi(fields[0])
		if err != nil {
			return nil, fmt.Errorf("%s has a line without a number: %q", mountTable, line)
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s has a line without a number: %q", mountTable, line)
		}
		table[id] = mount{
			id: id, parent: parent, dev: fields[2], root: unescape(fields[3]), point: unescape(fields[4]),
			fstype: unescape(fields[dash+1]), source: unescape(fields[dash+2]),
		}
	}
	return table, nil
}

// unescape reads the kernel's \ooo for blanks, line breaks, # and backslashes.
func unescape(field string) string {
	if !strings.Contains(field, `\`) {
		return field
	}
	var plain strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+4 <= len(field) {
			if code, err := strconv.ParseUint(field[i+1:i+4], 8, 8); err == nil {
				plain.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		plain.WriteByte(field[i])
	}
	return plain.String()
}

// pointsBelow returns the places below the base where something is mounted.
func (t *Tree) pointsBelow(table map[int]mount) map[string]bool {
	points := map[string]bool{}
	for _, m := range table {
		if rel, ok := below(t.root, path.Clean(m.point)); ok && rel != "" {
			points[rel] = true
		}
	}
	return points
}
