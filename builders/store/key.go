// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/builders/product"
)

// Key names one artifact as Falco's own download site does:
//
//	<driver version>/<arch>/falco_<target>_<kernel release>_<kernel version>.ko (or .o)
type Key struct {
	DriverVersion string          // a directory: 7.2.0+driver
	Arch          string          // x86_64 or aarch64
	Kernel        Names           // in falcoctl's words
	Variant       product.Variant // kmod (.ko), ebpf (.o) or, of AnyBTF alone, modern_ebpf (.bpf.o)
}

// Names is what falcoctl calls a kernel; [NamesOf] makes it.
type Names struct {
	Target  string `json:"target"`         // debian, amazonlinux2, ubuntu-aws
	Release string `json:"kernel_release"` // not always uname -r: 6.1.90-1-cloud-amd64
	Version string `json:"kernel_version"` // 1; 26~22.04.1; 1_v1.4.4
}

// prefix begins every artifact's name: the driver's name of falcoctl's default --name.
const prefix = "falco_"

// logsDir is where logs lie, so no driver version may be called that.
const logsDir = "logs"

// maxPart bounds each part of a name, in bytes: the whole with its suffixes is a file's name, of at most 255.
const maxPart = 80

var (
	versionForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]*$`)
	targetForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	releaseForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]*$`)
	plainForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+~-]*$`)
	// twoPart is the kernel version of the targets whose image has a version of its own, which kernel-crawler puts behind
	// the kernel's with an underscore. Only of them may it hold one, or a name could be read in two ways.
	twoPart   = map[string]bool{"bottlerocket": true, "minikube": true, "talos": true}
	twoForm   = regexp.MustCompile(`^[0-9]+_[A-Za-z0-9][A-Za-z0-9.+~-]*$`)
	archNames = map[string]bool{"x86_64": true, "aarch64": true}
)

// check reports a part that is no part of a name.
func (n Names) check() error {
	form := plainForm
	if twoPart[n.Target] {
		form = twoForm
	}
	switch {
	case len(n.Target) > maxPart || !targetForm.MatchString(n.Target):
		return fmt.Errorf("%.100q is not a target", n.Target)
	case len(n.Release) > maxPart || !releaseForm.MatchString(n.Release):
		return fmt.Errorf("%.100q is not a kernel's release", n.Release)
	case len(n.Version) > maxPart/2 || !form.MatchString(n.Version):
		return fmt.Errorf("%.100q is not a kernel's version for target %s", n.Version, n.Target)
	}
	return nil
}

func (n Names) String() string { return n.Target + "_" + n.Release + "_" + n.Version }

// ParseNames reads <target>_<release>_<version>.
func ParseNames(s string) (Names, error) {
	target, rest, ok := strings.Cut(s, "_")
	cut := strings.LastIndexByte(rest, '_')
	if ok && cut > 0 && twoPart[target] {
		cut = strings.LastIndexByte(rest[:cut], '_')
	}
	if !ok || cut <= 0 {
		return Names{}, fmt.Errorf("%.200q is not <target>_<kernel release>_<kernel version>", s)
	}
	n := Names{Target: target, Release: rest[:cut], Version: rest[cut+1:]}
	return n, n.check()
}

// checkVersion reports what cannot be the directory of a driver version.
func checkVersion(v string) error {
	if v == logsDir || len(v) > maxPart || !versionForm.MatchString(v) {
		return fmt.Errorf("%.100q is not a driver's version", v)
	}
	return nil
}

// Check reports what would not be a name, or be read as another one.
func (k Key) Check() error {
	switch {
	case !archNames[k.Arch]:
		return fmt.Errorf("%.100q is not an architecture", k.Arch)
	case !slices.Contains(variantsOf(k.Kernel), k.Variant):
		return fmt.Errorf("variant %.100q has no file for %s", string(k.Variant), k.Kernel)
	case k.Variant == product.EBPF && strings.HasSuffix(k.Kernel.Version, coreMark):
		return fmt.Errorf("version %.100q makes a legacy probe's name that of a CO-RE probe", k.Kernel.Version)
	}
	return errors.Join(checkVersion(k.DriverVersion), k.Kernel.check())
}

// File is the artifact's base name.
func (k Key) File() string { return prefix + k.Kernel.String() + k.Variant.Suffix() }

// Path is the artifact's name in the store, with a plain + in it.
func (k Key) Path() string { return path.Join(k.DriverVersion, k.Arch, k.File()) }

func (k Key) String() string { return k.Path() }

// sidecar and provenance are the names of what lies beside the artifact.
func (k Key) sidecar() string    { return k.Path() + sidecarSuffix }
func (k Key) provenance() string { return k.Path() + provenanceSuffix }

const (
	sidecarSuffix    = ".json"
	provenanceSuffix = ".intoto.json"
)

// coreMark tells a CO-RE probe's suffix from a legacy probe's.
var coreMark = strings.TrimSuffix(product.Modern.Suffix(), product.EBPF.Suffix())

// variantsOf are those that a kernel has files of, in the order in which they are published.
func variantsOf(n Names) []product.Variant {
	if n == AnyBTF {
		return []product.Variant{product.Modern}
	}
	return []product.Variant{product.EBPF, product.KMod}
}

// ParsePath reads the name of an artifact in a store.
func ParsePath(p string) (Key, error) {
	parts := strings.Split(p, "/")
	if len(parts) != 3 {
		return Key{}, fmt.Errorf("%.200q is not <driver version>/<arch>/<file>", p)
	}
	k := Key{DriverVersion: parts[0], Arch: parts[1]}
	stem, ok := strings.CutPrefix(parts[2], prefix)
	if !ok {
		return Key{}, fmt.Errorf("%.200q does not begin with %s", parts[2], prefix)
	}
	for _, v := range []product.Variant{product.KMod, product.Modern, product.EBPF} {
		if s, ok := strings.CutSuffix(stem, v.Suffix()); ok {
			k.Variant, stem = v, s
			break
		}
	}
	if k.Variant == "" {
		return Key{}, fmt.Errorf("%.200q does not end in .ko or .o", parts[2])
	}
	var err error
	if k.Kernel, err = ParseNames(stem); err != nil {
		return Key{}, err
	}
	return k, k.Check()
}

// kernelOf is the key without its variant: what is published at once.
func (k Key) kernelOf() Key {
	k.Variant = ""
	return k
}
