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

	"golang.org/x/sys/unix"
)

// Mounts is what was mounted at and below the base of a tree at one time. Its methods may be called
// at the same time.
type Mounts struct {
	tree   *Tree
	points map[string]mount // by path below the base, "" always: what lies there

	reusedIDs bool // as on kernels before 6.8, where a later mount may get the id of an earlier one
}

// mount is one mounted file system, or a part of one. Two are equal if nothing tells them apart.
type mount struct {
	unique uint64 // id that is never used again; 0 where the kernel has none
	id     int    // the one of mountinfo, used again after an unmount
	dev    string // major:minor
	root   string // what of the file system is mounted
	point  string // where
	fstype string
	source string
}

func (m mount) String() string {
	source := m.source
	if source == "" {
		source = "(no name)"
	}
	return fmt.Sprintf("%s (%s) mounted at %s", Printable(source), Printable(m.fstype), Printable(m.point))
}

// otherMount says that a directory lies on another mount than at the start.
func otherMount(path string, was, is mount) error {
	now := fmt.Sprintf("it is on %s: is a file system not mounted?", is)
	if was.String() == is.String() {
		now = "something else is mounted there, or the same again."
	}
	return fmt.Errorf("cannot rely on %s: it was on %s when this client started, now %s See what is mounted, then start this client again",
		Printable(path), was, now)
}

// Mounts notes what is mounted now.
func (t *Tree) Mounts() (*Mounts, error) {
	m := &Mounts{tree: t}
	if err := m.note(); err != nil {
		return nil, err
	}
	return m, nil
}

// Same is nil if the directory rel ("" for the base) lies on the mount that it lay on when m was
// made, and an error if it does not, or if that cannot be told. It does not look at what is mounted
// below rel.
func (m *Mounts) Same(rel string) error {
	fd, err := m.tree.open(rel, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	was := m.covering(rel)
	if was.unique != 0 {
		unique, err := uniqueID(fd)
		if err != nil {
			return m.cannotTell(rel, err)
		}
		if unique == was.unique {
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
	if is == was {
		return nil
	}
	return otherMount(m.tree.path(rel), was, is)
}

// SameBelow is Same for rel and for everything that was mounted below it when m was made, or is
// mounted there now. It is for whoever works on rel recursively.
func (m *Mounts) SameBelow(rel string) error {
	if err := m.Same(rel); err != nil {
		return err
	}
	table, err := readMountTable()
	if err != nil {
		return m.cannotTell(rel, err)
	}
	inside := func(point string) bool { return rel == "" || strings.HasPrefix(point, rel+"/") }
	points := m.tree.pointsBelow(table)
	for point := range m.points {
		points[point] = true
	}
	for _, point := range slices.Sorted(maps.Keys(points)) {
		if !inside(point) {
			continue
		}
		err := m.Same(point)
		if _, was := m.points[point]; !was && hidden(err) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hidden reports whether an error says that a mount point cannot be reached as a directory, because
// something is mounted above it or because it is a file.
func hidden(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// covering is the mount that rel lay on.
func (m *Mounts) covering(rel string) mount {
	for rel != "" {
		if found, ok := m.points[rel]; ok {
			return found
		}
		rel = rel[:max(strings.LastIndexByte(rel, '/'), 0)]
	}
	return m.points[""]
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
	points := m.tree.pointsBelow(table)
	points[""] = true
	m.points = map[string]mount{}
	for point := range points {
		fd, err := m.tree.open(point, unix.O_PATH)
		if err == nil {
			var found mount
			found, err = m.identify(fd, table)
			unix.Close(fd)
			if err == nil {
				m.points[point] = found
				continue
			}
			err = m.cannotTell(point, err)
		}
		// What cannot be reached below the base is not worked on either.
		if point == "" {
			return err
		}
	}
	return nil
}

// identify returns the mount that an open directory lies on.
func (m *Mounts) identify(fd int, table map[int]mount) (mount, error) {
	unique, err := uniqueID(fd)
	if err != nil {
		return mount{}, err
	}
	if m.reusedIDs {
		unique = 0
	}
	id, err := mountID(fd)
	if err != nil {
		return mount{}, err
	}
	found, ok := table[id]
	if !ok {
		return mount{}, fmt.Errorf("%s does not list mount %d: was it mounted or unmounted just now?", mountTable, id)
	}
	found.unique = unique
	return found, nil
}

// uniqueID returns 0 on kernels that have none. The kernel knows the answer, so no file server is
// asked.
func uniqueID(fd int) (uint64, error) {
	var stat unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID_UNIQUE, &stat)
	if err == unix.ENOSYS || err == unix.EPERM {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("statx: %w", err)
	}
	if stat.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		return 0, nil
	}
	return stat.Mnt_id, nil
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
		table[id] = mount{
			id: id, dev: fields[2], root: unescape(fields[3]), point: unescape(fields[4]),
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
