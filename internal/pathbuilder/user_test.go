// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLookupUser(t *testing.T) {
	withGetent := os.Getenv("PATH")
	for _, path := range []string{withGetent, t.TempDir()} {
		t.Setenv("PATH", path)
		for name, want := range map[string]uint32{"root": 0, "daemon": 1} {
			if uid, err := LookupUser(t.Context(), name); err != nil || uid != want {
				t.Errorf("%s = %d, %v; want %d (PATH=%s)", name, uid, err, want, path)
			}
		}
		for _, name := range []string{"nobody-has-this-name", "", "root:x", "-s", "a\nb"} {
			_, err := LookupUser(t.Context(), name)
			if err == nil || !strings.Contains(err.Error(), "cannot look up user "+Printable(name)+": there is no such user") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// A static binary does not know the users of a directory service: getent does.
func TestLookupUserAsksGetent(t *testing.T) {
	fakeGetent(t, `test "$*" = "passwd -- ldapuser" && echo 'ldapuser:*:4001007:100::/home/l:/bin/sh'`)
	if uid, err := LookupUser(t.Context(), "ldapuser"); err != nil || uid != 4001007 {
		t.Errorf("ldapuser = %d, %v", uid, err)
	}
	fakeGetent(t, `echo nonsense`)
	if uid, err := LookupUser(t.Context(), "ldapuser"); err == nil {
		t.Errorf("nonsense = %d, want an error", uid)
	}
	fakeGetent(t, `exit 3`)
	if _, err := LookupUser(t.Context(), "ldapuser"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("exit 3: %v", err)
	}
}

func TestLookupUserEndsWithContext(t *testing.T) {
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
	begin := time.Now()
	if _, err := LookupUser(ctx, "x"); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	stat := "/proc/" + strings.TrimSpace(string(b)) + "/stat"
	for range 500 {
		if b, err := os.ReadFile(stat); err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("getent's child is still there")
}

func fakeGetent(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}
