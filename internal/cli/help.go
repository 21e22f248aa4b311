// SPDX-License-Identifier: LGPL-2.1-or-later

package cli

import "io"

func (p *Program) show(what string, w io.Writer, columns int)  {}
func width(environ []string, w io.Writer) int                  { return 80 }
func (p *Program) complete(environ []string, w io.Writer) bool { return false }
