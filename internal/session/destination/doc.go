// SPDX-License-Identifier: LGPL-2.1-or-later

// Package destination serves one base path to the workers of a session.
//
// A destination waits for the session to begin, reserves a port under S/portlock, starts a daemon on it,
// and offers itself (package pool). While the daemon lives it watches its base and keeps its state true:
// active when data can be received, paused when not. It ends when the session does.
package destination
