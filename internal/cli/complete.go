// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// complete answers a shell function that was set up for the Python program: if the environment has
// OPTPARSE_AUTO_COMPLETE it prints the options that begin like the word at the cursor, as an array.
// It tells whether it was asked.
func (p *Program) complete(environ []string, stdout io.Writer) bool {
	values := environment(environ)
	if _, asked := values["OPTPARSE_AUTO_COMPLETE"]; !asked {
		return false
	}
	line := values["COMP_LINE"]
	if point, err := strconv.Atoi(values["COMP_POINT"]); err == nil && point >= 0 && point < len(line) {
		line = line[:point]
	}
	word := line[strings.LastIndexAny(line, " \t")+1:]
	var names []string
	if strings.HasPrefix(word, "-") {
		p.flags.VisitAll(func(flag *pflag.Flag) {
			names = append(names, "--"+display(flag))
			if flag.Shorthand != "" {
				names = append(names, "-"+flag.Shorthand)
			}
		})
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, word) })
		slices.Sort(names)
	}
	fmt.Fprintf(stdout, "COMPREPLY=(%s)\n", strings.Join(names, " "))
	return true
}

// environment makes a map of "NAME=value" entries.
func environment(environ []string) map[string]string {
	values := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	return values
}

// identifier is the program's name as part of a shell function's name.
func (p *Program) identifier() string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, p.name)
}

