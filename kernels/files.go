// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Files are the parts of an unpacked kernel. Paths are absolute and must not be written to.
type Files struct {
	Kernel    Kernel
	Image     string  // vmlinuz
	Config    *Config // of config-<release>
	SystemMap string  // empty when the packages hold none
	ModuleDir string  // .../lib/modules/<release>
	// Headers is a tree to lay over a build root: usr/src/linux-headers-<release> and what it needs lie in it
	// at their final places, where their links, absolute ones too, hold. Empty when Resolved.Headers is.
	Headers   string
	HeaderDir string           // where the kernel's own headers are in Headers: /usr/src/kernels/<release>; empty when they are not
	Packages  []archive.Digest // of everything above that has a published one, sorted
	Sums      []string         // the published checksums of what has no digest, sorted
}

// Files fetches and unpacks what r names, or finds it unpacked.
func (t *Trees) Files(ctx context.Context, r *Resolved) (*Files, error) {
	if r.Kernel.Release == "" || strings.ContainsAny(r.Kernel.Release, "/\x00") {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%q is not a kernel release", r.Kernel.Release)
	}
	var image, headers string
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		image, err = t.Tree(gctx, "kernel-"+r.Kernel.Release, r.Image, kernelFile)
		return err
	})
	if len(r.Headers) > 0 {
		g.Go(func() (err error) {
			headers, err = t.headers(gctx, r)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	f, err := openFiles(r.Kernel, image, headers)
	if err != nil {
		return nil, err
	}
	f.Packages, f.Sums = Contents(slices.Concat(r.Image, r.Headers))
	return f, nil
}

// openFiles finds the parts of a kernel below root, and its headers below headers.
//
// Debian: /boot holds vmlinuz, config and System.map up to 6.18. In the split packages of 6.19 and 7.0 vmlinuz is in /boot and the
// others in /usr/lib/modules/<release>, where from 7.3 on vmlinuz is too. Before Debian 13 that was /lib/modules.
// Amazon Linux 2 has all in /boot, the el8 and el9 family, and Amazon Linux 2023, in /lib/modules/<release>: what is in
// /boot there a scriptlet copies. A kernel whose packages hold no config has that of its headers.
func openFiles(k Kernel, root, headers string) (*Files, error) {
	f := &Files{Kernel: k, Headers: headers}
	if headers != "" {
		f.HeaderDir = headerDir(k.Release, headers)
	}
	var err error
	modules := []string{"usr/lib/modules/" + k.Release, "lib/modules/" + k.Release}
	if f.ModuleDir, err = firstOf(root, modules...); err != nil {
		return nil, err
	}
	inModules := func(name string) []string {
		out := []string{"boot/" + name + "-" + k.Release}
		for _, dir := range modules {
			out = append(out, dir+"/"+name)
		}
		return out
	}
	if f.Image, err = firstOf(root, inModules("vmlinuz")...); err != nil {
		return nil, err
	}
	if path, err := firstOf(root, inModules("System.map")...); err == nil {
		f.SystemMap = path
	}
	path, err := firstOf(root, inModules("config")...)
	if err != nil && f.HeaderDir != "" {
		if own, found := firstOf(headers, f.HeaderDir+"/.config"); found == nil {
			path, err = own, nil
		}
	}
	if err != nil {
		return nil, err
	}
	config, err := os.Open(path)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read kernel config: %w", err)
	}
	defer config.Close()
	if f.Config, err = ParseConfig(config); err != nil {
		return f, err
	}
	f.Config.file = strings.TrimPrefix(strings.TrimPrefix(path, root+"/"), headers+"/")
	if headers == "" {
		return f, nil
	}
	f.Config.compileH, err = CompileH(headers, k.Release)
	return f, err
}

// headerDir finds the headers of a release: Debian's, Ubuntu's and COS's, or those of a kernel-devel.
func headerDir(release, headers string) string {
	for _, dir := range []string{"/usr/src/linux-headers-" + release, "/usr/src/kernels/" + release} {
		if _, err := firstOf(headers, dir+"/Makefile"); err == nil {
			return dir
		}
	}
	return ""
}

// firstOf returns the first of names that is below root. A link does not count: it is the package's, and may
// lead anywhere on this host.
func firstOf(root string, names ...string) (string, error) {
	for _, name := range names {
		path := filepath.Join(root, name)
		if fi, err := os.Lstat(path); err == nil && (fi.IsDir() || fi.Mode().IsRegular()) {
			return path, nil
		}
	}
	return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "kernel packages hold none of %s", strings.Join(names, ", ")).
		With(cause.Text(fmt.Sprintf("unpacked in %s", root))...)
}

// kernelFile leaves out documentation and the like, of which link farms into other packages are a part.
func kernelFile(name string) bool { return !strings.HasPrefix(name+"/", "usr/share/") }
