// SPDX-License-Identifier: Apache-2.0

package yum

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/kernels/repodata"
	"github.com/mews-farm/mews/results/cause"
)

const (
	maxRepomd     = 4 << 20  // those of whole distributions have 10 KB
	maxSignature  = 64 << 10 // one key's has 1 KB
	maxMirrorList = 64 << 10
)

// packages lists the packages of some names in a repository.
func (s *Source) packages(ctx context.Context, r Repo, arch string, names []string) ([]repodata.Package, error) {
	base, text, err := s.repomd(ctx, r, arch)
	if err != nil {
		return nil, err
	}
	if err := s.checkIndex(ctx, r, base, text); err != nil {
		return nil, err
	}
	index, err := repodata.Parse(base, text)
	if err != nil {
		return nil, err
	}
	return index.Packages(ctx, s.Get, names...)
}

// Exists reports whether there is a repository.
func (s *Source) Exists(ctx context.Context, r Repo) (bool, error) {
	_, _, err := s.repomd(ctx, r, "")
	if errors.Is(err, get.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// repomd finds the base of a repository, and the index of its indexes there.
func (s *Source) repomd(ctx context.Context, r Repo, arch string) (base string, text []byte, err error) {
	bases := r.Bases
	if r.MirrorList != "" {
		base, err := s.mirrorList(ctx, r, arch)
		if err != nil {
			return "", nil, err
		}
		bases = []string{base}
	}
	for _, base := range bases {
		text, err = s.Get.Read(ctx, base+"/repodata/repomd.xml", r.Name+"/repomd.xml", maxRepomd)
		if err == nil {
			return base, text, nil
		}
		if !errors.Is(err, get.ErrNotFound) {
			break // it may be there: the next place may hold an older state
		}
	}
	return "", nil, err
}

// mirrorList is the base that the first line of a mirror.list names. Amazon's end in a hash of the repository's state,
// and hold $basearch.
func (s *Source) mirrorList(ctx context.Context, r Repo, arch string) (string, error) {
	text, err := s.Get.Read(ctx, r.MirrorList, r.Name+"/mirror.list", maxMirrorList)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	base := strings.TrimRight(strings.ReplaceAll(strings.TrimSpace(line), "$basearch", arch), "/")
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s does not begin with a URL", r.MirrorList).
			With(cause.Text(strings.ToValidUTF8(line, "?"))...).
			Advise("%s", s.hints.Corrupt)
	}
	return base, nil
}

// checkIndex verifies the signature of repomd.xml. Without keys there is nothing to verify by, and with SignedIndex
// unset nothing that must be there: the packages have signatures of their own.
func (s *Source) checkIndex(ctx context.Context, r Repo, base string, repomd []byte) error {
	if s.keys.Len() == 0 {
		return nil
	}
	at := base + "/repodata/repomd.xml"
	signature, err := s.Get.Read(ctx, at+".asc", r.Name+"/repomd.xml.asc", maxSignature)
	switch {
	case errors.Is(err, get.ErrNotFound) && !s.c.SignedIndex:
		return nil
	case errors.Is(err, get.ErrNotFound):
		return cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s is not signed: %w", at, err).
			Advise("%s signs its indexes everywhere: use another mirror", s.c.Name)
	case err != nil:
		return err
	}
	if err := repodata.Check(at, repomd, signature, s.keys, s.o.Now()); err != nil {
		return s.unverified(at, err)
	}
	return nil
}

// unverified is a file that no key here can prove.
func (s *Source) unverified(what string, err error) error {
	return cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s: %w", what, err).
		Advise("the keys of %s are %s; name the files in sources.%s.keyrings", s.c.Name, s.c.KeyAt, s.c.Name)
}

var errNoKeys = errors.New("there is no key to verify its signature by")
