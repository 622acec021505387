// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// readDir takes what is on disk into the archive: the .deb and .rpm files of a directory, the kernels in it, or one file.
// Nobody vouches for those but the user: no signature is asked for.
func readDir(ctx context.Context, path string, o Options, c *collector) error {
	if o.Archive == nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "importing %s takes an archive", path)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return unreadable(path, err)
	}
	if !fi.IsDir() {
		if isPackage(path) {
			return c.takePackage(ctx, path, o)
		}
		return c.takeKernels(ctx, layout{images: []string{path}}, o)
	}
	files, err := os.ReadDir(path)
	if err != nil {
		return unreadable(path, err)
	}
	for _, f := range files {
		if name := filepath.Join(path, f.Name()); isPackage(name) {
			if err := c.takePackage(ctx, name, o); err != nil {
				return err
			}
		}
	}
	return c.takeKernels(ctx, findLayout(path), o)
}

// layout is where the parts of kernels lie below a directory.
type layout struct {
	images  []string
	modules []string // lib/modules/<release>, or a directory modules/ without a release in its name
	headers []string
	configs []string
}

// findLayout looks where a root file system has the parts of its kernels, and for plain names beside each other.
func findLayout(root string) layout {
	glob := func(patterns ...string) []string {
		var out []string
		seen := map[string]bool{}
		for _, p := range patterns {
			found, err := filepath.Glob(filepath.Join(escape(root), p))
			if err != nil {
				continue // a pattern above is wrong, which the tests would show
			}
			for _, f := range found {
				// lib is a link to usr/lib, vmlinuz one to boot/vmlinuz-<release>.
				real, err := filepath.EvalSymlinks(f)
				if err == nil && !seen[real] {
					seen[real] = true
					out = append(out, real)
				}
			}
		}
		return out
	}
	l := layout{
		images: glob("boot/vmlinuz-*", "lib/modules/*/vmlinuz", "usr/lib/modules/*/vmlinuz", "vmlinuz", "vmlinuz-*", "bzImage", "Image",
			"Image.gz", "arch/x86/boot/bzImage", "arch/arm64/boot/Image"),
		modules: glob("lib/modules/*", "usr/lib/modules/*", "modules/lib/modules/*", "modules/*", "modules"),
		headers: glob("usr/src/linux-headers-*", "usr/src/kernels/*", "headers/usr/src/linux-headers-*", "headers/usr/src/kernels/*", "headers"),
		configs: glob("boot/config-*", "config-*", "config", ".config"),
	}
	if len(l.images) == 0 {
		l.images = glob("vmlinux")
	}
	l.modules = slices.DeleteFunc(l.modules, func(dir string) bool { return !has(dir, "modules.builtin") && !has(dir, "kernel") })
	l.headers = slices.DeleteFunc(l.headers, func(dir string) bool { return !has(dir, "Makefile") })
	return l
}

// escape keeps a directory's own name out of a pattern.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func has(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// parts are the parts of one kernel.
type parts struct {
	image   *imageFile
	modules string
	headers string
	config  string
}

// takeKernels puts together what belongs to each image, and takes it.
func (c *collector) takeKernels(ctx context.Context, l layout, o Options) error {
	for _, path := range l.images {
		image, err := openImage(path)
		if err != nil {
			c.skip(path, filepath.Base(path), err)
			continue
		}
		p := parts{image: image}
		if err := p.find(l); err != nil {
			c.skip(path, filepath.Base(path), err)
			continue
		}
		if err := c.takeKernel(ctx, p, o); err != nil {
			return err
		}
	}
	return nil
}

// find looks for the parts of an image among l, by the release, or because there is nothing else that they can be of.
func (p *parts) find(l layout) error {
	release := p.image.release
	pick := func(all []string, named func(string) string) string {
		for _, a := range all {
			if named(a) == release && release != "" {
				return a
			}
		}
		if len(all) == 1 && (len(l.images) == 1 && named(all[0]) == "" || release == "") {
			return all[0]
		}
		return ""
	}
	if release == "" {
		release = nameRelease(p.image.path)
	}
	p.modules = pick(l.modules, moduleRelease)
	if release == "" && p.modules != "" {
		release = moduleRelease(p.modules)
	}
	if release == "" {
		return errors.New("tells no release, and there is no directory of modules beside it whose name is one")
	}
	p.image.release = release
	p.headers = pick(l.headers, headerRelease)
	inModules := filepath.Join(p.modules, "config")
	if p.config = pick(l.configs, nameRelease); p.config == "" && p.modules != "" && has(p.modules, "config") {
		p.config = inModules
	}
	return nil
}

