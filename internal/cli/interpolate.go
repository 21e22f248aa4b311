// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxDepth  = 10      // of references in references, as in Python
	maxLength = 1 << 20 // bytes of an expanded value, against keys that multiply one another
)

// interpolate expands %(key)s, also in what it stands for, and %%.
func interpolate(value string, lookup func(key string) (string, bool)) (string, error) {
	var b strings.Builder
	if err := expandInto(&b, value, lookup, 1); err != nil {
		return "", err
	}
	return b.String(), nil
}

func expandInto(b *strings.Builder, value string, lookup func(string) (string, bool), depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("references are nested deeper than %d; is there a circle?", maxDepth)
	}
	for {
		text, rest, found := strings.Cut(value, "%")
		b.WriteString(text)
		if b.Len() > maxLength {
			return fmt.Errorf("the value expands to more than %d bytes", maxLength)
		}
		if !found {
			return nil
		}
		key, after, err := reference(rest)
		if err != nil {
			return err
		}
		value = after
		if key == "" {
			b.WriteByte('%')
			continue
		}
		other, found := lookup(key)
		if !found {
			return fmt.Errorf("%%(%s)s refers to nothing, neither in the section nor in [%s]; a literal %% is written %%%%", key, defaultSection)
		}
		if err := expandInto(b, other, lookup, depth+1); err != nil {
			return err
		}
	}
}

// reference reads what follows a "%": another one (an empty key), or (key)s.
func reference(text string) (key, rest string, err error) {
	if rest, double := strings.CutPrefix(text, "%"); double {
		return "", rest, nil
	}
	key, rest, closed := strings.Cut(text, ")s")
	name, opened := strings.CutPrefix(key, "(")
	if !closed || !opened || name == "" || strings.Contains(name, ")") {
		return "", "", fmt.Errorf("%s stands alone; a literal %% is written %%%%, and a reference %%(key)s", quote("%"+text))
	}
	return name, rest, nil
}

// Expand fills the template of a file name: %(key)s by the key's value, %% by "%".
func Expand(template string, keys map[string]string) (string, error) {
	var b strings.Builder
	for value := template; ; {
		text, rest, found := strings.Cut(value, "%")
		b.WriteString(text)
		if !found {
			return b.String(), nil
		}
		key, after, err := reference(rest)
		if err != nil {
			return "", fmt.Errorf("cannot use file name %s: %w", quote(template), err)
		}
		value = after
		if key == "" {
			b.WriteByte('%')
			continue
		}
		known, found := keys[key]
		if !found {
			return "", fmt.Errorf("cannot use file name %s: %%(%s)s is unknown; there are %s", quote(template), key, knownKeys(keys))
		}
		b.WriteString(known)
	}
}

func knownKeys(keys map[string]string) string {
	var names []string
	for key := range keys {
		names = append(names, "%("+key+")s")
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
