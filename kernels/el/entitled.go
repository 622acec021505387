// SPDX-License-Identifier: Apache-2.0

package el

import (
	"embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

//go:embed eus.txt
var subscribed embed.FS

// entitled lists the kernels of the family that only a subscription gives access to. They are in the catalogue all
// the same: whoever asks for one is told where it is, and not that there is no such kernel.
func (f *family) entitled() ([]kernels.Entry, error) {
	if f.subscribed == "" {
		return nil, nil
	}
	text, err := subscribed.ReadFile(f.subscribed)
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "list of subscribed kernels: %w", err)
	}
	return parseEntitled(string(text))
}

// eusRelease is 4.18.0-372.119.1.el8_6.x86_64: the build, major and minor of RHEL, architecture.
var eusRelease = regexp.MustCompile(`^(\d+\.\d+\.\d+-\d+(?:\.\d+)*\.el(\d+)_(\d+))\.(x86_64|aarch64)$`)

// openshift is a version, or - for none.
var openshift = regexp.MustCompile(`^(\d+\.\d+|-)$`)

func parseEntitled(text string) ([]kernels.Entry, error) {
	var out []kernels.Entry
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 2 || !openshift.MatchString(fields[1]) {
			return nil, badEntitled(line)
		}
		m := eusRelease.FindStringSubmatch(fields[0])
		if m == nil {
			return nil, badEntitled(line)
		}
		version, major, minor, arch := m[1], m[2], m[3], m[4]
		out = append(out, kernels.Entry{
			Kernel:         kernels.Kernel{Distro: "redhat", Release: fields[0], Version: "1", Arch: arch},
			Source:         "redhat",
			Repo:           major + "." + minor + "-eus",
			PackageVersion: version,
			Availability:   kernels.Entitled,
			Access:         access(version, major, minor, arch, fields[1]),
		})
	}
	return out, nil
}

func badEntitled(line string) error {
	return cause.Errorf(cause.Internal, cause.FaultHarness, "list of subscribed kernels: %q is not a release and an OpenShift", line)
}

// access says where a kernel can be had (core of the URLs: Red Hat's content delivery network, 2026-11).
func access(version, major, minor, arch, openshift string) string {
	text := fmt.Sprintf("kernel-core, kernel-modules and kernel-devel %s: with a RHEL %s.%s EUS (or E4S, AUS) subscription from "+
		"https://cdn.redhat.com/content/eus/rhel%s/%s.%s/%s/baseos/os/Packages/k/", version, major, minor, major, major, minor, arch)
	if openshift != "-" {
		text += fmt.Sprintf("; with an OpenShift one from https://cdn.redhat.com/content/dist/layered/rhel%s/%s/rhocp/%s/os/Packages/k/", major, arch, openshift)
	}
	return text
}
