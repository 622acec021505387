// SPDX-License-Identifier: Apache-2.0

package ebpf

// Recipe names how probes are built: when it changes, what was built before is built again.
func Recipe() string { return kind.Recipe() }
