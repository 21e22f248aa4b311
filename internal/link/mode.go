// SPDX-License-Identifier: LGPL-2.1-or-later

package link

import "fmt"

// Mode says how the bytes of a link travel.
type Mode string

const (
	TLS   Mode = "tls"   // encrypted
	Plain Mode = "plain" // in clear, after identity was proven
)

// ParseMode reads a mode.
func ParseMode(text string) (Mode, error) {
	switch mode := Mode(text); mode {
	case TLS, Plain:
		return mode, nil
	}
	return "", fmt.Errorf("cannot use the link mode %q: it is tls or plain", text)
}
