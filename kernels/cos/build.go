// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"cmp"
	"context"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// The files of a build that mean something here. Early builds have the sources only.
const (
	Headers       = "kernel-headers.tgz" // usr/src/linux-headers-<release>
	Sources       = "kernel-src.tar.gz"
	Vmlinux       = "vmlinux"
	Toolchain     = "toolchain.tar.xz"
	toolchainEnv  = "toolchain_env"
	toolchainURL  = "toolchain_url"
	kernelCommit  = "kernel_commit"
	digestSuffix  = ".md5"
	boardX86      = "lakitu" // COS's name for the board "any x86 machine of Google's cloud"
	boardArm      = "lakitu-arm64"
	archX86       = "x86_64"
	archArm       = "aarch64"
	maxListedName = 1024
)

var known = []string{Headers, Sources, Vmlinux, Toolchain, toolchainEnv, toolchainURL, kernelCommit}

// Build is what the bucket holds of one build for one architecture.
type Build struct {
	ID    string // BUILD_ID of /etc/os-release: 17800.570.5
	Arch  string // x86_64 or aarch64
	Files map[string]kernels.Package
}

var (
	buildID  = regexp.MustCompile(`^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(\.[0-9]{1,6})?$`)
	devBuild = regexp.MustCompile(`^[0-9]+\.0\.0$`)
)

// IsBuild reports whether s has the form of a build's ID.
func IsBuild(s string) bool { return buildID.MatchString(s) }

// IsDev reports whether a build is a development build: no release is made of those.
func IsDev(build string) bool { return devBuild.MatchString(build) }

// CompareBuilds orders builds by their numbers.
func CompareBuilds(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		n, errN := strconv.Atoi(x)
		m, errM := strconv.Atoi(y)
		if errN != nil || errM != nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(n, m)
	})
}

// SplitKey takes apart a key of the bucket, <build>/[<board>/]<file>. The files of newer builds lie below
// lakitu/ (x86) and lakitu-arm64/, those of older ones, all x86, beside them.
func SplitKey(key string) (build, arch, file string, ok bool) {
	parts := strings.Split(key, "/")
	arch = archX86
	if len(parts) == 3 {
		switch parts[1] {
		case boardX86:
		case boardArm:
			arch = archArm
		default:
			return "", "", "", false
		}
		parts = slices.Delete(parts, 1, 2)
	}
	if len(parts) != 2 || len(key) > maxListedName || !IsBuild(parts[0]) || !slices.Contains(known, parts[1]) {
		return "", "", "", false
	}
	return parts[0], arch, parts[1], true
}

// builds collects the builds of a listing.
type builds struct {
	base string
	dev  bool
	m    map[string]*Build
}

func (b *builds) add(o object) {
	id, arch, file, ok := SplitKey(o.Key)
	if !ok || IsDev(id) && !b.dev {
		return
	}
	build := b.m[id+" "+arch]
	if build == nil {
		build = &Build{ID: id, Arch: arch, Files: map[string]kernels.Package{}}
		b.m[id+" "+arch] = build
	}
	if _, twice := build.Files[file]; twice {
		return // beside lakitu/ and in it: the same file
	}
	build.Files[file] = kernels.Package{
		Name: file, Version: id, Arch: arch,
		URL: b.base + (&url.URL{Path: "/" + o.Key}).EscapedPath(),
		Sum: o.sum(), Size: o.Size,
	}
}

func (b *builds) sorted() []*Build {
	var out []*Build
	for _, build := range b.m {
		out = append(out, build)
	}
	slices.SortFunc(out, func(x, y *Build) int {
		return cmp.Or(CompareBuilds(x.ID, y.ID), cmp.Compare(x.Arch, y.Arch))
	})
	return out
}

// Build lists one build, a development build too.
func (s *Source) Build(ctx context.Context, id, arch string) (*Build, error) {
	if !IsBuild(id) {
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%q is not a build of COS", id).
			Advise("BUILD_ID of /etc/os-release on the node has it: 17800.570.5, say")
	}
	if s.o.Offline {
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "the files of COS %s are not known here", id).
			Advise("run once without --offline")
	}
	b := &builds{base: s.o.Base, dev: true, m: map[string]*Build{}}
	if err := s.list(ctx, id+"/", b.add); err != nil {
		return nil, err
	}
	build := b.m[id+" "+arch]
	if build == nil {
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%s holds nothing of COS %s for %s", s.o.Base, id, arch).
			Advise("see whether the node's BUILD_ID is right; Google removes builds that are out of support")
	}
	return build, nil
}
