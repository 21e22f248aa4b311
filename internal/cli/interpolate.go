// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxDepth  = 10      // of references in references, as in Python
	maxLength = 1 << 20 // bytes of an expanded value: keys can multiply one another
)

// These do not show the value: it may be a password.
var (
	errLonePercent = errors.New("a literal % is written %%, and a reference %(key)s")
	errNoKey       = errors.New("%(key)s must name a key of the same section or of [" + defaultSection + "]; a literal % is written %%")
)

// interpolate expands %(key)s, also in the values that are put in, and %%.
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
		key, after, ok := reference(rest)
		if !ok {
			return errLonePercent
		}
		value = after
		if key == "" {
			b.WriteByte('%')
			continue
		}
		other, found := lookup(key)
		if !found {
			return errNoKey
		}
		if err := expandInto(b, other, lookup, depth+1); err != nil {
			return err
		}
	}
}

// reference reads what follows a "%": either another "%", then the key is empty, or "(key)s".
func reference(text string) (key, rest string, ok bool) {
	if rest, double := strings.CutPrefix(text, "%"); double {
		return "", rest, true
	}
	key, rest, closed := strings.Cut(text, ")s")
	name, opened := strings.CutPrefix(key, "(")
	if !closed || !opened || name == "" || strings.Contains(name, ")") {
		return "", "", false
	}
	return name, rest, true
}

// Expand fills in the template of a file name: the key's value for %(key)s, "%" for %%.
func Expand(template string, keys map[string]string) (string, error) {
	var b strings.Builder
	for value := template; ; {
		text, rest, found := strings.Cut(value, "%")
		b.WriteString(text)
		if !found {
			return b.String(), nil
		}
		key, after, ok := reference(rest)
		if !ok {
			return "", fmt.Errorf("cannot use file name %s: %w", quote(template), errLonePercent)
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
