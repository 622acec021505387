// SPDX-License-Identifier: Apache-2.0

package kbuild

// Recipe names how the drivers of a kind are built: when it changes, what was built before is built again.
func (k *Kind) Recipe() string { return keyVersion + "." + k.Version }
