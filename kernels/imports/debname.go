// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"regexp"
	"strings"

	"github.com/mews-farm/mews/kernels"
)

// splitDeb reads linux-headers-5.4.0-1103-gke_5.4.0-1103.110_amd64.deb.
func splitDeb(file string) (name, version, arch string, ok bool) {
	parts := strings.Split(strings.TrimSuffix(file, ".deb"), "_")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// debParts are the names of packages that are a kernel's own, the longer prefix first. From 6.19 on Debian splits
// the image in linux-base (configuration), linux-binary and linux-modules.
var debParts = []struct {
	prefix string
	part   Part
}{
	{"linux-image-unsigned-", Image}, {"linux-image-", Image},
	{"linux-binary-unsigned-", Image}, {"linux-binary-", Image},
	{"linux-modules-extra-", Modules}, {"linux-modules-", Modules}, {"linux-base-", Modules},
	{"linux-headers-", Headers},
}

var (
	// What follows the prefix is uname -r, and has a flavour at its end: 6.1.0-9-cloud-amd64, 7.3.4+deb13-amd64, 5.4.0-1103-gke.
	debRelease = regexp.MustCompile(`^[0-9]+\.[0-9]+[0-9.]*[0-9A-Za-z.+~-]*?-([a-z][a-z0-9]*(?:-[a-z0-9]+)*)$`)
	// Headers that are made once for several kernels: linux-headers-5.15.0-25, linux-gke-5.15-headers-5.15.0-1035,
	// linux-headers-6.1.0-9-common-rt, linux-kbuild-6.1, linux-compiler-gcc-12-x86.
	debShared = regexp.MustCompile(`^linux-(?:` +
		`(?:[a-z][a-z0-9.-]*?-)?headers-[0-9]+\.[0-9]+\.[0-9]+-[0-9]+` +
		`|headers-[0-9][0-9A-Za-z.+~-]*-common(?:-rt)?` +
		`|kbuild-[0-9][0-9A-Za-z.+~]*` +
		`|compiler-gcc-[0-9]+-[a-z0-9]+)$`)
	debDebug = regexp.MustCompile(`-dbg(sym)?$`)
)

var debArchs = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "all": ""}

// fromDeb tells which part of which kernel a package is.
func fromDeb(name, version, arch, distro string) (Artifact, error) {
	machine, ok := debArchs[arch]
	if !ok {
		return Artifact{}, ErrArch
	}
	a := Artifact{
		Kernel:  kernels.Kernel{Distro: distro, Arch: machine, Version: "1"},
		Package: kernels.Package{Name: name, Version: version, Arch: arch},
	}
	if debShared.MatchString(name) {
		a.Part, a.Shared = Headers, true
	} else {
		for _, p := range debParts {
			rest, ok := strings.CutPrefix(name, p.prefix)
			if !ok {
				continue
			}
			a.Part = p.part
			if debDebug.MatchString(rest) {
				rest, a.Part = debDebug.ReplaceAllString(rest, ""), Vmlinux
			}
			rest = strings.TrimSuffix(rest, "-unsigned") // of Debian; Ubuntu has it before the release
			if m := debRelease.FindStringSubmatch(rest); m != nil {
				a.Release, a.Flavour = rest, m[1]
			}
			break
		}
		if a.Release == "" {
			return Artifact{}, ErrNoKernel
		}
		if machine == "" {
			return Artifact{}, ErrArch // a package of a kernel is of an architecture
		}
	}
	switch distro {
	case "":
		return Artifact{}, ErrDistro
	case "ubuntu":
		a.Version = ubuntuVersion(version)
	}
	return a, nil
}

// ubuntuVersion is the part of a package's version that uname -v shows after #: 5.15.0-1035.40~20.04.1 is built as
// #40~20.04.1-Ubuntu.
func ubuntuVersion(version string) string {
	_, revision, _ := strings.Cut(version, "-")
	if _, upload, ok := strings.Cut(revision, "."); ok && upload != "" {
		return upload
	}
	return "1"
}

// maintainer tells the distribution of a package by who maintains it.
func maintainer(who string) string {
	who = strings.ToLower(who)
	switch {
	case strings.Contains(who, "ubuntu"), strings.Contains(who, "canonical"):
		return "ubuntu"
	case strings.Contains(who, "debian"):
		return "debian"
	}
	return ""
}
