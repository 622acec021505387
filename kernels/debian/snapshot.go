// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

// SnapshotURL is the archive of every package that Debian's mirrors ever had.
const SnapshotURL = "https://snapshot.debian.org"

// maxListing bounds an answer; that about one binary package has some KB.
const maxListing = 16 << 20

var snapshotHints = get.Hints{
	Unreachable: "see whether snapshot.debian.org can be reached from here, or name a copy of it",
	NotFound:    "check the kernel's release",
	Corrupt:     "snapshot.debian.org does not serve what it lists: try again later",
}

var errNotInSnapshot = errors.New("snapshot.debian.org never had it")

// snapshot asks snapshot.debian.org's machine-readable interface, which names files by their SHA-1. Nothing there is signed:
// who says so is the server, by TLS. Packages that a catalogue knows are held against their own SHA-256 besides.
type snapshot struct {
	base string // without a trailing slash
	get  *get.Client
}

// resolve finds the packages of a release: what it is made of is not listed there, so the names are made by rule.
func (s snapshot) resolve(ctx context.Context, e kernels.Entry, arch string) (*kernels.Resolved, error) {
	image := imagePrefix + e.Release
	version := e.PackageVersion
	if version == "" {
		var err error
		if version, err = s.newest(ctx, image); err != nil {
			return nil, err
		}
	}
	r := &kernels.Resolved{
		Kernel:         kernels.Kernel{Distro: "debian", Release: e.Release, Version: "1", Arch: apt.Machines[arch]},
		Suite:          "snapshot",
		PackageVersion: version,
	}
	for _, alts := range imageNames(e.Release, version) {
		p, err := s.first(ctx, alts, version, arch)
		if err != nil {
			return nil, err
		}
		r.Image = append(r.Image, p)
	}
	var headers []kernels.Package
	for _, alts := range headerNames(e.Release, version) {
		r.HeadersWanted = append(r.HeadersWanted, alts[0]+" (= "+version+")")
		p, err := s.first(ctx, alts, version, arch)
		switch {
		case err == nil:
			headers = append(headers, p)
		case errors.Is(err, errNotInSnapshot):
			r.HeadersMissing = append(r.HeadersMissing, fmt.Sprintf("%s (= %s) is not in %s", strings.Join(alts, " or "), version, s.base))
		default:
			return nil, err
		}
	}
	if len(r.HeadersMissing) == 0 {
		r.Headers = headers
	}
	return r, nil
}

// imageNames are the packages of a kernel, each by the names it may have.
func imageNames(release, version string) [][]string {
	names := [][]string{{imagePrefix + release, imagePrefix + release + "-unsigned"}}
	if apt.Compare(version, "6.19~") < 0 { // see resolve of the suites
		return names
	}
	return append(names, []string{"linux-base-" + release}, []string{"linux-binary-" + release, "linux-binary-unsigned-" + release},
		[]string{"linux-modules-" + release})
}

// line is the first two numbers of a version.
var line = regexp.MustCompile(`^\d+\.\d+`)

// headerNames are the header packages of a release, each by the names it may have: real-time kernels had a
// -common of their own up to 6.18, and linux-kbuild is named by the line up to 6.1 or so, later by the ABI.
func headerNames(release, version string) [][]string {
	abi := abiOf(release)
	common := []string{"linux-headers-" + abi + "-common"}
	if strings.HasPrefix(flavour(release), "rt-") {
		common = append([]string{"linux-headers-" + abi + "-common-rt"}, common...)
	}
	return [][]string{
		{"linux-headers-" + release},
		common,
		{"linux-kbuild-" + abi, "linux-kbuild-" + line.FindString(version)},
	}
}

// first finds the first of the packages that there was at that version.
func (s snapshot) first(ctx context.Context, names []string, version, arch string) (kernels.Package, error) {
	var err error
	for _, name := range names {
		var p kernels.Package
		if p, err = s.binary(ctx, name, version, arch); !errors.Is(err, errNotInSnapshot) {
			return p, err
		}
	}
	return kernels.Package{}, err
}

// newest returns the newest version of a package.
func (s snapshot) newest(ctx context.Context, name string) (string, error) {
	var list struct {
		Result []struct {
			Version string `json:"binary_version"`
		}
	}
	if err := s.ask(ctx, "/mr/binary/"+url.PathEscape(name)+"/", name, &list); err != nil {
		return "", err
	}
	best := ""
	for _, v := range list.Result {
		if best == "" || apt.Compare(v.Version, best) > 0 {
			best = v.Version
		}
	}
	if best == "" {
		return "", missing(name)
	}
	return best, nil
}

// binary finds a package, of arch or of all architectures.
func (s snapshot) binary(ctx context.Context, name, version, arch string) (kernels.Package, error) {
	var list struct {
		Result []struct {
			Architecture, Hash string
		}
		Fileinfo map[string][]struct {
			Size int64
		}
	}
	path := "/mr/binary/" + url.PathEscape(name) + "/" + url.PathEscape(version) + "/binfiles?fileinfo=1"
	if err := s.ask(ctx, path, name+" "+version, &list); err != nil {
		return kernels.Package{}, err
	}
	for _, f := range list.Result {
		if f.Architecture != arch && f.Architecture != "all" {
			continue
		}
		if !sha1Hex.MatchString(f.Hash) {
			return kernels.Package{}, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s%s: %q is not a SHA-1", s.base, path, f.Hash).
				Advise("%s", snapshotHints.Corrupt)
		}
		p := kernels.Package{Name: name, Version: version, Arch: f.Architecture, URL: s.base + "/file/" + f.Hash, Sum: "sha1:" + f.Hash}
		if info := list.Fileinfo[f.Hash]; len(info) > 0 && info[0].Size > 0 {
			p.Size = info[0].Size
		}
		return p, nil
	}
	return kernels.Package{}, missing(name + " " + version + " for " + arch)
}

var sha1Hex = regexp.MustCompile(`^[0-9a-f]{40}$`)

// ask reads a JSON answer about item.
func (s snapshot) ask(ctx context.Context, path, item string, into any) error {
	text, err := s.get.Read(ctx, s.base+path, item, maxListing)
	if errors.Is(err, get.ErrNotFound) {
		return missing(item)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s%s: %w", s.base, path, err).Advise("%s", snapshotHints.Corrupt)
	}
	return nil
}

func missing(item string) error {
	return cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%s: %w", item, errNotInSnapshot).
		Advise("check the kernel's release")
}
