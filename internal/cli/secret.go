// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"vsc-zk/internal/private"
)

// secretFileValue is a file that holds the value of another option. It is read once, when it is first
// named: it may be a pipe. An empty name is none.
type secretFileValue struct {
	target *string
	name   *string
	read   map[string]string
}

func (v secretFileValue) Type() string   { return "secretfile" }
func (v secretFileValue) String() string { return *v.name }
func (v secretFileValue) Set(name string) error {
	if name == "" {
		*v.name = ""
		return nil
	}
	secret, known := v.read[name]
	if !known {
		var err error
		if secret, err = ReadSecretLine(name); err != nil {
			return fmt.Errorf("cannot use the file: %w", err)
		}
		v.read[name] = secret
	}
	*v.name, *v.target = name, secret
	return nil
}

// ReadSecretLine reads the only line of a file that others must not be able to read or write; the line end does not
// belong to the secret.
func ReadSecretLine(name string) (string, error) {
	text, err := private.ReadSecret(name)
	if err != nil {
		return "", err
	}
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0:
		return "", fmt.Errorf("%s: the first line is empty", name)
	case len(bytes.TrimSpace(rest)) > 0:
		return "", fmt.Errorf("%s: there is more than one line in it", name)
	case bytes.IndexByte(line, 0) >= 0:
		return "", fmt.Errorf("%s: the byte 0x00 is not text", name)
	}
	return string(line), nil
}

// hidden is for what is kept from a daemon's command line: a secret, and the name of a file that it was read
// from, which may be a pipe that is empty now.
func (o *option) hidden() bool { return o.Secret || o.Type() == "secretfile" }

// hide takes an option and its value, which end the word that was read last, out of what Parsed.Args will be,
// and a secret out of the process's own title.
func (w *words) hide(opt *option, value string) {
	if !opt.hidden() || w.own == nil {
		return
	}
	if opt.Secret {
		overwrite(w.own[w.next-1], len(value))
	}
	for i := w.word; i < w.next; i++ {
		w.hidden[i] = 0
	}
	if w.letters > 1 { // others stand in front, in a group
		w.hidden[w.word] = w.letters
	}
}

// withoutSecrets is the command line without what hide has taken out.
func (w *words) withoutSecrets() []string {
	var args []string
	for i, arg := range w.args {
		kept, hidden := w.hidden[i]
		if !hidden {
			kept = len(arg)
		}
		if kept > 0 || !hidden {
			args = append(args, arg[:kept])
		}
	}
	return args
}

// overwrite puts stars over the last n bytes of a word of os.Args, in the memory from which the kernel shows
// the arguments to everybody. Words that are not there stay as they are.
func overwrite(word string, n int) {
	start, end, err := titleArea()
	if err != nil || n == 0 {
		return
	}
	at := unsafe.StringData(word)
	if address := uintptr(unsafe.Pointer(at)); address < start || address+uintptr(len(word)) > end {
		return
	}
	memory := unsafe.Slice(at, len(word))
	for i := len(word) - n; i < len(word); i++ {
		memory[i] = '*'
	}
}

// titleArea is where the kernel has put the arguments.
func titleArea() (start, end uintptr, err error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, err
	}
	// pid (command) state …: the 3rd field is behind the command, which may have blanks; 48 and 49 are
	// arg_start and arg_end (proc(5)).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 47 {
		return 0, 0, errors.New("/proc/self/stat is too short")
	}
	first, err := strconv.ParseUint(fields[45], 10, 64)
	if err != nil {
		return 0, 0, err
	}
	last, err := strconv.ParseUint(fields[46], 10, 64)
	return uintptr(first), uintptr(last), err
}

// exposed returns a warning for each secret that stands on the command line.
func exposed(given []assignment) (warnings []warning) {
	for _, a := range given {
		if opt := a.flag.Value.(*option); opt.Secret {
			warnings = append(warnings, warning{text: opt.Warning, fields: []any{"option", opt.Name}})
		}
	}
	return warnings
}

// isSecret tells whether the key of a config file holds a password.
func (p *Program) isSecret(key string) bool {
	if flag := p.flags.Lookup(key); flag != nil {
		return flag.Value.(*option).Secret
	}
	return p.KeepSections && key == "passwd"
}
