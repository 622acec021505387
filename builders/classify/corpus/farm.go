// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/deb"
	"github.com/mews-farm/mews/kernels/debian"
)

// farm brings real headers, compilers and drivers from the host's mirror, through the user's own cache.
type farm struct {
	mirrors map[string]*debian.Source // by Debian's name of the architecture
	roots   *root.Cache
	trees   *kernels.Trees
}

func newFarm() (*farm, error) {
	dir, err := archive.DefaultDir()
	if err != nil {
		return nil, err
	}
	kept, err := archive.New(dir)
	if err != nil {
		return nil, err
	}
	f := &farm{mirrors: map[string]*debian.Source{}}
	for _, arch := range []string{"amd64", "arm64"} {
		f.mirrors[arch], err = debian.New(debian.Options{
			Archive: kept, Arch: arch,
			ValidUntil: func(string) debian.Policy { return debian.Warn },
			Warn:       func(text string) { fmt.Fprintln(os.Stderr, "warning:", text) },
		})
		if err != nil {
			return nil, err
		}
	}
	roots, err := root.DefaultDir()
	if err != nil {
		return nil, err
	}
	trees, err := kernels.DefaultTreesDir()
	if err != nil {
		return nil, err
	}
	f.roots = &root.Cache{Dir: roots, Fetcher: f.mirrors["amd64"]}
	f.trees = &kernels.Trees{Dir: trees, Fetcher: f.mirrors["amd64"]}
	return f, nil
}

// headers of a kernel: the tree, where they lie in it, and the major of the compiler that built the kernel.
type headers struct {
	tree, dir string
	compiler  kernels.Compiler
}

func (f *farm) headers(ctx context.Context, name, arch string) (*headers, error) {
	l := lines[name]
	found, err := f.mirrors[arch].Resolve(ctx, l.suites, l.pattern+arch, 1)
	if err != nil {
		return nil, err
	}
	release := found[0].Kernel.Release
	h := &headers{dir: "/usr/src/linux-headers-" + release}
	if h.tree, err = f.trees.Tree(ctx, "corpus-headers-"+release, found[0].Headers, nil); err != nil {
		return nil, err
	}
	config, err := os.Open(filepath.Join(h.tree, h.dir, ".config"))
	if err != nil {
		return nil, err
	}
	defer config.Close()
	parsed, err := kernels.ParseConfig(config)
	if err != nil {
		return nil, err
	}
	h.compiler, err = parsed.Compiler()
	return h, err
}

// root makes a build root for compiler@suite with more packages, and the tree of the libraries that belong to it and
// that root.Tree leaves out: gcc needs none of them, but clang does (libmd0), and curl.
func (f *farm) root(ctx context.Context, name string, also []string) (*root.Root, string, error) {
	compiler, suite, _ := strings.Cut(name, "@")
	pkgs, err := f.mirrors["amd64"].Closure(ctx, []string{suite, suite + "-security"}, append(root.Tools(compiler), also...)...)
	if err != nil {
		return nil, "", err
	}
	r, err := f.roots.Tree(ctx, pkgs)
	if err != nil {
		return nil, "", err
	}
	left := slices.DeleteFunc(slices.Clone(pkgs), func(p kernels.Package) bool {
		return slices.Contains(r.Packages, p.Digest) || !strings.HasPrefix(p.Name, "lib")
	})
	more, err := f.trees.Tree(ctx, "corpus-libraries", left, func(name string) bool {
		return name == "." || strings.HasPrefix("usr/lib/x86_64-linux-gnu", name) || strings.HasPrefix(name, "usr/lib/x86_64-linux-gnu/")
	})
	return r, more, err
}

// driver unpacks a driver's source below dir and returns its place there, and its bpf directory's when probe is set.
func (f *farm) driver(ctx context.Context, version, dir string, probe bool) (string, error) {
	p, err := f.mirrors["amd64"].Find(ctx, []string{drivers[version]}, "falcosecurity-scap-dkms")
	if err != nil {
		return "", err
	}
	file, err := f.mirrors["amd64"].Fetch(ctx, p)
	if err != nil {
		return "", err
	}
	err = deb.Unpack(ctx, file, dir, deb.Limits{Bytes: 256 << 20, Files: 20_000}, func(name string) bool {
		if ok, err := path.Match("usr/src/*/bpf", name); ok && err == nil && !probe {
			return false
		}
		return name == "." || name == "usr" || name == "usr/src" || strings.HasPrefix(name, "usr/src/") && (probe || !strings.Contains(name, "/bpf/"))
	})
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(dir, "usr/src/*/dkms.conf"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%s holds %d files dkms.conf: %v", file, len(found), err)
	}
	return filepath.Dir(found[0]), nil
}
