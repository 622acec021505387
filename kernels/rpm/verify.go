// SPDX-License-Identifier: Apache-2.0

package rpm

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/kernels/internal/pgp"
	"github.com/mews-farm/mews/kernels/internal/unpack"
	"github.com/mews-farm/mews/results/cause"
)

// errUnsigned is a package, or a part of it, that no signature covers.
var errUnsigned = errors.New("is not signed")

// Verify reports whether the package at file is whole, and signed, header and payload, by one of keys as of now.
// Damage is PACKAGE_CORRUPT; all that is the matter with signatures is SIGNATURE_INVALID.
func Verify(ctx context.Context, file string, keys *pgp.Keys, now time.Time) error {
	p, err := Open(file)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return unpack.Corrupt(file, err)
	}
	defer f.Close()
	payload := func() io.Reader {
		return &reader{ctx: ctx, what: "verify " + filepath.Base(file), r: io.NewSectionReader(f, p.payload, p.size-p.payload)}
	}
	if err := p.checkPayload(payload()); err != nil {
		return unpack.Corrupt(file, err)
	}
	return p.checkSignatures(keys, payload, now)
}

// payloadDigest returns what computes the digest that the header has of the payload, or one without a hash.
func (p *Package) payloadDigest() (*digest, error) {
	want, err := p.hdr.string(tagPayloadDigest)
	if err != nil || want == "" {
		return &digest{}, err
	}
	algo, err := p.hdr.numbers(tagPayloadDigestAlgo)
	if err != nil {
		return nil, err
	}
	const openpgpSHA256, openpgpSHA512 = 8, 10
	switch {
	case len(algo) == 1 && algo[0] == openpgpSHA256:
		return &digest{sha256.New(), want}, nil
	case len(algo) == 1 && algo[0] == openpgpSHA512:
		return &digest{sha512.New(), want}, nil
	}
	return nil, fmt.Errorf("payload has a digest by algorithm %d, which is not known here", algo)
}

// checkPayload compares the payload with its digest. Packages of rpm before 4.14 (Amazon Linux 2) have none but the MD5
// of header and payload.
func (p *Package) checkPayload(payload io.Reader) error {
	sum, err := p.payloadDigest()
	if err != nil {
		return err
	}
	if sum.Hash == nil {
		want, err := p.sig.binary(sigMD5)
		if err != nil {
			return fmt.Errorf("signature %w", err)
		}
		if want == nil {
			return nil
		}
		sum = &digest{md5.New(), hex.EncodeToString(want)}
		sum.Write(p.hdr.raw)
	}
	if _, err := io.Copy(sum, payload); err != nil {
		return err
	}
	if !sum.ok() {
		return fmt.Errorf("payload %w", ErrDigest)
	}
	return nil
}

// checkSignatures wants a good signature that covers all, and no bad one. One of the header alone covers the payload
// when the header has the payload's digest. A signature by a key that is not there is neither good nor bad.
func (p *Package) checkSignatures(keys *pgp.Keys, payload func() io.Reader, now time.Time) error {
	digested, err := p.payloadDigest()
	if err != nil {
		return unpack.Corrupt(p.file, err)
	}
	what := "package " + filepath.Base(p.file)
	covered, headerOnly := false, false
	var unknown error
	for _, s := range []struct {
		tag   tag
		whole bool
	}{{sigRSAHeader, false}, {sigDSAHeader, false}, {sigPGP, true}, {sigGPG, true}} {
		signature, err := p.sig.binary(s.tag)
		if err != nil {
			return unpack.Corrupt(p.file, fmt.Errorf("signature %w", err))
		}
		if signature == nil {
			continue
		}
		var signed io.Reader = bytes.NewReader(p.hdr.raw)
		if s.whole {
			signed = io.MultiReader(signed, payload())
		}
		switch err := keys.Check(signed, signature, now); {
		case errors.Is(err, pgp.ErrUnknownKey):
			unknown = err
		case isCause(err):
			return err
		case err != nil:
			return pgp.Explain(what, err)
		case s.whole || digested.Hash != nil:
			covered = true
		default:
			headerOnly = true
		}
	}
	switch {
	case covered:
		return nil
	case unknown != nil:
		return pgp.Explain(what, unknown)
	case headerOnly:
		return cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s: its payload %w, its header alone is", what, errUnsigned).
			Advise("fetch it through the repository's signed index instead")
	}
	return cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s %w", what, errUnsigned).
		Advise("distributions sign their packages: fetch it from the distribution's own mirror")
}

func isCause(err error) bool {
	var c *cause.Err
	return errors.As(err, &c)
}

// reader ends with its context.
type reader struct {
	ctx  context.Context
	what string
	r    io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := disk.Ctx(r.ctx, r.what); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
