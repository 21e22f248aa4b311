// SPDX-License-Identifier: LGPL-2.1-or-later

package differential

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vsc-zk/internal/session"
)

// Here are the ideas of rsync's own test suite (its testsuite directory) that apply to a split
// copy, each as a small round.

// scene is a round that leaves nothing to chance.
type scene struct {
	*run
	message string // part of the message at which then is done, once
	once    sync.Once
	then    func()
	said    bool // the run is to end with ErrIncomplete
}

func newScene(t *testing.T, o options) *scene {
	t.Helper()
	t.Parallel()
	a := newArea(t)
	a.must(os.Mkdir(a.at("prior"), 0o755))
	return &scene{run: newRun(a, o, strings.ReplaceAll(t.Name(), "/", "-"))}
}

// write makes files, and the directories above them. A name that ends in a slash is a directory.
func (s *scene) write(tree string, names ...string) {
	s.t.Helper()
	for _, name := range names {
		path := s.at(tree) + "/" + name
		if dir, isDir := strings.CutSuffix(path, "/"); isDir {
			s.must(os.MkdirAll(dir, 0o755))
			continue
		}
		s.must(os.MkdirAll(filepath.Dir(path), 0o755))
		s.must(os.WriteFile(path, []byte(tree+" "+name+"\n"), 0o644))
	}
}

func (s *scene) symlink(tree, target, name string) {
	s.t.Helper()
	s.must(os.MkdirAll(filepath.Dir(s.at(tree)+"/"+name), 0o755))
	s.must(os.Symlink(target, s.at(tree)+"/"+name))
}

func (s *scene) link(tree, name string, others ...string) {
	s.t.Helper()
	for _, other := range others {
		s.must(os.MkdirAll(filepath.Dir(s.at(tree)+"/"+other), 0o755))
		s.must(os.Link(s.at(tree)+"/"+name, s.at(tree)+"/"+other))
	}
}

// age gives everything in a tree the same old time.
func (s *scene) age(tree string) {
	s.t.Helper()
	dirs, files := s.list(s.at(tree))
	for i := len(files) + len(dirs) - 1; i >= 0; i-- {
		rel := append(dirs, files...)[i]
		if info, err := os.Lstat(s.at(tree) + "/" + rel); err == nil && info.Mode()&os.ModeSymlink == 0 {
			old := time.Unix(1_000_000_000+int64(len(rel)), 42)
			s.must(os.Chtimes(s.at(tree)+"/"+rel, old, old))
		}
	}
}

// old gives a directory of the source an old time after it was changed, because rsync leaves a
// directory alone whose time differs by less than a second.
func (s *scene) old(rel string) {
	when := time.Unix(1_100_000_000, 42)
	s.must(os.Chtimes(s.at("src")+"/"+rel, when, when))
}

// meanwhile does something once, when a slave is about to run rsync on a directory of the source.
func (s *scene) meanwhile(rel string, then func()) {
	s.message = " is sending path " + filepath.Join(s.at("src"), rel) + " to "
	s.then = then
}

// play runs one slave with one destination and judges.
func (s *scene) play() {
	s.t.Helper()
	s.prepare()
	err := s.finish()
	if s.said != (err != nil) {
		s.t.Errorf("the master: %v", err)
	}
	s.judge(err, nil)
	if s.t.Failed() {
		s.t.Logf("log:\n%s", s.text())
	}
}

func (s *scene) prepare() {
	s.t.Helper()
	s.age("src")
	s.age("prior")
	s.seed()
	done := s.message == ""
	s.watch = func(message string) {
		if s.then != nil && strings.Contains(message, s.message) {
			s.once.Do(func() { s.then(); done = true })
		}
	}
	s.t.Cleanup(func() {
		if !done {
			s.t.Errorf("the log never said %q: this tested nothing", s.message)
		}
	})
	s.lead(false)
	s.receive(false)
	s.send(false)
}