var releaseForm = regexp.MustCompile(`^[0-9]+\.[0-9]+[0-9A-Za-z.+~_-]*$`)

// nameRelease is the release at the end of the name of a file: vmlinuz-6.1.0-9-amd64.
func nameRelease(path string) string {
	_, release, _ := strings.Cut(filepath.Base(path), "-")
	if !releaseForm.MatchString(release) {
		return ""
	}
	return release
}

// moduleRelease is the release for which modules were installed in a directory.
func moduleRelease(dir string) string {
	if release := filepath.Base(dir); releaseForm.MatchString(release) {
		return release
	}
	return ""
}

// headerRelease is the release of a tree of headers, which a configured one says in a file.
func headerRelease(dir string) string {
	if text, err := os.ReadFile(filepath.Join(dir, "include/config/kernel.release")); err == nil {
		if release := strings.TrimSpace(string(text)); releaseForm.MatchString(release) {
			return release
		}
	}
	return moduleRelease(strings.Replace(dir, "/linux-headers-", "/", 1))
}

// takeKernel packs the parts of a kernel and takes them into the archive.
func (c *collector) takeKernel(ctx context.Context, p parts, o Options) error {
	im := p.image
	k := kernels.Kernel{
		Distro: cmp.Or(o.Distro, guessDistro(im.release)), Release: im.release, Version: cmp.Or(im.version, "1"),
		Arch: im.arch,
	}
	files := []item{{from: im.path, to: "boot/vmlinuz-" + k.Release}}
	var lacks []string
	switch config := "boot/config-" + k.Release; {
	case p.config != "":
		files = append(files, item{from: p.config, to: config})
	case im.config != nil:
		files = append(files, item{text: im.config, to: config})
	default:
		lacks = append(lacks, "configuration")
	}
	if p.modules != "" {
		files = append(files, item{from: p.modules, to: "lib/modules/" + k.Release})
	} else {
		lacks = append(lacks, "directory of modules")
	}
	image, err := pack(ctx, "image", k, files, o)
	if err != nil {
		return err
	}
	f := c.kernel(k)
	f.add(Artifact{Part: Image, Package: *image})
	if len(lacks) > 0 {
		f.unbootable = fmt.Sprintf("there was no %s beside %s", strings.Join(lacks, " and no "), im.path)
	}
	if p.headers != "" {
		headers, err := pack(ctx, "headers", k, headerItems(p.headers, k.Release), o)
		if err != nil {
			return err
		}
		f.add(Artifact{Part: Headers, Package: *headers})
	}
	c.read++
	return nil
}

// headerItems are a tree of headers, and the trees that those of Debian's kind have links into.
func headerItems(dir, release string) []item {
	switch filepath.Base(filepath.Dir(dir)) {
	case "src":
	case "kernels":
		return []item{{from: dir, to: "usr/src/kernels/" + release}}
	default:
		return []item{{from: dir, to: "usr/src/linux-headers-" + release}}
	}
	out := []item{{from: dir, to: "usr/src/" + filepath.Base(dir)}}
	src := filepath.Dir(dir)
	beside := []string{filepath.Join(escape(src), "linux-*-common*"), filepath.Join(escape(filepath.Dir(src)), "lib/linux-kbuild-*")}
	if abi := ubuntuABI.FindString(release); abi != "" {
		beside = append(beside, filepath.Join(escape(src), "linux-*headers-"+abi))
	}
	for _, pattern := range beside {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // as in findLayout
		}
		for _, f := range found {
			out = append(out, item{from: f, to: filepath.Join("usr", strings.TrimPrefix(f, filepath.Dir(src)))})
		}
	}
	return out
}

var ubuntuABI = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+-[0-9]+`)

// guessDistro tells a distribution by how it names its releases; "local" where that tells nothing.
func guessDistro(release string) string {
	if d := rpmDistro(release, ""); d != "" {
		return d
	}
	for _, g := range []struct{ form, distro string }{
		{`(-|^)(cloud-|rt-)?(amd64|arm64)$`, "debian"},
		{`^[0-9.]+-[0-9]+-(generic|lowlatency|aws|azure|gcp|gke|kvm|oracle|ibm)`, "ubuntu"},
	} {
		if regexp.MustCompile(g.form).MatchString(release) {
			return g.distro
		}
	}
	return "local"
}
