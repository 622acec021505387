// SPDX-License-Identifier: Apache-2.0

package pgp

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that signatures name
	_ "crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// v3 is a version 3 signature (RFC 4880, 5.2.2). go-crypto reads none, and the RPMs of Amazon Linux 2, CentOS 7 and 8
// carry them: rpm called gpg with --force-v3-sigs.
type v3 struct {
	suffix []byte // what is hashed after the content: type and time
	made   time.Time
	keyID  uint64
	hash   crypto.Hash
	check  [2]byte // the first bytes of the digest
	value  *big.Int
}

// Numbers of OpenPGP (RFC 4880, 4.3, 5.2.1 and 9.1).
const (
	packetSignature = 2
	sigBinary       = 0
	algoRSA         = 1
	algoRSASign     = 3
)

// parseV3 reads one packet. It returns nil for what is no version 3 signature: go-crypto has a better opinion of that.
func parseV3(raw []byte) (*v3, error) {
	body, ok := packetBody(raw)
	if !ok || len(body) == 0 || body[0] != 3 {
		return nil, nil
	}
	// version, 5, type, time, key id, key's algorithm, hash's algorithm, start of the digest, then the number
	const fixed = 1 + 1 + 1 + 4 + 8 + 1 + 1 + 2
	if len(body) < fixed+2 || body[1] != 5 {
		return nil, errors.New("version 3 signature is cut short")
	}
	if body[2] != sigBinary {
		return nil, fmt.Errorf("signature has type %#x, not that of a file's", body[2])
	}
	if algo := body[15]; algo != algoRSA && algo != algoRSASign {
		return nil, fmt.Errorf("version 3 signature by key algorithm %d, not RSA, is not known here", algo)
	}
	hash, ok := hashes[body[16]]
	if !ok {
		return nil, fmt.Errorf("signature by hash algorithm %d, which is too weak or not known", body[16])
	}
	bits := int(binary.BigEndian.Uint16(body[fixed:]))
	number := body[fixed+2:]
	if n := (bits + 7) / 8; len(number) != n {
		return nil, fmt.Errorf("signature's number has %d bytes, not %d", len(number), n)
	}
	return &v3{
		suffix: bytes.Clone(body[2:7]),
		made:   time.Unix(int64(binary.BigEndian.Uint32(body[3:])), 0),
		keyID:  binary.BigEndian.Uint64(body[7:]),
		hash:   hash,
		check:  [2]byte(body[17:19]),
		value:  new(big.Int).SetBytes(number),
	}, nil
}

// packetBody returns what the signature packet that is all of raw holds.
func packetBody(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0]&0x80 == 0 {
		return nil, false
	}
	var tag byte
	var n, at int
	if raw[0]&0x40 != 0 { // new format
		tag = raw[0] & 0x3f
		switch l := raw[1]; {
		case l < 192:
			n, at = int(l), 2
		case l < 224 && len(raw) >= 3:
			n, at = int(l-192)<<8+int(raw[2])+192, 3
		default:
			return nil, false
		}
	} else {
		tag = raw[0] >> 2 & 0xf
		switch {
		case raw[0]&3 == 0:
			n, at = int(raw[1]), 2
		case raw[0]&3 == 1 && len(raw) >= 3:
			n, at = int(binary.BigEndian.Uint16(raw[1:])), 3
		default:
			return nil, false
		}
	}
	if tag != packetSignature || len(raw)-at != n {
		return nil, false
	}
	return raw[at:], true
}

func (k *Keys) checkV3(signed io.Reader, s *v3, now time.Time) error {
	if k == nil {
		return ErrUnknownKey
	}
	found := k.list.KeysByIdUsage(s.keyID, packet.KeyFlagSign)
	if len(found) == 0 {
		return ErrUnknownKey
	}
	h := s.hash.New()
	if _, err := io.Copy(h, signed); err != nil {
		return err
	}
	h.Write(s.suffix)
	digest := h.Sum(nil)
	if !bytes.Equal(digest[:2], s.check[:]) {
		return ErrMismatch
	}
	err := ErrMismatch
	for _, key := range found {
		public, ok := key.PublicKey.PublicKey.(*rsa.PublicKey)
		// The number is written without leading zeros, the signature has them.
		if !ok || s.value.BitLen() > 8*public.Size() || rsa.VerifyPKCS1v15(public, s.hash, digest, s.value.FillBytes(make([]byte, public.Size()))) != nil {
			continue
		}
		if key.Revoked(now) || key.Entity.Revoked(now) {
			err = ErrRevoked
			continue
		}
		primary, _ := key.Entity.PrimarySelfSignature()
		if expired(key.Entity.PrimaryKey, primary, now) || expired(key.PublicKey, key.SelfSignature, now) {
			err = ErrExpired
			continue
		}
		if s.made.After(now) {
			return fmt.Errorf("signature was made at %s, which is yet to come: %w", s.made.UTC().Format(time.RFC3339), ErrMismatch)
		}
		return nil
	}
	return err
}

func expired(key *packet.PublicKey, self *packet.Signature, now time.Time) bool {
	return self == nil || key.KeyExpired(self, now)
}
