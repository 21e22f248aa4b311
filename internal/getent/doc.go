// SPDX-License-Identifier: LGPL-2.1-or-later

// Package getent asks what this node knows of users and hosts. A static program cannot ask the
// services that the node is configured to use (LDAP, SSSD, DNS); getent(1) can.
//
// getent runs in a process group of its own, which is killed when the context ends.
package getent
