// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// unbootable is why no kernel of COS boots in QEMU. Its virtio drivers are built in for Google's own machines;
// whether CONFIG_PVH, by which QEMU could start a vmlinux, is set differs by build and is in no published file.
const unbootable = "COS publishes no bootable image, only vmlinux: QEMU starts that only if the build has CONFIG_PVH, " +
	"which nothing published tells; test its programs against the build's BTF, or on a node"

// loadPin is why a module does not load, whoever built it.
const loadPin = "LoadPin of Container-Optimized OS refuses modules that are not on its read-only root " +
	"(GKE nodes without a GPU; node pools with ENFORCE_SIGNED_MODULES take only modules that Google signed): " +
	"cloud.google.com/container-optimized-os/docs/concepts/security"

// Describe fills in what is so of every kernel of COS.
func Describe(e *kernels.Entry) {
	e.Distro = Name
	e.PackageVersion = e.BuildID
	if m, ok := MilestoneOf(e.BuildID); ok {
		e.Flavour = fmt.Sprintf("R%d", m.Number)
	}
	e.Policies = []kernels.Policy{{Variant: "kmod", Cause: cause.PolicyDenied, Reason: loadPin}}
	e.Unbootable = unbootable
}

// Enumerate lists every build of the bucket. Its Entry has no Release: only the headers and vmlinux tell it, and
// it is no key anyway.
func (s *Source) Enumerate(ctx context.Context) ([]kernels.Entry, error) {
	if s.o.Offline {
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "cannot list %s offline", s.o.Base).
			Advise("run once without --offline")
	}
	b := &builds{base: s.o.Base, dev: s.o.Dev, m: map[string]*Build{}}
	if err := s.list(ctx, "", b.add); err != nil {
		return nil, err
	}
	var out []kernels.Entry
	for _, build := range b.sorted() {
		if e, ok := s.entry(build); ok {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "%s holds no build of COS", s.o.Base).
			Advise("see whether that is the URL of the bucket cos-tools or of a copy of it")
	}
	return out, nil
}

// entry makes a catalogue's entry of a build; one that has neither headers, sources nor vmlinux is no kernel.
func (s *Source) entry(b *Build) (kernels.Entry, bool) {
	e := kernels.Entry{
		Kernel:       kernels.Kernel{Arch: b.Arch, BuildID: b.ID},
		Source:       Name,
		Repo:         path.Base(s.o.Base),
		Availability: kernels.Available,
	}
	Describe(&e)
	if p, ok := b.Files[Vmlinux]; ok {
		e.Image = []kernels.Package{p}
	}
	if p, ok := b.Files[Headers]; ok {
		e.Headers = []kernels.Package{p}
	}
	_, sources := b.Files[Sources]
	return e, sources || e.Image != nil || e.Headers != nil
}

// Resolve completes an entry, of which the build and the architecture are enough. The release is inside the headers,
// so that those are fetched; where a build has none, the kernel has no release.
func (s *Source) Resolve(ctx context.Context, e kernels.Entry) (*kernels.Resolved, error) {
	if e.Image == nil && e.Headers == nil {
		b, err := s.Build(ctx, e.BuildID, e.Arch)
		if err != nil {
			return nil, err
		}
		listed, ok := s.entry(b)
		if !ok {
			return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%s holds neither headers nor vmlinux of COS %s for %s", s.o.Base, e.BuildID, e.Arch)
		}
		e.Image, e.Headers = listed.Image, listed.Headers
	}
	r := &kernels.Resolved{
		Kernel:         kernels.Kernel{Distro: Name, Release: e.Release, Version: e.Version, Arch: e.Arch, BuildID: e.BuildID},
		Suite:          e.Repo,
		PackageVersion: e.BuildID,
		HeadersWanted:  []string{fmt.Sprintf("%s (= %s)", Headers, e.BuildID)},
	}
	var err error
	if r.Image, err = s.summed(ctx, e.Image); err != nil {
		return nil, err
	}
	if r.Headers, err = s.summed(ctx, e.Headers); err != nil {
		return nil, err
	}
	if len(r.Headers) == 0 {
		r.HeadersMissing = r.HeadersWanted
		return r, nil
	}
	file, err := s.Fetch(ctx, r.Headers[0])
	if err != nil {
		return nil, err
	}
	id, err := identify(ctx, file)
	if err != nil {
		return nil, err
	}
	r.Kernel.Release, r.Kernel.Version = id.release, id.version
	return r, nil
}

var md5Line = regexp.MustCompile(`^([0-9a-fA-F]{32})(\s|$)`)

// summed gives packages whose listing has no checksum that of the .md5 file beside them.
func (s *Source) summed(ctx context.Context, ps []kernels.Package) ([]kernels.Package, error) {
	var out []kernels.Package
	for _, p := range ps {
		if p.Digest == "" && p.Sum == "" {
			text, err := s.client.Read(ctx, p.URL+digestSuffix, p.Name+digestSuffix, 1<<10)
			if err != nil {
				return nil, fmt.Errorf("the bucket's listing has no checksum of %s: %w", p.URL, err)
			}
			m := md5Line.FindStringSubmatch(string(text))
			if m == nil {
				return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s%s holds no MD5: %.60q", p.URL, digestSuffix, text)
			}
			p.Sum = "md5:" + strings.ToLower(m[1])
		}
		out = append(out, p)
	}
	return out, nil
}
