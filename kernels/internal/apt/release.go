// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// release is what an InRelease file says.
type release struct {
	suite, codename  string
	date, validUntil time.Time // validUntil is zero where the suite promises no end: stable ones
	byHash           bool
	files            map[string]indexFile // by their names below dists/<suite>/
}

type indexFile struct {
	digest archive.Digest
	size   int64
}

// loadKeyrings reads OpenPGP public keys, armoured or not. Keys that a distribution removed from use are left out.
func loadKeyrings(o Options) (openpgp.EntityList, error) {
	files := o.Keyrings
	if files == nil {
		for _, glob := range o.KeyringGlobs {
			found, err := filepath.Glob(glob)
			if err != nil {
				return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "list %s: %w", glob, err)
			}
			files = append(files, found...)
		}
		files = slices.DeleteFunc(files, func(f string) bool { return strings.Contains(filepath.Base(f), "removed") })
	}
	var keys openpgp.EntityList
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "read keyring: %w", err)
		}
		read := openpgp.ReadKeyRing
		if bytes.HasPrefix(b, []byte("-----BEGIN")) {
			read = openpgp.ReadArmoredKeyRing
		}
		more, err := read(bytes.NewReader(b))
		if err != nil {
			return nil, cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "read keyring %s: %w", name, err)
		}
		keys = append(keys, more...)
	}
	if len(keys) == 0 {
		return nil, cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "no key of %s's archive to verify packages with", o.Distro).
			Advise("install the package %s, or name a keyring of yours", o.KeyringPackage)
	}
	return keys, nil
}

// openRelease verifies the clear-signed text with keys as of now, and reads it. Only signed bytes are looked at.
func openRelease(text []byte, keys openpgp.EntityList, now time.Time) (*release, error) {
	block, rest := clearsign.Decode(text)
	if block == nil {
		return nil, errors.New("not a clear-signed file")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("text follows the signature")
	}
	_, err := block.VerifySignature(keys, &packet.Config{Time: func() time.Time { return now }})
	if errors.Is(err, pgperrors.ErrUnknownIssuer) {
		return nil, errors.New("signed by a key that is in no keyring")
	}
	if err != nil {
		return nil, err
	}
	return parseRelease(block.Bytes)
}

// parseRelease reads the fields of a Release file that matter here.
func parseRelease(text []byte) (*release, error) {
	r := &release{files: map[string]indexFile{}}
	section := ""
	for raw := range bytes.Lines(text) {
		line := strings.TrimRight(string(raw), "\r\n")
		if strings.HasPrefix(line, " ") {
			if section != "SHA256" {
				continue
			}
			f := strings.Fields(line)
			if len(f) != 3 {
				return nil, fmt.Errorf("line %q is not digest, size and name", line)
			}
			size, err := strconv.ParseUint(f[1], 10, 50)
			if err != nil {
				return nil, fmt.Errorf("size of %s: %w", f[2], err)
			}
			d := archive.Digest(f[0])
			if !d.Valid() {
				return nil, fmt.Errorf("digest of %s: %q is not a SHA-256", f[2], f[0])
			}
			r.files[f[2]] = indexFile{d, int64(size)}
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		section = key
		var err error
		switch key {
		case "Suite":
			r.suite = value
		case "Codename":
			r.codename = value
		case "Date":
			r.date, err = parseDate(value)
		case "Valid-Until":
			r.validUntil, err = parseDate(value)
		case "Acquire-By-Hash":
			r.byHash = value == "yes"
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return r, nil
}

// parseDate reads RFC 5322 dates, whose zone Debian writes as UTC.
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a date", s)
}

// names reports whether r is the release file of suite, by code name or by role. A mirror that serves
// another suite's properly signed file in its place is found out here. Ubuntu's pockets all have the release's code
// name, so there jammy is the suite jammy alone and not jammy-updates.
func (r *release) names(suite string) bool {
	return suite == r.suite || suite == r.codename && !strings.HasPrefix(r.suite, r.codename+"-")
}
