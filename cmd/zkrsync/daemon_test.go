// SPDX-License-Identifier: LGPL-2.1-or-later

package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"testing"
)

// A daemon lives in /, so every option that names a file is anchored where the user is, also those
// that are yet to come.
func TestAnchoredNames(t *testing.T) {
	var help bytes.Buffer
	_, _ = newProgram(new(options)).Parse([]string{"--help"}, []string{"COLUMNS=100"}, &help, &help)
	found := regexp.MustCompile(`--([-_a-z]+)=(?:FILE|DIR)\b`).FindAllStringSubmatch(help.String(), -1)
	if len(found) < 4 {
		t.Fatalf("the help has too few names of files: %q", found)
	}
	for _, match := range found {
		name := match[1]
		if name == "pidfile" || name == "passwd-file" {
			continue // they are opened before
		}
		var o options
		if _, err := newProgram(&o).Parse([]string{"--" + name + "=some name"}, nil, &help, &help); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(o.files(), func(file *string) bool { return *file == "some name" }) {
			t.Errorf("--%s is missing in options.files", name)
		}
	}

	t.Chdir(t.TempDir())
	wd, err := os.Getwd() // TempDir has no % in it
	if err != nil {
		t.Fatal(err)
	}
	var o options
	if _, err := newProgram(&o).Parse([]string{"-r", "src", "--done-file=/abs/d.gz", "--logfile=x%%.log"}, nil, &help, &help); err != nil {
		t.Fatal(err)
	}
	if err := o.anchor(); err != nil {
		t.Fatal(err)
	}
	if o.logFile != wd+"/x%%.log" || o.doneFile != "/abs/d.gz" || o.rsyncPath != wd+"/src" {
		t.Errorf("got %q, %q, %q", o.rsyncPath, o.doneFile, o.logFile)
	}
}
