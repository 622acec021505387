// SPDX-License-Identifier: Apache-2.0

package images

import (
	"context"
	"io"

	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Packager resolves packages of Debian's suites; debian.Source is one.
type Packager interface {
	Closure(ctx context.Context, suites []string, names ...string) ([]kernels.Package, error)
}

// Puller gets the file tree of a registry's image; docker.Runner is one.
type Puller interface {
	Export(ctx context.Context, ref string, install []string) (io.ReadCloser, error)
}

// Maker makes the build roots of images.
type Maker struct {
	Packages Packager
	Roots    *root.Cache
	Registry Puller // may be nil: no image is pulled then
}

// Made is a build root with a compiler.
type Made struct {
	*root.Root
	Choice   Choice
	Identity archive.Digest // of the image: see Image.Identity
}

// Root makes the build root of a choice, or finds it made.
func (m *Maker) Root(ctx context.Context, c Choice) (*Made, error) {
	if c.Image.Registry != "" {
		return m.pulled(ctx, c)
	}
	pkgs, err := m.Packages.Closure(ctx, c.Image.Suites, c.Image.PackagesOf(c.Compiler)...)
	if err != nil {
		return nil, err
	}
	r, err := m.Roots.Tree(ctx, pkgs)
	if err != nil {
		return nil, err
	}
	return m.made(c, r, pkgs)
}

func (m *Maker) pulled(ctx context.Context, c Choice) (*Made, error) {
	if m.Registry == nil {
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "builder image %s is pulled from a registry, which needs Docker", c.Image.Name).
			Advise("start Docker, or pick a compiler of an image that is made of packages")
	}
	r, err := m.Roots.Import(ctx, PulledKey(c.Image), func(ctx context.Context) (io.ReadCloser, error) {
		return m.Registry.Export(ctx, c.Image.Registry, c.Image.Install)
	})
	if err != nil {
		return nil, err
	}
	return m.made(c, r, nil)
}

// PulledKey is the Key of the root that a registry's image makes. Not all that install brings is known before: it is the
// identity of the definition, which names the base's content.
func PulledKey(i *Image) string { return "image-" + string(i.Identity(nil))[:32] }

func (m *Maker) made(c Choice, r *root.Root, pkgs []kernels.Package) (*Made, error) {
	if !r.Has(c.Compiler.Command) {
		return nil, cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "builder image %s has no /usr/bin/%s, which its definition promises", c.Image.Name, c.Compiler.Command)
	}
	return &Made{Root: r, Choice: c, Identity: c.Image.Identity(pkgs)}, nil
}
