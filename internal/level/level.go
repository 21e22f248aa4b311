// SPDX-License-Identifier: LGPL-2.1-or-later

// Package level has the levels of log records beside those of log/slog. Both are INFO to whoever reads the log.
package level

import "log/slog"

const (
	// Detail is what a long log has many of, a line for each path above all: it is in the log file at INFO, and on the
	// terminal at DEBUG only.
	Detail = slog.LevelInfo - 1

	// Notice is what everybody wants to know: it is shown at every level.
	Notice = slog.LevelInfo + 1
)
