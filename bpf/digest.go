// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"crypto/sha256"
	"encoding/hex"
)

// Digest names this build of the probe by its object: "bpf-" and the first 12 hexadecimal digits of its SHA-256.
func Digest() string {
	sum := sha256.Sum256(_ProbeBytes)
	return "bpf-" + hex.EncodeToString(sum[:6])
}
