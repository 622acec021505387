// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"regexp"
	"strings"

	"github.com/mews-farm/mews/kernels"
)

// nvra is what an RPM calls itself.
type nvra struct{ name, version, release, arch string }

var rpmFile = regexp.MustCompile(`^([A-Za-z0-9._+-]+)-([^-/\s]+)-([^-/\s]+)\.([a-z0-9_]+)\.rpm$`)

// splitRPM reads kernel-devel-5.10.219-208.866.amzn2.x86_64.rpm.
func splitRPM(file string) (nvra, bool) {
	m := rpmFile.FindStringSubmatch(file)
	if m == nil {
		return nvra{}, false
	}
	return nvra{m[1], m[2], m[3], m[4]}, true
}

// rpmParts are the suffixes of the names of a kernel's packages, the longer first. kernel-headers is not one: those
// are the headers of user space.
var rpmParts = []struct {
	suffix string
	part   Part
}{
	{"-modules-core", Modules}, {"-modules-extra", Modules}, {"-modules", Modules}, {"-core", Image},
	{"-devel", Devel}, {"-debuginfo", Vmlinux}, {"", Image},
}

// rpmFlavours are the kernels that are built beside the plain one, and what uname -r has of them at its end.
// kernel-rt of el8 and before says it in its release: 4.18.0-372.93.1.rt7.253.el8_6.
var rpmFlavours = map[string]string{
	"": "", "uek": "", "lt": "", "ml": "", "rt": "+rt", "debug": "+debug", "64k": "+64k", "rt-debug": "+rt-debug", "64k-debug": "+64k-debug",
}

// rpmKernel is the name of a kernel's main package; Amazon's newer ones have the line in it: kernel6.12.
var rpmKernel = regexp.MustCompile(`^kernel([0-9]+\.[0-9]+)?(?:-([a-z0-9-]+))?$`)

var (
	rpmDists = []struct {
		tag    *regexp.Regexp
		distro string
	}{
		{regexp.MustCompile(`\.amzn2023(\.|$)`), "amazonlinux2023"},
		{regexp.MustCompile(`\.amzn2022(\.|$)`), "amazonlinux2022"},
		{regexp.MustCompile(`\.amzn2(\.|$)`), "amazonlinux2"},
		{regexp.MustCompile(`\.amzn1(\.|$)`), "amazonlinux"},
		{regexp.MustCompile(`\.fc[0-9]+(\.|$)`), "fedora"},
		{regexp.MustCompile(`\.ph[0-9]+(\.|$)`), "photon"},
		{regexp.MustCompile(`\.al(nx|i)?[0-9]+(\.|$)`), "alinux"},
		{regexp.MustCompile(`\.el[0-9]+(_[0-9]+)?uek(\.|$)`), "ol"},
	}
	releaseDir = regexp.MustCompile(`^/(?:(?:usr/)?lib/modules|usr/src/kernels)/([0-9][^/]*)(?:/|$)`)
	elTag      = regexp.MustCompile(`\.el[0-9]+(_[0-9]+)?(\.|$)`)
	// Since Red Hat's 8, and in Fedora, the image is in kernel-core; kernel is empty.
	emptyMain = regexp.MustCompile(`\.(el([89]|[1-9][0-9])(_[0-9]+)?(uek)?|fc[0-9]+)(\.|$)`)
)

// fromRPM tells which part of which kernel a package is. family is the distribution of packages that are tagged el.
func fromRPM(n nvra, family string) (Artifact, error) {
	if n.arch != "x86_64" && n.arch != "aarch64" {
		return Artifact{}, ErrArch
	}
	stem, part := n.name, Part("")
	for _, p := range rpmParts {
		if s, ok := strings.CutSuffix(n.name, p.suffix); ok {
			stem, part = s, p.part
			break
		}
	}
	m := rpmKernel.FindStringSubmatch(stem)
	if m == nil {
		return Artifact{}, ErrNoKernel
	}
	ending, ok := rpmFlavours[m[2]]
	if !ok {
		return Artifact{}, ErrNoKernel
	}
	if m[2] == "rt" && strings.Contains(n.release, ".rt") {
		ending = ""
	}
	if stem == n.name && emptyMain.MatchString(n.release) && m[2] != "uek" {
		return Artifact{}, ErrMeta
	}
	distro := rpmDistro(n.release, family)
	if distro == "" {
		return Artifact{}, ErrDistro
	}
	k := kernels.Kernel{Distro: distro, Release: n.version + "-" + n.release + "." + n.arch + ending, Version: "1", Arch: n.arch}
	if m[2] == "uek" {
		k.Version = "2" // Oracle's second build is the one that is published
	}
	return Artifact{
		Kernel: k, Part: part, Flavour: m[2],
		Package: kernels.Package{Name: n.name, Version: n.version + "-" + n.release, Arch: n.arch},
	}, nil
}

func rpmDistro(release, family string) string {
	for _, d := range rpmDists {
		if d.tag.MatchString(release) {
			return d.distro
		}
	}
	if elTag.MatchString(release) {
		return family
	}
	return ""
}
