// SPDX-License-Identifier: Apache-2.0

// Package repodata knows the index of an RPM repository: repomd.xml, and the list of packages that it vouches for, be it
// a SQLite database or primary.xml.
package repodata

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/kernels/internal/pgp"
	"github.com/mews-farm/mews/kernels/rpm"
	"github.com/mews-farm/mews/results/cause"
)

// Bounds of what a repository may have. The largest indexes of whole distributions have 50 MB, packed, and 500 MB.
const (
	maxRepomd    = 4 << 20
	maxSignature = 64 << 10
	maxPacked    = 512 << 20
	maxIndex     = 2 << 30
	maxPackages  = 200_000 // of the names asked for
)

// What a repository can be refused for, all under PACKAGE_CORRUPT; anything else is damage.
var (
	ErrLimit     = errors.New("is larger than is allowed")
	ErrChecksum  = errors.New("does not have the checksum that the index gives for it")
	ErrElsewhere = errors.New("lies on another host than its index")
	ErrSQLite    = errors.New("is not the SQLite database of a repository")
)

// Policy says what a repository's index must prove.
type Policy string

// The policies.
const (
	Signed      Policy = "signed"      // repomd.xml has a signature by one of the keys
	Checksummed Policy = "checksummed" // nobody vouches for repomd.xml but the server; all else by its checksums
)

// Package is one package of a repository.
type Package struct {
	Name, Arch string
	EVR        rpm.EVR
	URL        string
	Sum        string // sha256:..., sha512:..., sha1:...
	Size       int64  // bytes
	SourceRPM  string
	Index      string    // the repository that names it
	Provides   []rpm.Dep // without those of symbols, kernel(...) and ksym(...), of which a kernel has thousands
}

// Package is p as it is fetched.
func (p Package) Package() kernels.Package {
	out := kernels.Package{Name: p.Name, Version: p.EVR.String(), Arch: p.Arch, URL: p.URL, Size: p.Size, Index: p.Index}
	if digest, ok := strings.CutPrefix(p.Sum, "sha256:"); ok {
		out.Digest = archive.Digest(digest)
	} else {
		out.Sum = p.Sum
	}
	return out
}

// Options say how a repository is read.
type Options struct {
	Client *get.Client
	Policy Policy
	Keys   *pgp.Keys // for Signed
	Now    time.Time // when Keys count
}

// List returns the packages of the given names in the repository at base, the directory that holds repodata/: by name,
// the newest first.
func List(ctx context.Context, base string, o Options, names ...string) ([]Package, error) {
	at := strings.TrimRight(base, "/") + "/repodata/repomd.xml"
	text, err := o.Client.Read(ctx, at, "repomd.xml", maxRepomd)
	if err != nil {
		return nil, err
	}
	switch o.Policy {
	case Checksummed:
	case Signed:
		signature, err := o.Client.Read(ctx, at+".asc", "repomd.xml.asc", maxSignature)
		if errors.Is(err, get.ErrNotFound) {
			return nil, cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s is not signed: %w", at, err).
				Advise("use another mirror, or say of the repository that it is only checksummed")
		}
		if err != nil {
			return nil, err
		}
		if err := Check(at, text, signature, o.Keys, o.Now); err != nil {
			return nil, err
		}
	default:
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%q is no policy of repositories", o.Policy)
	}
	r, err := Parse(base, text)
	if err != nil {
		return nil, err
	}
	return r.Packages(ctx, o.Client, names...)
}

// Check verifies the signature, repomd.xml.asc, of the repomd.xml at that URL.
func Check(at string, repomd, signature []byte, keys *pgp.Keys, now time.Time) error {
	if err := keys.Check(bytes.NewReader(repomd), signature, now); err != nil {
		return pgp.Explain(at, err)
	}
	return nil
}

// Repo is a repository whose repomd.xml was read.
type Repo struct {
	base    *url.URL
	primary index
}

// index is one index of a repository, as repomd.xml describes it.
type index struct {
	url      string
	suffix   string // of its compression
	sqlite   bool
	sum      string // of what is served
	size     int64  // of what is served; -1 when not known
	openSize int64  // decompressed; 0 when not known
}

