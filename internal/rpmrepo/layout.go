// SPDX-License-Identifier: Apache-2.0

package rpmrepo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

// Layout is how a distribution divides a kernel into packages.
type Layout struct {
	name    string
	dist    string // the end of the package's release
	payload string // rpm's name of the compression
	spec    string // what follows the common head
}

// Amazon2 is kernel (image and modules) and kernel-devel.
var Amazon2 = Layout{"amzn2", "amzn2", "w0.xzdio", `
%description
Image and modules.
%package devel
Summary: Build tree
%description devel
Build tree.
%files
/boot/*
/lib/modules/{{.Release}}
%files devel
/usr/src/kernels/{{.Release}}
`}

// EL8 is kernel-core, kernel-modules and kernel-devel, with a kernel that holds nothing. The image lies among the modules.
// The packages are compressed as el9's are.
var EL8 = Layout{"el8", "el8", "w1.zstdio", `
%description
Nothing; needs the others.
%package core
Summary: Image
Provides: kernel-uname-r = {{.Provided}}
%description core
Image.
%package modules
Summary: Modules
%description modules
Modules.
%package devel
Summary: Build tree
%description devel
Build tree.
%files
%files core
/lib/modules/{{.Release}}
%exclude /lib/modules/{{.Release}}/kernel/fs
%exclude /lib/modules/{{.Release}}/kernel/net
%files modules
/lib/modules/{{.Release}}/kernel/fs
/lib/modules/{{.Release}}/kernel/net
%files devel
/usr/src/kernels/{{.Release}}
`}

var head = template.Must(template.New("spec").Parse(`
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
Name: kernel
Version: {{.Version}}
Release: 2.mews.{{.Dist}}
Summary: A kernel of Debian's
License: GPL-2.0-only
AutoReqProv: no
{{if .Whole}}Provides: kernel-uname-r = {{.Provided}}
{{end}}`))

// Build makes the signed packages of k and returns their paths, sorted.
func (f *Forge) Build(ctx context.Context, k Kernel, l Layout) ([]string, error) {
	top := filepath.Join(f.Dir, "build-"+l.name)
	tree := filepath.Join(top, "tree")
	if err := f.lay(ctx, tree, k, l); err != nil {
		return nil, err
	}
	spec := filepath.Join(top, "kernel.spec")
	if err := writeSpec(spec, k, l); err != nil {
		return nil, err
	}
	if err := f.run(ctx, "rpmbuild", "-bb", "--target", "x86_64", "--buildroot", tree, "--noclean", "--define", "_topdir "+top,
		"--define", "_binary_payload "+l.payload, spec); err != nil {
		return nil, err
	}
	packages, err := filepath.Glob(filepath.Join(top, "RPMS/x86_64/*.rpm"))
	if err != nil || len(packages) == 0 {
		return nil, fmt.Errorf("rpmbuild made no packages in %s: %w", top, err)
	}
	slices.Sort(packages)
	return packages, f.sign(ctx, packages)
}

func writeSpec(name string, k Kernel, l Layout) error {
	body, err := template.New("spec").Parse(l.spec)
	if err != nil {
		return err
	}
	var text strings.Builder
	data := map[string]any{"Release": k.Release, "Version": k.Version, "Dist": l.dist, "Provided": flat(k.Release), "Whole": l.name == Amazon2.name}
	for _, t := range []*template.Template{head, body} {
		if err := t.Execute(&text, data); err != nil {
			return err
		}
	}
	return os.WriteFile(name, []byte(text.String()), 0o644)
}

// flat is release in a form that rpmbuild takes for a version: with one hyphen. Debian's have more; the index gets
// the real one (see unflat).
func flat(release string) string {
	version, rest, _ := strings.Cut(release, "-")
	return version + "-" + strings.ReplaceAll(rest, "-", "_")
}

// lay makes the tree that the packages take their files from.
func (f *Forge) lay(ctx context.Context, tree string, k Kernel, l Layout) error {
	modules := filepath.Join(tree, "lib/modules", k.Release)
	devel := filepath.Join(tree, "usr/src/kernels", k.Release)
	boot := func(name string) string { return filepath.Join(tree, "boot", name+"-"+k.Release) }
	if l.name == EL8.name {
		boot = func(name string) string { return filepath.Join(modules, name) }
	}
	headers := filepath.Join(k.Headers, "usr/src/linux-headers-"+k.Release)
	common, err := filepath.Glob(filepath.Join(k.Headers, "usr/src/linux-headers-*-common"))
	if err != nil || len(common) != 1 {
		return fmt.Errorf("%s has not one linux-headers-*-common, but %q", k.Headers, common)
	}
	for _, dir := range []string{filepath.Dir(modules), devel, filepath.Join(tree, "boot")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// A build tree by itself: Debian's is three packages that point into each other.
	for _, c := range [][]string{
		{"-a", k.ModuleDir, modules},
		{k.Image, boot("vmlinuz")},
		{k.Config, boot("config")},
		{k.SystemMap, boot("System.map")},
		{"-aL", common[0] + "/.", devel},
		{"-a", headers + "/.config", headers + "/.kernelvariables", headers + "/Module.symvers", headers + "/arch", headers + "/include", devel},
	} {
		if err := f.run(ctx, "cp", c...); err != nil {
			return err
		}
	}
	build := filepath.Join(modules, "build")
	if err := os.RemoveAll(build); err != nil {
		return err
	}
	return os.Symlink("/usr/src/kernels/"+k.Release, build)
}
