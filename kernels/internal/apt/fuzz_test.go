// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/mews-farm/mews/kernels/internal/apttest"
)

func FuzzPackages(f *testing.F) {
	f.Add([]byte("Package: a\nVersion: 1\nFilename: pool/a.deb\nSize: 1\nSHA256: " + strings.Repeat("a", 64) +
		"\nDepends: b (>= 1) | c, d\nProvides: e (= 1)\nDescription: x\n y\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x := newIndex("sid", "http://m.example/debian", nil)
		if err := x.read(bytes.NewReader(b)); err != nil {
			return
		}
		u := Universe{x}
		for _, name := range x.Names() {
			p := u.Best(Relation{Name: name})
			if p == nil {
				t.Fatalf("lists %q and does not find it", name)
			}
			k := p.Package()
			if !k.Digest.Valid() || k.Size < 0 || strings.Contains(k.URL, "/../") {
				t.Fatalf("made %+v", k)
			}
			ParseRelations(p.Depends)
		}
	})
}

func FuzzInRelease(f *testing.F) {
	f.Add([]byte("Suite: a\nCodename: b\nDate: Sat, 21 Nov 2026 06:00:00 UTC\nSHA256:\n " + strings.Repeat("a", 64) + " 1 main/x\n"))
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: a\n-----BEGIN PGP SIGNATURE-----\n\n=AAAA\n-----END PGP SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := openRelease(b, openpgp.EntityList{}, apttest.Now); err == nil {
			t.Fatalf("believed %+v without a key", r)
		}
		r, err := parseRelease(b)
		if err != nil {
			return
		}
		for name, file := range r.files {
			if !file.digest.Valid() || file.size < 0 {
				t.Fatalf("%q: %+v", name, file)
			}
		}
	})
}

func FuzzCompare(f *testing.F) {
	f.Add("1:2.0~rc1-1", "1:2.0-1")
	f.Fuzz(func(t *testing.T, a, b string) {
		if x, y := Compare(a, b), Compare(b, a); (x < 0) != (y > 0) || (x == 0) != (y == 0) {
			t.Fatalf("Compare(%q, %q) = %d, the other way round %d", a, b, x, y)
		}
	})
}
