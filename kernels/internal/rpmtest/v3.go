// SPDX-License-Identifier: Apache-2.0

package rpmtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// SignerV3 makes version 3 signatures by key as of at, as rpm had gpg make them.
func SignerV3(t testing.TB, key *openpgp.Entity, at time.Time) func([]byte) []byte {
	return func(content []byte) []byte {
		t.Helper()
		signing, ok := key.SigningKey(at)
		if !ok {
			t.Fatal("the key does not sign")
		}
		suffix := binary.BigEndian.AppendUint32([]byte{0}, uint32(at.Unix()))
		h := sha256.New()
		h.Write(content)
		h.Write(suffix)
		digest := h.Sum(nil)
		value, err := rsa.SignPKCS1v15(rand.Reader, signing.PrivateKey.PrivateKey.(*rsa.PrivateKey), crypto.SHA256, digest)
		must(t, err)
		body := append([]byte{3, 5}, suffix...)
		body = binary.BigEndian.AppendUint64(body, signing.PublicKey.KeyId)
		body = append(body, 1, 8, digest[0], digest[1])
		number := new(big.Int).SetBytes(value)
		body = binary.BigEndian.AppendUint16(body, uint16(number.BitLen()))
		body = append(body, number.Bytes()...)
		return append(binary.BigEndian.AppendUint16([]byte{0x89}, uint16(len(body))), body...)
	}
}
