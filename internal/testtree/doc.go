// SPDX-License-Identifier: LGPL-2.1-or-later

// Package testtree makes directory trees with every kind of name and file that a copy can get
// wrong, and compares two trees in full. It serves the tests, the demonstration and the benchmarks.
package testtree
