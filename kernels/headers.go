// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// HeaderFiles is [Trees.Files] of a kernel's headers alone, with the configuration that lies among them: enough to build
// for it, and to look at what was built. The image, the modules and System.map, which are ten times as large, are not fetched.
// Headers that could not be found are HEADERS_MISSING, with what was looked for.
func (t *Trees) HeaderFiles(ctx context.Context, r *Resolved) (*Files, error) {
	if err := r.CheckHeaders(); err != nil {
		return nil, err
	}
	headers, err := t.headers(ctx, r)
	if err != nil {
		return nil, err
	}
	f := &Files{Kernel: r.Kernel, Headers: headers, HeaderDir: headerDir(r.Kernel.Release, headers)}
	if f.HeaderDir == "" {
		return nil, r.noHeaders(cause.Evidence{File: "/usr/src", Text: "the packages hold no Makefile for " + r.Kernel.Release})
	}
	path, err := firstOf(headers, f.HeaderDir+"/.config")
	if err != nil {
		return nil, err
	}
	config, err := os.Open(path)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read kernel config: %w", err)
	}
	defer config.Close()
	if f.Config, err = ParseConfig(config); err != nil {
		return nil, err
	}
	if f.Config.compileH, err = CompileH(headers, r.Kernel.Release); err != nil {
		return nil, err
	}
	f.Packages, f.Sums = Contents(r.Headers)
	return f, nil
}

// headers unpacks a kernel's headers. Those that all flavours of a release have are three quarters of the files, and unpacked
// once.
func (t *Trees) headers(ctx context.Context, r *Resolved) (string, error) {
	return t.tree(ctx, "headers-"+r.Kernel.Release, r.Headers, kernelFile, func(p Package) bool { return strings.HasSuffix(p.Name, "-common") })
}

// CheckHeaders is HEADERS_MISSING, with what was looked for, when no index held the headers.
func (r *Resolved) CheckHeaders() error {
	if len(r.Headers) > 0 {
		return nil
	}
	missing := r.HeadersMissing
	if len(missing) == 0 {
		missing = []string{"linux-headers-" + r.Kernel.Release}
	}
	return r.noHeaders(cause.Text(missing...)...)
}

func (r *Resolved) noHeaders(looked ...cause.Evidence) error {
	return cause.Errorf(cause.HeadersMissing, cause.FaultKernel, "no headers for kernel %s", r.Kernel.Release).With(looked...).
		Advise("pick a kernel whose headers its suites still hold, or import them")
}

// Contents are the digests of packages, and the published checksums of those that have none, sorted.
func Contents(ps []Package) (digests []archive.Digest, sums []string) {
	for _, p := range ps {
		if p.Digest != "" {
			digests = append(digests, p.Digest)
		} else {
			sums = append(sums, p.Sum)
		}
	}
	slices.Sort(digests)
	slices.Sort(sums)
	return digests, sums
}
