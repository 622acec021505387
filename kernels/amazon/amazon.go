// SPDX-License-Identifier: Apache-2.0

// Package amazon knows where the kernels of Amazon Linux 2 and 2023 can be had.
package amazon

import (
	"context"

	"github.com/mews-farm/mews/kernels/internal/yum"
)

// Options of the source. Its mirrors are named 2 and 2023.
type Options = yum.Options

// Source is the repositories of Amazon Linux. It implements [github.com/mews-farm/mews/kernels.Source].
type Source = yum.Source

// What to do about packages without a known key.
const (
	Strict = yum.Strict
	Warn   = yum.Warn
)

// mirrors are the public ones. That of Amazon Linux 2 speaks HTTP: what it serves is proven by the packages' signatures.
var mirrors = map[string]string{
	"2":    "http://amazonlinux.us-east-1.amazonaws.com/2",
	"2023": "https://cdn.amazonlinux.com/al2023",
}

// repos2 are the repositories of Amazon Linux 2 with kernels: 4.14 in core, the newer ones in extras.
var repos2 = []string{
	"core/2.0", "core/latest", "extras/kernel-ng/latest", "extras/kernel-5.4/latest", "extras/kernel-5.10/latest", "extras/kernel-5.15/latest",
}

// Amazon packs image and modules together; few modules that hardly anybody needs lie apart.
var (
	lines2    = []yum.Line{{Image: "kernel"}}
	lines2023 = []yum.Line{line2023("kernel"), line2023("kernel6.12"), line2023("kernel6.18")}
)

func line2023(image string) yum.Line {
	return yum.Line{Image: image, With: []string{image + "-modules-extra-common", image + "-modules-extra"}}
}

// New makes the source, named amazon. Nothing is fetched yet.
func New(o Options) (*Source, error) {
	return yum.New(o, yum.Config{
		Name:    "amazon",
		Mirrors: mirrors,
		Keys:    []string{"/etc/pki/rpm-gpg/RPM-GPG-KEY-amazon-linux-*", "/usr/share/distribution-gpg-keys/amazon-linux/*"},
		KeyAt:   "/etc/pki/rpm-gpg/RPM-GPG-KEY-amazon-linux-2 (or -2023) of an Amazon Linux system or container image",
		Groups:  groups,
	})
}

func groups(ctx context.Context, s *Source) ([]yum.Group, error) {
	var out []yum.Group
	for _, arch := range s.Arches() {
		for _, name := range repos2 {
			out = append(out, group("amazonlinux2", "2/"+name, arch, s.Mirror("2")+"/"+name, lines2))
		}
	}
	releases, err := releasevers(ctx, s)
	for _, release := range releases {
		for _, arch := range s.Arches() {
			out = append(out, group("amazonlinux2023", release, arch, s.Mirror("2023")+"/core/mirrors/"+release, lines2023))
		}
	}
	return out, err
}

// group is one repository, which a mirror.list per architecture leads to.
func group(distro, name, arch, url string, lines []yum.Line) yum.Group {
	return yum.Group{Name: name, Distro: distro, Arch: arch, Lines: lines, Repos: []yum.Repo{{Name: name, MirrorList: url + "/" + arch + "/mirror.list"}}}
}