// delete.test: what the source does not have goes, at each level, whatever it is.
func TestDelete(t *testing.T) {
	for _, depth := range []int{0, 1, 3} {
		t.Run(fmt.Sprint("depth=", depth), func(t *testing.T) {
			s := newScene(t, options{Depth: depth, Delete: true})
			s.write("src", "top", "a/file", "a/b/file", "a/b/c/file", "a/b/c/d/file", "emptied/", "a/emptied/", "a/b/emptied/")
			s.write("prior", "extra", "a/extra", "a/b/extra", "a/b/c/extra", "a/b/c/d/extra",
				"extra dir/with/files", "a/extra dir/with/files", "a/b/extra dir/with/files", "a/b/c/extra dir/with/files",
				"emptied/x", "a/emptied/x/y", "a/b/emptied/x/y", "-x", "#x/y", "new\nline/x", "*")
			s.symlink("prior", s.at("outside/directory"), "extra link")
			s.symlink("prior", "../outside", "a/extra link")
			s.play()
		})
	}
}

// Without --delete all of that stays.
func TestNoDelete(t *testing.T) {
	s := newScene(t, options{Depth: 2})
	s.write("src", "top", "a/file", "a/b/file", "a/b/c/file", "emptied/", "a/emptied/")
	s.write("prior", "extra", "a/extra", "a/b/extra", "a/b/c/extra", "extra dir/with/files", "a/extra dir/with/files", "emptied/x", "a/emptied/x")
	s.play()
}

// replace: each type becomes each other type. Without --delete rsync does not remove a directory
// that has something in it.
func TestTypesChange(t *testing.T) {
	kinds := []string{"file", "dir", "link", "full"}
	for _, del := range []bool{true, false} {
		t.Run(fmt.Sprint("delete=", del), func(t *testing.T) {
			s := newScene(t, options{Depth: 2, Delete: del})
			s.said = !del
			put := func(tree, kind, name string) {
				switch kind {
				case "file":
					s.write(tree, name)
				case "dir":
					s.write(tree, name+"/")
				case "link":
					s.symlink(tree, "../../outside/directory", name)
				case "full":
					s.write(tree, name+"/some/thing")
				}
			}
			for _, was := range kinds {
				for _, is := range kinds {
					for _, dir := range []string{"", "a/b/"} {
						put("prior", was, dir+was+" to "+is)
						put("src", is, dir+was+" to "+is)
					}
				}
			}
			s.play()
		})
	}
}

// files-from.test: the entries that are listed are sent, and nothing else.
func TestPathsFrom(t *testing.T) {
	s := newScene(t, options{})
	s.write("src", "top", "dir/file", "dir/sub/file", "dir/sub/sub/file", "other/file", "other/sub/file", "#x/file", "new\nline/a/file", " /file", "left out/file")
	list := []string{`0_` + s.at("src/dir"), "1_" + s.at("src/other/sub"), "1_" + s.at("src/#x"), fmt.Sprintf("%q", "1_"+s.at("src/new\nline")), "0_" + s.at("src/ ")}
	s.must(os.WriteFile(s.at("list"), []byte(strings.Join(list, "\n")+"\n"), 0o644))
	s.change = func(c *session.Config) { c.Leader.PathsFrom = s.at("list") }
	s.prepare()
	s.must(s.finish())
	cmd := exec.Command("rsync", "-a", "--from0", "--files-from=-", s.at("src")+"/", s.at("ref")+"/")
	cmd.Stdin = strings.NewReader("./dir/\x00./dir/file\x00./dir/sub\x00./other/sub/file\x00./#x/file\x00./new\nline/a/file\x00./ /file\x00")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	s.identical()
}

// hardlinks.test: groups within and across directories. At the destination some groups have too few
// names, and some too many.
func TestHardLinks(t *testing.T) {
	s := newScene(t, options{Depth: 2, Delete: true, HardLinks: true, Checksum: true})
	s.write("src", "name1", "single", "a/own", "a/b/c/own")
	s.link("src", "name1", "name2", "name3", "a/name4", "a/b/name5", "a/b/c/name6", "z/name7")
	s.link("src", "a/own", "a/own too")
	s.link("src", "a/b/c/own", "a/b/c/d/own too")
	s.write("prior", "name1", "name3", "a/name4", "a/own", "single")
	s.link("prior", "name1", "name2", "a/b/c/own", "a/b/extra")
	s.play()
}

