// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package guest

// legacy makes the calls that younger architectures never had: none.
func (c *caller) legacy() {}
