// SPDX-License-Identifier: Apache-2.0

package yum

import (
	"context"
	"fmt"
	"path"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/rpm"
	"github.com/mews-farm/mews/results/cause"
)

// Fetch brings one package into the archive, as its index describes it, and returns its path if the distribution signed
// it. The archive keeps what is not signed, by its content, and each Fetch refuses it anew.
func (s *Source) Fetch(ctx context.Context, p kernels.Package) (string, error) {
	file, err := s.Get.Fetch(ctx, p)
	if err != nil {
		return "", err
	}
	if err := s.verify(ctx, file, p); err != nil {
		return "", err
	}
	return file, nil
}

func (s *Source) verify(ctx context.Context, file string, p kernels.Package) error {
	name := path.Base(p.URL)
	if s.keys.Len() == 0 {
		if s.o.Signatures != Warn {
			return s.unverified(name, errNoKeys)
		}
		s.o.Warn(fmt.Sprintf("%s: taken for its checksum alone: there is no key of %s to verify its signature by", name, s.c.Name))
	} else if err := rpm.Verify(ctx, file, s.keys, s.o.Now()); err != nil {
		return s.refused(name, err)
	}
	// What is signed may still be another package than the index says: an older kernel with a hole.
	is, err := rpm.Open(file)
	if err != nil {
		return s.refused(name, err)
	}
	if is.Name != p.Name || is.EVR.String() != p.Version || is.Arch != p.Arch {
		return cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s is the package %s, not %s-%s.%s", p.URL, is.NEVRA(), p.Name, p.Version, p.Arch).
			Advise("%s", s.hints.Corrupt)
	}
	return nil
}

// refused says of a package that rpm refuses what to do.
func (s *Source) refused(name string, err error) error {
	switch cause.Of(err).Cause {
	case cause.SignatureInvalid:
		return s.unverified(name, err)
	case cause.PackageCorrupt:
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s: %w", name, err).Advise("%s", s.hints.Corrupt)
	}
	return err
}