// A file gets more names after the path of the first one is done, whether it had several names by
// then or not.
func TestHardLinksAreMadeMeanwhile(t *testing.T) {
	s := newScene(t, options{Depth: 1, Delete: true, HardLinks: true})
	s.write("src", "one", "two", "late/x")
	s.link("src", "two", "a/two")
	s.write("src", "a/alone")
	s.message = "Completed Path 1_" + s.at("src/a") // the other paths need not be completed
	s.then = func() {
		s.link("src", "one", "late/one")
		s.link("src", "two", "late/two")
		s.link("src", "a/alone", "late/alone")
		s.old("late")
	}
	s.play()
}

// The path of some names fails for another reason. The names are linked all the same.
func TestHardLinksOfAFailedPath(t *testing.T) {
	s := newScene(t, options{Depth: 1, HardLinks: true})
	s.said = true
	s.write("src", "a/name", "a/in the way")
	s.link("src", "a/name", "b/name", "name")
	s.write("prior", "a/in the way/x")
	s.play()
}

// A destination has links where the source has directories, at each level; what they lead to is
// left alone.
func TestLinksInPlaceOfDirectories(t *testing.T) {
	for _, del := range []bool{true, false} {
		t.Run(fmt.Sprint("delete=", del), func(t *testing.T) {
			s := newScene(t, options{Depth: 2, Delete: del})
			s.write("src", "a/file", "b/c/file", "d/e/f/file", "d/e/g/h/file", "secret/below/file")
			s.symlink("prior", s.at("outside/directory"), "a")
			s.symlink("prior", "../outside/directory", "b")
			s.symlink("prior", "../../outside", "d/e")
			s.symlink("prior", "d", "secret")
			s.play()
		})
	}
}

// Symlink races: a directory becomes a link to a place outside after the slave has looked at the
// entry for the last time. With --delete, what was sent from there has gone again when the run is
// over.
func TestDirectoryIsSwappedWithALink(t *testing.T) {
	for _, swapped := range []string{"a", "a/b", "a/b/c"} {
		for sending, rel := range map[string]string{"itself": swapped, "its parent": filepath.Dir(swapped), "a child": "a/b/c"} {
			t.Run(swapped+", sending "+sending, func(t *testing.T) {
				s := newScene(t, options{Depth: 3, Delete: true})
				s.write("src", "a/b/c/file", "a/b/c/below/file", "a/b/file", "a/file")
				s.meanwhile(rel, func() {
					s.must(os.Rename(s.at("src/"+swapped), s.at("spare/away")))
					s.must(os.Symlink(s.at("outside/directory"), s.at("src/"+swapped)))
					s.old(filepath.Dir(swapped))
				})
				s.play()
			})
		}
	}
}

// longdir.test: a path may be as long as the system takes it.
func TestLongPaths(t *testing.T) {
	for _, depth := range []int{1, 40} {
		t.Run(fmt.Sprint("depth=", depth), func(t *testing.T) {
			s := newScene(t, options{Depth: depth, Delete: true, HardLinks: true})
			long := ""
			for len(s.at("prior/")+long) < 3700 {
				long += strings.Repeat("l", 255) + "/"
			}
			s.write("src", long+"file", long+"other/file")
			s.link("src", long+"file", "file")
			s.write("prior", long+"extra", long+"other extra/file")
			s.play()
		})
	}
}

// exclude.test: the excluded names have every character that means something in a pattern.
func TestExclude(t *testing.T) {
	for _, below := range []bool{true, false} {
		t.Run(fmt.Sprint("below=", below), func(t *testing.T) {
			s := newScene(t, options{Depth: 2, Delete: true, Exclude: "/skip[^/]*$", ExcludeBelow: below})
			for _, dir := range []string{"", "a/b/"} {
				for _, name := range skipNames {
					s.write("src", dir+name+"/file", dir+"not "+name)
					s.write("prior", dir+name+"/stays/file", dir+"not "+name+"/goes/file")
				}
				s.write("prior", dir+"skip only here/file")
			}
			s.play()
		})
	}
}
