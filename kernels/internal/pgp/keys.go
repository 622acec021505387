// SPDX-License-Identifier: Apache-2.0

// Package pgp knows the OpenPGP keys that distributions sign with, and what a detached signature proves.
package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/mews-farm/mews/results/cause"
)

// Why a signature does not count. Anything else is a signature that cannot be read.
var (
	ErrUnknownKey = errors.New("signed by a key that is in no keyring")
	ErrExpired    = errors.New("the key, or the signature, has expired")
	ErrRevoked    = errors.New("the key was revoked")
	ErrMismatch   = errors.New("the signature is not of this content")
)

// maxKeyFile bounds a file of keys; those of whole distributions have a few hundred KB.
const maxKeyFile = 16 << 20

// Keys are public keys to verify with.
type Keys struct{ list openpgp.EntityList }

// Load reads files of public keys, armoured or not; an armoured file may hold several blocks, as RPM-GPG-KEY files do.
func Load(files ...string) (*Keys, error) {
	k := &Keys{}
	for _, name := range files {
		b, err := readKeyFile(name)
		if err != nil {
			return nil, cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "read keyring: %w", err)
		}
		before := k.Len()
		err = k.add(b)
		if err == nil && k.Len() == before {
			err = errors.New("holds no key")
		}
		if err != nil {
			return nil, cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "read keyring %s: %w", name, err).
				Advise("give a file of OpenPGP public keys, such as the distribution's RPM-GPG-KEY")
		}
	}
	return k, nil
}

func readKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(b) > maxKeyFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxKeyFile)
	}
	return b, err
}

func (k *Keys) add(b []byte) error {
	begin := []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")
	at := bytes.Index(b, begin)
	if at < 0 {
		list, err := openpgp.ReadKeyRing(bytes.NewReader(b))
		k.list = append(k.list, list...)
		return err
	}
	for block := range bytes.SplitSeq(b[at+len(begin):], begin) {
		list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(append(bytes.Clone(begin), block...)))
		if err != nil {
			return err
		}
		k.list = append(k.list, list...)
	}
	return nil
}

// Len is how many keys there are; a nil *Keys has none.
func (k *Keys) Len() int {
	if k == nil {
		return 0
	}
	return len(k.list)
}

// Check reports whether signature, armoured or not, is one of these keys' of all that signed yields, as of now.
// An error of signed itself is returned as it is.
func (k *Keys) Check(signed io.Reader, signature []byte, now time.Time) error {
	raw, err := dearmour(signature)
	if err != nil {
		return err
	}
	in := &source{r: signed}
	if len(raw) == 0 {
		return errors.New("signature is empty")
	}
	if old, err := parseV3(raw); err != nil {
		return err
	} else if old != nil {
		err = k.checkV3(in, old, now)
		return in.or(err)
	}
	var list openpgp.EntityList
	if k != nil {
		list = k.list
	}
	sig, _, err := openpgp.VerifyDetachedSignature(list, in, bytes.NewReader(raw), &packet.Config{Time: func() time.Time { return now }})
	if err == nil && !strong(sig.Hash) {
		return fmt.Errorf("signature by %s, which is too weak", sig.Hash)
	}
	return in.or(named(err))
}

// named gives go-crypto's errors the names of this package.
func named(err error) error {
	var mismatch pgperrors.SignatureError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return ErrUnknownKey
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		return fmt.Errorf("%w: %w", ErrExpired, err)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return fmt.Errorf("%w: %w", ErrRevoked, err)
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	return fmt.Errorf("signature: %w", err)
}

// Explain makes SIGNATURE_INVALID of an error of [Keys.Check]: what was signed, and what to do next.
func Explain(what string, err error) *cause.Err {
	e := cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "signature of %s: %w", what, err)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return e.Advise("add the key that the distribution publishes for it to the source's keyring; do not take one from the mirror")
	case errors.Is(err, ErrExpired), errors.Is(err, ErrRevoked):
		return e.Advise("get the distribution's current key: distributions prolong keys, and publish the same key with a later date")
	}
	return e.Advise("the file was altered, or signed by mistake: fetch it again, from another mirror")
}

func dearmour(signature []byte) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(signature), []byte("-----BEGIN")) {
		return signature, nil
	}
	block, err := armor.Decode(bytes.NewReader(signature))
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if block.Type != openpgp.SignatureType {
		return nil, fmt.Errorf("a %s is not a signature", block.Type)
	}
	raw, err := io.ReadAll(io.LimitReader(block.Body, maxSignature))
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return raw, nil
}

const maxSignature = 1 << 20

// source remembers that reading what is signed failed, so that the failure is not taken for a bad signature.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (s *source) or(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}

// strong reports whether content of the same hash cannot be made: SHA-1 and MD5 prove nothing any more.
func strong(h crypto.Hash) bool { return h != crypto.SHA1 && h != crypto.MD5 && h != crypto.RIPEMD160 }

// hashes are those of version 3 signatures, by their numbers in OpenPGP (RFC 4880, 9.4).
var hashes = map[byte]crypto.Hash{8: crypto.SHA256, 9: crypto.SHA384, 10: crypto.SHA512, 11: crypto.SHA224}
