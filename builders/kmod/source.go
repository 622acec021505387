// SPDX-License-Identifier: Apache-2.0

package kmod

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/deb"
	"github.com/mews-farm/mews/results/cause"
)

// Source is a driver's source: a verified Debian package that holds usr/src/<name>-<version>/dkms.conf,
// as falcosecurity-scap-dkms does.
type Source struct {
	Package string         // path of the .deb
	Digest  archive.Digest // of that file
}

// sourceLimits are generous: Falco's driver has 1.6 MB in 120 files.
var sourceLimits = deb.Limits{Bytes: 256 << 20, Files: 20_000}

// unpack puts the source's directory into dir and returns its base name. The legacy eBPF probe that lies
// in the same package is left out: its files are not part of the module.
func (s Source) unpack(ctx context.Context, dir string) (string, error) {
	base, err := s.base(ctx)
	if err != nil {
		return "", err
	}
	top := path.Join("usr/src", base)
	err = deb.Unpack(ctx, s.Package, dir, sourceLimits, func(name string) bool {
		return name == "." || name == "usr" || name == "usr/src" || name == top ||
			strings.HasPrefix(name, top+"/") && !strings.HasPrefix(name+"/", top+"/bpf/")
	})
	if err != nil {
		return "", err
	}
	return base, nil
}

// base finds the one directory with a dkms.conf.
func (s Source) base(ctx context.Context) (string, error) {
	var found []string
	err := deb.Walk(ctx, s.Package, sourceLimits, func(h *tar.Header, _ io.Reader) error {
		if ok, err := path.Match("usr/src/*/dkms.conf", h.Name); ok && err == nil && h.Typeflag == tar.TypeReg {
			found = append(found, path.Base(path.Dir(h.Name)))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s holds %d files usr/src/*/dkms.conf, not one", filepath.Base(s.Package), len(found)).
			Advise("name a package that ships a DKMS source")
	}
	return found[0], nil
}

func openRecipe(root *os.Root, base string, vars map[string]string) (*recipe, error) {
	f, err := root.Open(path.Join("usr/src", base, "dkms.conf"))
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read dkms.conf: %w", err)
	}
	defer f.Close()
	return parseRecipe("dkms.conf", f, vars)
}
