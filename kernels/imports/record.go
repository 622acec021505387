// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// record is a kernel as driverkit's family of tools writes it down.
type record struct {
	target  string   // Falco's name of the distribution: amazonlinux2
	release string   // uname -r, as a rule
	version string   // the number after # of uname -v
	arch    string   // amd64, arm64, or as the kernel has it; may be empty
	headers []string // URLs
	config  string   // the kernel's configuration in base64, of what is built from a vanilla tree
	wants   wants
}

// wants is what a configuration asks to be built: of no matter to a catalogue.
type wants struct {
	driverVersion string // driverversion
	module, probe string // output.module, output.probe: paths
}

var (
	errNoTarget  = errors.New("has no target, or one that is no name")
	errNoRelease = errors.New("has no kernelrelease, or one that is no name")
	errVersion   = errors.New("has a kernelversion that is no number or name")
	errNoArch    = errors.New("nothing tells its architecture: say it by --arch")
	errConfig    = errors.New("kernelconfigdata is not the base64 of a kernel's configuration")

	word = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._+~:-]{0,127}$`)
	// releaseArch is how a release names the machine it is for.
	releaseArch = regexp.MustCompile(`[._-](x86_64|amd64|aarch64|arm64)(\+[a-z0-9-]+)?$`)
	pathArch    = regexp.MustCompile(`(?:^|[/_-])(x86_64|amd64|aarch64|arm64)(?:[/_.-]|$)`)
)

// noConfig is what driverkit takes for "none".
const noConfig = "no-data"

// machine is the kernel's name of an architecture, "" of one not known here.
func machine(arch string) string {
	return map[string]string{"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}[arch]
}

// addRecord takes a kernel with its headers.
func (c *collector) addRecord(ctx context.Context, where string, r record, file string, o Options) error {
	if !word.MatchString(r.target) {
		return errNoTarget
	}
	if !word.MatchString(r.release) {
		return errNoRelease
	}
	if !word.MatchString(cmp.Or(r.version, "1")) {
		return errVersion
	}
	k := kernels.Kernel{Distro: distroOf(r.target), Release: r.release, Version: cmp.Or(r.version, "1")}
	var files []Artifact
	for _, raw := range r.headers {
		a, err := parseURL(raw, k.Distro)
		if errors.Is(err, ErrNoURL) {
			return fmt.Errorf("%w: %s", err, cut(raw))
		}
		if err != nil {
			// Flatcar's developer container, Talos' tarball: whoever wrote the list knows that they are the headers.
			a = Artifact{Part: Headers, Package: kernels.Package{Name: path.Base(raw), Version: r.release, URL: raw}}
		}
		k.Arch = cmp.Or(k.Arch, a.Arch)
		if !a.Shared && a.Release != "" && a.Release != k.Release {
			c.note(where, raw, fmt.Sprintf("is listed for %s and belongs to %s", k.Release, a.Release))
		}
		files = append(files, a)
	}
	for _, tell := range []func() string{
		func() string { return machine(r.arch) },
		func() string { return suffixArch(k.Release) },
		func() string { return o.Arch },
		func() string { return dirArch(file) },
	} {
		if k.Arch == "" {
			k.Arch = tell()
		}
	}
	if k.Arch == "" {
		return errNoArch
	}
	config, err := c.config(ctx, r, o)
	if err != nil {
		return err
	}
	f := c.kernel(k)
	for _, a := range files {
		f.flavour = cmp.Or(f.flavour, a.Flavour)
		f.add(a)
	}
	if config != nil {
		f.add(Artifact{Part: Headers, Package: *config})
	}
	return nil
}

// distroOf is the distribution of one of Falco's targets, which tell flavours of Ubuntu apart.
func distroOf(target string) string {
	if strings.HasPrefix(target, "ubuntu-") {
		return "ubuntu"
	}
	return target
}

func suffixArch(release string) string {
	if m := releaseArch.FindStringSubmatch(release); m != nil {
		return machine(m[1])
	}
	return ""
}

// dirArch looks for the architecture in the names of the directories a list lies in, the innermost first.
func dirArch(file string) string {
	m := pathArch.FindAllStringSubmatch(file, -1)
	if len(m) == 0 {
		return ""
	}
	return machine(m[len(m)-1][1])
}

// config puts a record's configuration into the archive: it is all there is of the headers of some distributions.
// Without an archive it is checked and left out.
func (c *collector) config(ctx context.Context, r record, o Options) (*kernels.Package, error) {
	if r.config == "" {
		return nil, nil
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.config))
	if err != nil {
		return nil, errConfig
	}
	if string(text) == noConfig {
		return nil, nil
	}
	if _, err := kernels.ParseConfig(bytes.NewReader(text)); err != nil {
		return nil, errConfig
	}
	if o.Archive == nil {
		return nil, nil
	}
	d, err := o.Archive.Add(ctx, bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return nil, err
	}
	return &kernels.Package{Name: "config", Version: r.release, Digest: d, Size: int64(len(text))}, nil
}

// ours tells an error of this machine, which ends an import, from one of a record, which is skipped.
func ours(err error) bool {
	var c *cause.Err
	return errors.As(err, &c)
}
