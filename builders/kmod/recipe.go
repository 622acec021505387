// SPDX-License-Identifier: Apache-2.0

package kmod

// Recipe names how modules are built: when it changes, what was built before is built again.
func Recipe() string { return kind.Recipe() }
