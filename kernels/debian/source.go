// SPDX-License-Identifier: Apache-2.0

// Package debian knows where a Debian mirror has its kernels, and which of its packages make one.
package debian

import (
	"net/http"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/kernels/internal/get"
)

// Policy says what to do about an InRelease file past its Valid-Until.
type Policy = apt.Policy

// The policies.
const (
	Strict = apt.Strict // refuse it: SIGNATURE_INVALID
	Warn   = apt.Warn   // use it, and call Options.Warn
)

// Options of a [Source]. Archive and Warn are needed; the zero value of the rest means the usual.
type Options struct {
	Archive    *archive.Archive
	Warn       func(text string)         // must show text to the user; called from several goroutines
	Mirrors    Mirrors                   // zero: Discover
	Keyrings   []string                  // OpenPGP key files; nil: /usr/share/keyrings/debian-archive-*
	Arch       string                    // Debian's name; "": amd64
	Transport  http.RoundTripper         // nil: http.DefaultTransport
	Now        func() time.Time          // nil: time.Now
	ValidUntil func(suite string) Policy // nil: Strict for all
	Offline    bool                      // resolve and fetch from the archive alone
	Progress   func(kernels.Event)       // may be nil; called from several goroutines

	patience get.Patience           // tests have less of it
	keep     func(name []byte) bool // which packages an index keeps; nil: all
}

// Source is a Debian mirror seen through its verified indexes: kernels, and any other package. It is safe for
// concurrent use. The index of a suite is fetched once in a Source's life.
type Source struct {
	*apt.Source
	mirrors Mirrors
}

// keyringGlobs are where Debian's debian-archive-keyring package puts its keys: .gpg up to bookworm, .pgp since.
var keyringGlobs = []string{
	"/usr/share/keyrings/debian-archive-*.gpg",
	"/usr/share/keyrings/debian-archive-*.pgp",
	"/usr/share/keyrings/debian-archive-*.asc",
}

// hints is what to do about a mirror of Debian's.
var hints = get.Hints{
	Unreachable: "see whether the mirror is up, choose another by $" + EnvMirror + ", or use --offline",
	NotFound:    "check the suite's name and $" + EnvMirror,
	Corrupt:     "the mirror does not serve what its signed index promises: try again later, or another mirror by $" + EnvMirror,
}

// New makes a Source. Nothing is fetched yet.
func New(o Options) (*Source, error) {
	var err error
	if o.Mirrors == (Mirrors{}) {
		o.Mirrors, err = Discover()
	} else {
		o.Mirrors, err = o.Mirrors.complete()
	}
	if err != nil {
		return nil, err
	}
	s, err := apt.New(apt.Options{
		Distro:         "debian",
		Archive:        o.Archive,
		Warn:           o.Warn,
		Base:           o.Mirrors.of,
		Keyrings:       o.Keyrings,
		KeyringGlobs:   keyringGlobs,
		KeyringPackage: "debian-archive-keyring",
		Arch:           o.Arch,
		Transport:      o.Transport,
		Now:            o.Now,
		ValidUntil:     o.ValidUntil,
		Offline:        o.Offline,
		Progress:       o.Progress,
		Keep:           o.keep,
		Hints:          hints,
		Patience:       o.patience,
	})
	if err != nil {
		return nil, err
	}
	return &Source{s, o.Mirrors}, nil
}

// Mirrors are those in use.
func (s *Source) Mirrors() Mirrors { return s.mirrors }
