// SPDX-License-Identifier: Apache-2.0

package store

import (
	"regexp"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

var (
	// debianUpload is what falcoctl finds in Debian's uname -v ("#1 SMP Debian 6.1.90-1 (2024-05-03)"), when it is all of the version.
	debianUpload = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+-[0-9]+$`)
	// debianFlavour is the end of Debian's uname -r that falcoctl puts behind it.
	debianFlavour = regexp.MustCompile(`-(rt-|cloud-)?(amd64|arm64)$`)
	// ubuntuFlavour finds the flavour in Ubuntu's uname -r: 5.15.0-1009-aws, 5.0.0-1028-aws-5.0.
	ubuntuFlavour = regexp.MustCompile(`-([a-zA-Z]+)(-.*)?$`)
)

// AnyBTF are the names of what is built once for every kernel of an architecture: a CO-RE probe, which any kernel with BTF
// may load. falcoctl asks for none, because each Falco has its own inside; no distribution is called that.
var AnyBTF = Names{Target: "any", Release: "btf", Version: "1"}

// NamesOf is what falcoctl, run on kernel k without options, asks a repository for; packageVersion is that of its image
// package, which Debian's kernels are called by (falcosecurity/falcoctl, pkg/driver/distro: debian.go, ubuntu.go, amzn.go).
//
// falcoctl reads only the digits of Debian's package version, so it takes 6.12.57-1~bpo12+1 for 6.12.57-1, which is another
// build: such a kernel gets its uname -r for a name, which falcoctl asks for when told so (--kernelrelease, --kernelversion=1).
func NamesOf(k kernels.Kernel, packageVersion string) (Names, error) {
	n := Names{Target: k.Distro, Release: k.Release, Version: k.Version}
	switch k.Distro {
	case "debian":
		n.Version = "1"
		if f := debianFlavour.FindString(k.Release); f != "" && debianUpload.MatchString(packageVersion) {
			n.Release = packageVersion + f
		}
	case "ubuntu":
		n.Target = "ubuntu-generic"
		if m := ubuntuFlavour.FindStringSubmatch(k.Release); m != nil {
			n.Target = "ubuntu-" + strings.ToLower(m[1])
		}
		n.Version = strings.TrimSuffix(k.Version, "-Ubuntu")
	}
	if err := n.check(); err != nil {
		return Names{}, cause.Errorf(cause.Internal, cause.FaultHarness, "kernel %s has no name in Falco's layout: %w", k.Release, err)
	}
	return n, nil
}
