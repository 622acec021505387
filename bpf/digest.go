// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"crypto/sha256"
	"encoding/hex"
)

// Digest names this build of the probe, all its editions, by their objects: "bpf-" and the first 12 hexadecimal digits of
// their SHA-256.
func Digest() string {
	h := sha256.New()
	for _, object := range [][]byte{_ProbeBytes, _BadOpenHowBytes, _BadUpperBytes} {
		h.Write(object)
	}
	return "bpf-" + hex.EncodeToString(h.Sum(nil)[:6])
}
