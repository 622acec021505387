// SPDX-License-Identifier: Apache-2.0

package rpm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels/internal/pgp"
	"github.com/mews-farm/mews/kernels/internal/rpmtest"
	"github.com/mews-farm/mews/results/cause"
)

func TestVerify(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	made := now.AddDate(-1, 0, 0)
	key, other := rpmtest.Key(t, made, 0), rpmtest.Key(t, made, 0)
	old := rpmtest.Key(t, made, 24*time.Hour)
	sign := rpmtest.Signer(t, key, made.Add(time.Hour))
	oldRPM := func(s *rpmtest.Spec) { s.Old = true }
	signed := func(sign func([]byte) []byte, changes ...func(*rpmtest.Spec)) []byte {
		p := pack(rpmtest.Regular("/f", "content"))
		p.Sign = sign
		for _, change := range changes {
			change(&p)
		}
		return p.Build(t)
	}
	headerOnly := func(s *rpmtest.Spec) { s.HeaderOnly = true }
	altered := func(b []byte) []byte { // its last byte, which is the payload's: two packages are not of one length
		b[len(b)-1] ^= 0xff
		return b
	}
	for _, tc := range []struct {
		name    string
		content []byte
		cause   cause.Cause // empty: it verifies
		is      error
		says    string
	}{
		{"header and payload", signed(sign), "", nil, ""},
		{"header alone, with the payload's digest", signed(sign, headerOnly), "", nil, ""},
		{"rpm 4.11", signed(sign, oldRPM), "", nil, ""},
		{"rpm 4.11, version 3", signed(rpmtest.SignerV3(t, key, made.Add(time.Hour)), oldRPM), "", nil, ""},
		{"by the second key of the file", signed(rpmtest.Signer(t, other, made.Add(time.Hour))), "", nil, ""},
		{"header alone, without the payload's digest", signed(sign, oldRPM, headerOnly), cause.SignatureInvalid, errUnsigned, "payload"},
		{"not signed", signed(nil), cause.SignatureInvalid, errUnsigned, "distribution's own mirror"},
		{"unknown key", signed(rpmtest.Signer(t, rpmtest.Key(t, made, 0), now)), cause.SignatureInvalid, pgp.ErrUnknownKey, "keyring"},
		{"unknown key, version 3", signed(rpmtest.SignerV3(t, rpmtest.Key(t, made, 0), now)), cause.SignatureInvalid, pgp.ErrUnknownKey, "keyring"},
		{"expired key", signed(rpmtest.Signer(t, old, made)), cause.SignatureInvalid, pgp.ErrExpired, "current key"},
		{"expired key, version 3", signed(rpmtest.SignerV3(t, old, made)), cause.SignatureInvalid, pgp.ErrExpired, "current key"},
		{"signature of something else", signed(func([]byte) []byte { return sign([]byte("else")) }), cause.SignatureInvalid, pgp.ErrMismatch, "altered"},
		{"version 3 of something else", signed(func([]byte) []byte { return rpmtest.SignerV3(t, key, made)([]byte("else")) }), cause.SignatureInvalid, pgp.ErrMismatch, "altered"},
		{"version 3 of tomorrow", signed(rpmtest.SignerV3(t, key, now.Add(24*time.Hour))), cause.SignatureInvalid, pgp.ErrMismatch, "yet to come"},
		{"no signature at all", signed(func([]byte) []byte { return []byte("nonsense") }), cause.SignatureInvalid, nil, "altered"},
		{"empty signature", signed(func([]byte) []byte { return nil }), cause.SignatureInvalid, nil, "empty"},
		{"version 3 cut short", signed(func(b []byte) []byte { return []byte{0x88, 3, 3, 5, 0} }), cause.SignatureInvalid, nil, "short"},
		{"payload altered", altered(signed(sign)), cause.PackageCorrupt, ErrDigest, "payload"},
		{"payload altered, rpm 4.11", altered(signed(sign, oldRPM)), cause.PackageCorrupt, ErrDigest, "payload"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ring := filepath.Join(t.TempDir(), "RPM-GPG-KEY")
			if err := os.WriteFile(ring, rpmtest.Public(t, key, other, old), 0o644); err != nil {
				t.Fatal(err)
			}
			keys, err := pgp.Load(ring)
			if err != nil || keys.Len() != 3 {
				t.Fatalf("%d keys, %v", keys.Len(), err)
			}
			err = Verify(t.Context(), write(t, tc.content), keys, now)
			if tc.cause == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if got := cause.Of(err); err == nil || got.Cause != tc.cause || got.Fault != cause.FaultInfra {
				t.Fatalf("%v is %+v", err, got)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q does not say %q", err, tc.says)
			}
		})
	}
}

func TestVerifyWithoutKeys(t *testing.T) {
	key := rpmtest.Key(t, time.Now().Add(-time.Hour), 0)
	for name, sign := range map[string]func([]byte) []byte{"4": rpmtest.Signer(t, key, time.Now()), "3": rpmtest.SignerV3(t, key, time.Now())} {
		p := pack(rpmtest.Regular("/f", "content"))
		p.Sign = sign
		if err := Verify(t.Context(), write(t, p.Build(t)), nil, time.Now()); !errors.Is(err, pgp.ErrUnknownKey) {
			t.Errorf("version %s: got %v", name, err)
		}
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Verify(ctx, write(t, pack(rpmtest.Regular("/f", "content")).Build(t)), nil, time.Now())
	if cause.Of(err).Cause != cause.Cancelled {
		t.Errorf("got %v", err)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	for _, content := range [][]byte{[]byte("<html>"), []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense"), bytes.Repeat([]byte{0xff}, 100)} {
		_, err := pgp.Load(write(t, content))
		if cause.Of(err).Cause != cause.SignatureInvalid {
			t.Errorf("%.20q: got %v", content, err)
		}
	}
	if _, err := pgp.Load("/does/not/exist"); cause.Of(err).Cause != cause.SignatureInvalid || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
