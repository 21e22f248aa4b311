// SPDX-License-Identifier: LGPL-2.1-or-later

package getent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUserID(t *testing.T) {
	withGetent := os.Getenv("PATH")
	for _, path := range []string{withGetent, t.TempDir()} {
		t.Setenv("PATH", path)
		for name, want := range map[string]uint32{"root": 0, "daemon": 1} {
			if uid, err := UserID(t.Context(), name); err != nil || uid != want {
				t.Errorf("%s = %d, %v; want %d (PATH=%s)", name, uid, err, want, path)
			}
		}
		for _, name := range []string{"nobody-has-this-name", "", "root:x", "-s", "a\nb"} {
			_, err := UserID(t.Context(), name)
			if err == nil || !strings.Contains(err.Error(), "cannot look up user "+strconv.Quote(name)+": there is no such user") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// A static binary does not know the users of a directory service: getent does.
func TestUserIDAsksGetent(t *testing.T) {
	fakeGetent(t, `test "$*" = "passwd -- ldapuser" && echo 'ldapuser:*:4001007:100::/home/l:/bin/sh'`)
	if uid, err := UserID(t.Context(), "ldapuser"); err != nil || uid != 4001007 {
		t.Errorf("ldapuser = %d, %v", uid, err)
	}
	fakeGetent(t, `echo nonsense`)
	if uid, err := UserID(t.Context(), "ldapuser"); err == nil {
		t.Errorf("nonsense = %d, want an error", uid)
	}
	fakeGetent(t, `exit 3`)
	if _, err := UserID(t.Context(), "ldapuser"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("exit 3: %v", err)
	}
}

func TestUserIDEndsWithContext(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pid")
	fakeGetent(t, `/bin/sleep 60 & echo $! >`+pids+`; wait`)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	go func() {
		for {
			if b, _ := os.ReadFile(pids); len(b) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel(stop)
	}()
	if _, err := UserID(ctx, "x"); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	stat := "/proc/" + strings.TrimSpace(string(b)) + "/stat"
	for range 6000 {
		if b, err := os.ReadFile(stat); err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("getent's child is still there")
}

// The rule is Python's, see TestHostNameIsPythons of package session for the real answers.
func TestFQDN(t *testing.T) {
	for _, c := range []struct{ name, hosts, want string }{
		{"canonical", "10.0.0.1 node7.cluster.org node7", "node7.cluster.org"},
		{"alias", "10.0.0.1 node7 loghost node7.cluster.org other.cluster.org", "node7.cluster.org"},
		{"no dot", "10.0.0.1 node8 node7", "node8"},
		{"several lines", "10.0.0.1 node8\n10.0.0.2 node9.cluster.org", "node8"},
		{"nothing", "", "node7"},
		{"no address", "what is this.org", "node7"},
		{"no names", "10.0.0.1", "node7"},
	} {
		fakeGetent(t, `case "$*" in
"ahosts -- node7") echo '10.0.0.1 STREAM x';;
"hosts -- 10.0.0.1") echo '`+c.hosts+`';;
*) exit 2
esac`)
		if got := FQDN(t.Context(), "node7"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := FQDN(t.Context(), "unknown"); got != "unknown" {
			t.Errorf("%q, want the name itself", got)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if got := FQDN(t.Context(), "node7"); got != "node7" {
		t.Errorf("without getent: %q", got)
	}
}

func fakeGetent(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	// A child made meanwhile would have it open for writing for a moment: "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

// Only a plain no counts: who cannot ask does not know.
func TestCheckHost(t *testing.T) {
	for _, c := range []struct {
		script string
		known  bool
	}{
		{`test "$*" = "ahosts -- node7.ib" && echo 10.0.0.1`, true},
		{"exit 2", false},
		{"exit 1", true},
	} {
		fakeGetent(t, c.script)
		if err := CheckHost(t.Context(), "node7.ib"); (err == nil) != c.known || err != nil && !strings.Contains(err.Error(), `"node7.ib"`) {
			t.Errorf("%s: error %v, known %v", c.script, err, c.known)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if err := CheckHost(t.Context(), "node7.ib"); err != nil {
		t.Errorf("without getent: %v", err)
	}
}
