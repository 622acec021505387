// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// needHeaders are the variants of a driver that are built against a kernel's headers.
var needHeaders = []string{"kmod", "ebpf"}

// Entry is r in a catalogue. Its Repo is <suite>/<arch>.
func Entry(r *kernels.Resolved, flavour, arch string) kernels.Entry {
	e := kernels.Entry{
		Kernel:         r.Kernel,
		Source:         r.Kernel.Distro,
		Repo:           r.Suite + "/" + arch,
		Flavour:        flavour,
		PackageVersion: r.PackageVersion,
		Image:          r.Image,
		Headers:        r.Headers,
		Availability:   kernels.Available,
	}
	if len(r.Headers) == 0 {
		for _, variant := range needHeaders {
			e.Policies = append(e.Policies, kernels.Policy{
				Variant: variant, Cause: cause.HeadersMissing, Reason: strings.Join(r.HeadersMissing, "; "),
			})
		}
	}
	return e
}

// Resolved is what an entry made by [Entry] knows of its packages, which came out of a signed index.
func Resolved(e kernels.Entry) *kernels.Resolved {
	suite, _, _ := strings.Cut(e.Repo, "/")
	r := &kernels.Resolved{Kernel: e.Kernel, Suite: suite, PackageVersion: e.PackageVersion, Image: e.Image, Headers: e.Headers}
	for _, p := range e.Headers {
		r.HeadersWanted = append(r.HeadersWanted, p.Name+" (= "+p.Version+")")
	}
	for _, p := range e.Policies {
		if p.Cause == cause.HeadersMissing && len(e.Headers) == 0 && len(r.HeadersMissing) == 0 {
			r.HeadersWanted = []string{"linux-headers-" + e.Release}
			r.HeadersMissing = strings.Split(p.Reason, "; ")
		}
	}
	return r
}

// ArchOf is apt's name of an entry's architecture.
func ArchOf(e kernels.Entry) (string, error) {
	for arch, machine := range Machines {
		if machine == e.Arch {
			return arch, nil
		}
	}
	return "", cause.Errorf(cause.PackageMissing, cause.FaultHarness, "kernel %s: %s has no architecture %q that is known here", e.Release, e.Distro, e.Arch).
		Advise("use x86_64 or aarch64")
}

// AddHeaders adds to r linux-headers-<release> and those of its dependencies that are headers too, as ofHeaders tells.
// They may lie in another suite of u than the image: bookworm and bookworm-security share them.
func (u Universe) AddHeaders(r *kernels.Resolved, ofHeaders func(name string) bool) {
	var found []kernels.Package
	seen := map[string]bool{}
	want := []Relation{{Name: "linux-headers-" + r.Kernel.Release}}
	for i := 0; i < len(want); i++ {
		rel := want[i]
		if seen[rel.Name] {
			continue
		}
		seen[rel.Name] = true
		r.HeadersWanted = append(r.HeadersWanted, rel.String())
		p := u.Best(rel)
		if p == nil {
			r.HeadersMissing = append(r.HeadersMissing, rel.String()+" is not in "+u.String())
			continue
		}
		found = append(found, p.Package())
		for _, group := range ParseRelations(p.Depends) {
			if ofHeaders(group[0].Name) {
				want = append(want, group[0])
			}
		}
	}
	if len(r.HeadersMissing) == 0 {
		r.Headers = found
	}
}