// repomd is repomd.xml.
type repomd struct {
	XMLName xml.Name `xml:"repomd"`
	Data    []struct {
		Type     string `xml:"type,attr"`
		Checksum struct {
			Type string `xml:"type,attr"`
			Hex  string `xml:",chardata"`
		} `xml:"checksum"`
		Location struct {
			Href string `xml:"href,attr"`
			Base string `xml:"base,attr"` // xml:base
		} `xml:"location"`
		Size     int64 `xml:"size"`
		OpenSize int64 `xml:"open-size"`
	} `xml:"data"`
}

// Parse reads repomd.xml of the repository at base, the directory that holds repodata/.
func Parse(base string, text []byte) (*Repo, error) {
	r, err := parse(base, text)
	if err != nil {
		return nil, corrupt(strings.TrimRight(base, "/")+"/repodata/repomd.xml", err)
	}
	return r, nil
}

func parse(base string, text []byte) (*Repo, error) {
	if len(text) > maxRepomd {
		return nil, ErrLimit
	}
	u, err := url.Parse(strings.TrimRight(base, "/") + "/")
	if err != nil {
		return nil, err
	}
	var md repomd
	if err := xml.Unmarshal(text, &md); err != nil {
		return nil, err
	}
	r := &Repo{base: u}
	var known []index
	for _, d := range md.Data {
		if d.Type != "primary" && d.Type != "primary_db" {
			continue
		}
		i := index{sqlite: d.Type == "primary_db", size: cmp.Or(d.Size, -1), openSize: d.OpenSize}
		if i.suffix = path.Ext(d.Location.Href); i.suffix == ".xml" || i.suffix == ".sqlite" {
			i.suffix = ""
		}
		if !slices.Contains([]string{"", ".gz", ".xz", ".bz2", ".zst"}, i.suffix) {
			continue // .zck: there is always another one
		}
		if i.size < -1 || i.size > maxPacked || i.openSize < 0 || i.openSize > maxIndex {
			return nil, fmt.Errorf("%s of %d bytes %w", d.Type, max(i.size, i.openSize), ErrLimit)
		}
		if i.sum, err = checksum(d.Checksum.Type, d.Checksum.Hex); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Type, err)
		}
		if i.url, err = resolve(u, d.Location.Base, d.Location.Href); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Type, err)
		}
		known = append(known, i)
	}
	if len(known) == 0 {
		return nil, errors.New("names no primary_db and no primary that can be read here")
	}
	// A database is looked into, XML has to be read whole.
	slices.SortStableFunc(known, func(a, b index) int {
		switch {
		case a.sqlite == b.sqlite:
			return 0
		case a.sqlite:
			return -1
		}
		return 1
	})
	r.primary = known[0]
	return r, nil
}

// resolve is the URL of href, which is relative to xmlBase if that is there, and to the repository. It may lead up and
// elsewhere on the same host (Amazon Linux 2: ../../../../blobstore/), and to another host only where xml:base does.
func resolve(repo *url.URL, xmlBase, href string) (string, error) {
	base := repo
	if xmlBase != "" {
		b, err := url.Parse(strings.TrimRight(xmlBase, "/") + "/")
		if err != nil {
			return "", fmt.Errorf("xml:base %q: %w", xmlBase, err)
		}
		base = repo.ResolveReference(b)
	}
	h, err := url.Parse(href)
	if err != nil {
		return "", fmt.Errorf("location %q: %w", href, err)
	}
	if href == "" {
		return "", errors.New("has no location")
	}
	u := base.ResolveReference(h)
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("location %q is not on the web", u.Redacted())
	}
	if u.Host != base.Host || u.User.String() != base.User.String() {
		return "", fmt.Errorf("location %q %w", u.Redacted(), ErrElsewhere)
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String(), nil
}

func order(a, b Package) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), b.EVR.Compare(a.EVR), strings.Compare(a.Arch, b.Arch), strings.Compare(a.URL, b.URL))
}

// corrupt says that what lies at url is not to be used. An error with a cause keeps it.
func corrupt(url string, err error) error {
	var c *cause.Err
	if errors.As(err, &c) {
		return err
	}
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s: %w", url, err).
		Advise("the mirror does not serve a whole repository: try again later, or another mirror")
}
