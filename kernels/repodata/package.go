// SPDX-License-Identifier: Apache-2.0

package repodata

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels/rpm"
)

const (
	maxProvides = 10_000  // of one package
	maxText     = 4 << 10 // of one value
)

// raw is a package as an index writes it.
type raw struct {
	name, arch, epoch, version, release string
	sumType, sum, href, base, source    string
	size                                int64
}

func (r *Repo) newPackage(w raw) (Package, error) {
	what := fmt.Sprintf("package %.100q", w.name+"-"+w.version+"-"+w.release+"."+w.arch)
	for _, s := range []string{w.name, w.arch, w.epoch, w.version, w.release, w.href, w.base, w.source} {
		if len(s) > maxText {
			return Package{}, fmt.Errorf("%s: %w: a value of %d bytes", what, ErrLimit, len(s))
		}
	}
	// These become names of files and parts of them.
	for _, s := range []string{w.name, w.arch, w.version, w.release} {
		if s == "" || strings.ContainsAny(s, "/\x00\n") {
			return Package{}, fmt.Errorf("%s: %q is no part of a package's name", what, s)
		}
	}
	epoch := uint64(0)
	if w.epoch != "" {
		var err error
		if epoch, err = strconv.ParseUint(w.epoch, 10, 31); err != nil {
			return Package{}, fmt.Errorf("%s: epoch: %w", what, err)
		}
	}
	if w.size < 0 {
		return Package{}, errors.New(what + " has a negative size")
	}
	sum, err := checksum(w.sumType, w.sum)
	if err != nil {
		return Package{}, fmt.Errorf("%s: %w", what, err)
	}
	at, err := resolve(r.base, w.base, w.href)
	if err != nil {
		return Package{}, fmt.Errorf("%s: %w", what, err)
	}
	return Package{
		Name: w.name, Arch: w.arch, EVR: rpm.EVR{Epoch: int(epoch), Version: w.version, Release: w.release},
		URL: at, Sum: sum, Size: w.size, SourceRPM: w.source, Index: r.base.String(),
	}, nil
}

// symbol reports whether what is provided is a symbol of a kernel or module.
func symbol(provided string) bool {
	return strings.HasPrefix(provided, "kernel(") || strings.HasPrefix(provided, "ksym(")
}

// dep puts a dependency together; flags are EQ, LT, LE, GT, GE, or nothing.
func dep(name, flags, epoch, version, release string) rpm.Dep {
	d := rpm.Dep{Name: name, Op: map[string]string{"EQ": "=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}[flags]}
	if d.Op == "" {
		return d
	}
	if d.Version = version; release != "" {
		d.Version += "-" + release
	}
	if epoch != "" && epoch != "0" {
		d.Version = epoch + ":" + d.Version
	}
	return d
}
