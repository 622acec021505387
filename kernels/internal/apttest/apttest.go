// SPDX-License-Identifier: Apache-2.0

// Package apttest knows how to make a repository in apt's format, good or bad, and to serve it on loopback for tests.
package apttest

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/debtest"
)

// Now is the clock of these tests.
var Now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Pkg is a package of a made-up repository.
type Pkg struct {
	Name, Version, Arch string
	Fields              string // lines of its control file beyond these three
	Files               []debtest.Entry
}

// P makes an amd64 package.
func P(name, version, fields string, files ...debtest.Entry) Pkg {
	return Pkg{Name: name, Version: version, Arch: "amd64", Fields: fields, Files: files}
}

// On is p of another architecture.
func (p Pkg) On(arch string) Pkg {
	p.Arch = arch
	return p
}

// Repo is a made-up mirror, served on loopback and signed with a throw-away key.
type Repo struct {
	T      *testing.T
	Key    *openpgp.Entity
	Server *httptest.Server

	mu       sync.Mutex
	Files    map[string][]byte       // by URL path
	Handlers map[string]http.Handler // tried before Files
	asked    []string                // URL paths
}

// New makes an empty mirror that ends with the test.
func New(t *testing.T) *Repo {
	t.Helper()
	r := &Repo{T: t, Key: NewKey(t), Files: map[string][]byte{}, Handlers: map[string]http.Handler{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Server.Close)
	return r
}

// Base is the path of the archive that holds suite: Debian keeps security updates apart.
func Base(suite string) string {
	if strings.HasSuffix(suite, "-security") {
		return "/debian-security"
	}
	return "/debian"
}

// NewKey makes a key that is good for a year more.
func NewKey(t testing.TB) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity("throw-away", "", "nobody@example.org", &packet.Config{
		Algorithm:       packet.PubKeyAlgoEdDSA,
		KeyLifetimeSecs: 2 * 365 * 24 * 3600,
		Time:            func() time.Time { return Now.AddDate(-1, 0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (r *Repo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.asked = append(r.asked, req.URL.Path)
	h, content := r.Handlers[req.URL.Path], r.Files[req.URL.Path]
	r.mu.Unlock()
	switch {
	case h != nil:
		h.ServeHTTP(w, req)
	case content != nil:
		w.Write(content)
	default:
		http.NotFound(w, req)
	}
}

// Count is how often path was asked for.
func (r *Repo) Count(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, p := range r.asked {
		if p == path {
			n++
		}
	}
	return n
}

// Suite publishes packages; the suite is valid for a week from now on.
func (r *Repo) Suite(name string, packages ...Pkg) {
	r.T.Helper()
	base := Base(name)
	indexes := map[string]*strings.Builder{"amd64": {}}
	for _, p := range packages {
		control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\n%s", p.Name, p.Version, p.Arch, p.Fields)
		content := debtest.Deb(r.T, ".gz", control, p.Files...)
		file := fmt.Sprintf("pool/main/%s_%s_%s.deb", p.Name, p.Version, p.Arch)
		r.Files[base+"/"+file] = content
		if indexes[p.Arch] == nil {
			indexes[p.Arch] = &strings.Builder{}
		}
		fmt.Fprintf(indexes[p.Arch], "%sFilename: %s\nSize: %d\nSHA256: %s\nDescription: made up\n more\n\n",
			control, file, len(content), archive.DigestOf(content))
	}
	packed := map[string][]byte{}
	for arch, text := range indexes {
		packed["main/binary-"+arch+"/Packages.xz"] = debtest.Compress(r.T, ".xz", []byte(text.String()))
	}
	r.Publish(base+"/dists/"+name, name, "Sat, 28 Nov 2026 12:00:00 UTC", packed)
}

// Publish writes an InRelease and the index files that it lists.
func (r *Repo) Publish(dists, codename, validUntil string, indexes map[string][]byte) {
	r.T.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "Origin: Debian\nSuite: role-of-%s\nCodename: %s\nDate: Sat, 21 Nov 2026 06:00:00 UTC\n", codename, codename)
	if validUntil != "" {
		fmt.Fprintf(&text, "Valid-Until: %s\n", validUntil)
	}
	fmt.Fprintf(&text, "Components: main\nMD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 main/binary-amd64/Packages\nSHA256:\n")
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		content := indexes[name]
		fmt.Fprintf(&text, " %s %d %s\n", archive.DigestOf(content), len(content), name)
		r.Files[dists+"/"+name] = content
	}
	r.Files[dists+"/InRelease"] = Sign(r.T, r.Key, text.String())
}

// Sign clear-signs text as of some hours ago.
func Sign(t testing.TB, key *openpgp.Entity, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key.PrivateKey, &packet.Config{Time: func() time.Time { return Now.Add(-6 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Keyring is a file with the key's public half.
func (r *Repo) Keyring() string {
	r.T.Helper()
	var b bytes.Buffer
	if err := r.Key.Serialize(&b); err != nil {
		r.T.Fatal(err)
	}
	name := filepath.Join(r.T.TempDir(), "keyring.gpg")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		r.T.Fatal(err)
	}
	return name
}

// Flip spoils one byte.
func Flip(b []byte) { b[len(b)/2] ^= 0xff }

// Warnings collects what the user would be shown.
type Warnings struct {
	mu   sync.Mutex
	Text []string
}

// Add is a Warn function.
func (w *Warnings) Add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Text = append(w.Text, text)
}
