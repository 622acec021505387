// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/cos"
)

// Part says which part of a kernel a file is.
type Part string

// The parts.
const (
	Image     Part = "image"
	Modules   Part = "modules"
	Headers   Part = "headers" // of Debian's kind
	Devel     Part = "devel"   // the same, of Red Hat's kind
	Src       Part = "src"
	Toolchain Part = "toolchain"
	Vmlinux   Part = "vmlinux"
)

// Artifact is one file of one kernel.
type Artifact struct {
	kernels.Kernel // Release is empty where Shared, and of COS
	Part           Part
	Flavour        string
	Shared         bool // by all kernels of the same Distro and Package.Version, as linux-headers-6.1.0-9-common is
	Package        kernels.Package
	Access         string // how an entitled kernel is had; empty where anybody may have it
}

// Why a line, a package or a record is skipped.
var (
	ErrNoURL    = errors.New("not an http or https URL")
	ErrOpaque   = errors.New("names a package by its checksum alone: Red Hat's API tells subscribers which package, and so which kernel, that is")
	ErrNoKernel = errors.New("not a file of a kernel known here")
	ErrDistro   = errors.New("nothing tells which distribution it is of")
	ErrMeta     = errors.New("a package without files, that only depends on the ones that have them")
	ErrArch     = errors.New("not for x86_64 or aarch64")
)

const maxURL = 4096

var blobstore = regexp.MustCompile(`/blobstore/([0-9a-f]{64})/`)

// ParseURL tells which file of which kernel a URL is, by the conventions of the distributions' mirrors. The error
// says why it cannot be told, and is one of those above.
func ParseURL(raw string) (Artifact, error) { return parseURL(raw, "") }

func parseURL(raw, distro string) (Artifact, error) {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxURL || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Artifact{}, ErrNoURL
	}
	file := path.Base(u.Path)
	var a Artifact
	switch {
	case u.Host == "api.access.redhat.com":
		return Artifact{}, ErrOpaque
	case strings.Contains(u.Path, "/cos-tools/"):
		_, key, _ := strings.Cut(u.Path, "/cos-tools/")
		a, err = cosFile(key)
	case path.Ext(file) == ".deb":
		name, version, arch, ok := splitDeb(file)
		if !ok {
			return Artifact{}, ErrNoKernel
		}
		a, err = fromDeb(name, version, arch, debDistro(u, distro))
	case path.Ext(file) == ".rpm":
		n, ok := splitRPM(file)
		if !ok {
			return Artifact{}, ErrNoKernel
		}
		a, err = fromRPM(n, elFamily(u, distro))
	default:
		return Artifact{}, ErrNoKernel
	}
	if err != nil {
		return Artifact{}, err
	}
	a.Package.URL = raw
	if m := blobstore.FindStringSubmatch(u.Path); m != nil {
		a.Package.Digest = archive.Digest(m[1])
	}
	switch u.Hostname() {
	case "cdn.redhat.com":
		a.Access = "a Red Hat subscription that covers " + path.Dir(path.Dir(path.Dir(u.Path)))
	case "esm.ubuntu.com":
		a.Access = "Ubuntu Pro, for its Expanded Security Maintenance"
	}
	return a, nil
}

// cosFile reads a key of the bucket cos-tools.
func cosFile(key string) (Artifact, error) {
	build, arch, file, ok := cos.SplitKey(key)
	if !ok {
		return Artifact{}, ErrNoKernel
	}
	part := map[string]Part{cos.Headers: Headers, cos.Sources: Src, cos.Vmlinux: Vmlinux, cos.Toolchain: Toolchain}[file]
	if part == "" {
		return Artifact{}, ErrNoKernel
	}
	return Artifact{
		Kernel:  kernels.Kernel{Distro: cos.Name, Arch: arch, BuildID: build},
		Part:    part,
		Package: kernels.Package{Name: file, Version: build, Arch: arch},
	}, nil
}

// elFamily tells which member of Red Hat's family a mirror is of: their packages are named alike.
func elFamily(u *url.URL, distro string) string {
	where := strings.ToLower(u.Host + u.Path)
	for _, f := range []struct{ part, distro string }{
		{"redhat.com", "redhat"}, {"rocky", "rocky"}, {"alma", "almalinux"}, {"centos", "centos"}, {"oracle", "ol"},
	} {
		if strings.Contains(where, f.part) {
			return f.distro
		}
	}
	return distro
}

func debDistro(u *url.URL, distro string) string {
	where := strings.ToLower(u.Host + u.Path)
	for _, d := range []string{"ubuntu", "debian"} {
		if strings.Contains(where, d) {
			return d
		}
	}
	return distro
}