// bashCompletion writes a script that needs nothing but bash 4.
func (p *Program) bashCompletion(b *strings.Builder) {
	var names, plain []string
	values := map[string][]string{} // call that completes a value -> options with such a value
	add := func(how string, opt *option) {
		values[how] = append(values[how], "--"+opt.Name)
		if opt.Short != "" {
			values[how] = append(values[how], "-"+opt.Short)
		}
	}
	for _, g := range p.allGroups() {
		for _, opt := range g.options {
			name := "--" + opt.Name
			switch {
			case opt.Type() == "bool":
				plain = append(plain, "--enable-"+opt.Name, "--disable-"+opt.Name)
				for _, form := range opt.Choices {
					names = append(names, name+"="+form)
				}
			case opt.Type() == "show" && opt.Choices == nil:
			case opt.Name == "help":
				add("words "+shellQuote(strings.TrimSpace(strings.Join(opt.Choices, " "))), opt)
			default:
				name += "="
				add(bashValue(opt), opt)
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Sort(plain)
	id := p.identifier()
	fmt.Fprintf(b, `# bash completion of %[1]s

_%[2]s_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }
_%[2]s_file() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); }
_%[2]s_dir() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); }
_%[2]s_files() { # a list: the last item is completed
	local head=
	[[ $cur == *,* ]] && head=${cur%%,*},
	compopt -o nospace
	mapfile -t COMPREPLY < <(compgen -P "$head" -f -- "${cur##*,}")
}
_%[2]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]}
	COMPREPLY=()
	# bash splits --name=value into three words
	if [[ $cur == = ]]; then
		cur=
	elif [[ $option == = && COMP_CWORD -gt 1 ]]; then
		option=${COMP_WORDS[COMP_CWORD-2]}
	fi
	case $option in
`, p.name, id)
	hows := make([]string, 0, len(values))
	for how := range values {
		hows = append(hows, how)
	}
	slices.Sort(hows)
	for _, how := range hows {
		call := ":"
		if how != "" {
			call = "_" + id + "_" + how
		}
		fmt.Fprintf(b, "\t%s)\n\t\t[[ $cur == -* ]] || { %s; return; } ;;\n", strings.Join(values[how], "|"), call)
	}
	fmt.Fprintf(b, `	esac
	case $cur in
	--enable-* | --disable-*) _%[1]s_words %[3]s ;;
	-*)
		_%[1]s_words %[2]s
		[[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace ;;
	esac
}
complete -F _%[1]s %[4]s
`, id, shellQuote(strings.Join(names, " ")), shellQuote(strings.Join(plain, " ")), p.name)
}

// bashValue names the function that completes the option's value, if any.
func bashValue(opt *option) string {
	switch {
	case opt.Choices != nil:
		return "words " + shellQuote(strings.Join(opt.Choices, " "))
	case opt.Arg == "FILE":
		return "file"
	case opt.Arg == "FILES":
		return "files"
	case opt.Arg == "DIR":
		return "dir"
	}
	return ""
}

// zshCompletion writes a script for zsh's _arguments.
func (p *Program) zshCompletion(b *strings.Builder) {
	id := p.identifier()
	fmt.Fprintf(b, "#compdef %s\n\n_%s() {\n\t_arguments -s -S", p.name, id)
	for _, g := range p.allGroups() {
		for _, opt := range g.options {
			help := "[" + strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(opt.Help) + "]"
			action := zshValue(opt)
			equals := ""
			switch {
			case opt.Name == "help":
				equals = "=-" // the value only behind an equals sign
			case action != "":
				equals = "="
			}
			if opt.Short == "" {
				fmt.Fprintf(b, " \\\n\t\t%s", shellQuote("--"+opt.Name+equals+help+action))
			} else {
				both := fmt.Sprintf("(-%s --%s)", opt.Short, opt.Name)
				short := "-" + opt.Short
				if action != "" {
					short += "+"
				}
				if opt.Name == "help" {
					short = "-" + opt.Short + "-"
				}
				fmt.Fprintf(b, " \\\n\t\t%s", shellQuote(both+short+help+action))
				fmt.Fprintf(b, " \\\n\t\t%s", shellQuote(both+"--"+opt.Name+equals+help+action))
			}
			if opt.Type() == "bool" {
				fmt.Fprintf(b, " \\\n\t\t%s %s", shellQuote("!--enable-"+opt.Name), shellQuote("!--disable-"+opt.Name))
			}
		}
	}
	fmt.Fprintf(b, "\n}\n\nif [[ $funcstack[1] == _%[1]s ]]; then\n\t_%[1]s \"$@\"\nelse\n\tcompdef _%[1]s %[2]s\nfi\n", id, p.name)
}

// zshValue is the part of a specification that describes the option's value, if any.
func zshValue(opt *option) string {
	if opt.Type() == "bool" || opt.Type() == "show" && opt.Choices == nil {
		return ""
	}
	name := ":" + opt.Arg + ":"
	if opt.Type() == "show" && opt.Name == "help" {
		name = ":" + name
	}
	switch {
	case opt.Choices != nil:
		return name + "(" + strings.TrimSpace(strings.Join(opt.Choices, " ")) + ")"
	case opt.Arg == "FILE":
		return name + "_files"
	case opt.Arg == "FILES":
		return name + "_sequence _files"
	case opt.Arg == "DIR":
		return name + "_files -/"
	}
	return name
}

// fishCompletion writes a script of fish's complete.
func (p *Program) fishCompletion(b *strings.Builder) {
	fmt.Fprintf(b, "# fish completion of %[1]s\ncomplete -c %[1]s -f\n", p.name)
	for _, g := range p.allGroups() {
		for _, opt := range g.options {
			line := "complete -c " + p.name + " -l " + opt.Name
			if opt.Short != "" {
				line += " -s " + opt.Short
			}
			summary, _, _ := strings.Cut(opt.Help, ". ")
			fmt.Fprintf(b, "%s%s -d %s\n", line, fishValue(opt), fishQuote(strings.TrimSuffix(summary, ".")))
			if opt.Type() == "bool" {
				fmt.Fprintf(b, "complete -c %[1]s -n 'string match -q -- \"--*able-*\" (commandline -ct)' -l enable-%[2]s\n"+
					"complete -c %[1]s -n 'string match -q -- \"--*able-*\" (commandline -ct)' -l disable-%[2]s\n", p.name, opt.Name)
			}
		}
	}
}

// fishValue says how the option's value is completed, if it has one.
func fishValue(opt *option) string {
	switch {
	case opt.Type() == "bool" || opt.Type() == "show" && opt.Choices == nil:
		return ""
	case opt.Choices != nil:
		return " -x -a " + fishQuote(strings.TrimSpace(strings.Join(opt.Choices, " ")))
	case opt.Arg == "FILE", opt.Arg == "FILES":
		return " -r -F"
	case opt.Arg == "DIR":
		return " -x -a '(__fish_complete_directories)'"
	}
	return " -x"
}

// fishQuote puts text into single quotes.
func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}

// shellQuote puts text into single quotes.
func shellQuote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
