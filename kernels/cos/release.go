// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"

	"github.com/mews-farm/mews/kernels/tarball"
	"github.com/mews-farm/mews/results/cause"
)

const (
	maxHeaders   = 2 << 30 // bytes decompressed; a build's headers have about 100 MB
	maxGenerated = 64 << 10
)

var (
	utsRelease = regexp.MustCompile(`(?m)^#define\s+UTS_RELEASE\s+"([^"\s/]{1,64})"`)
	utsVersion = regexp.MustCompile(`(?m)^#define\s+UTS_VERSION\s+"#(\S{1,32})`)
	headersDir = regexp.MustCompile(`^usr/src/linux-headers-([^/\s]{1,64})/`)
	generated  = regexp.MustCompile(`(^|/)include/generated/(utsrelease|compile|utsversion)\.h$`)
)

// identity is what the headers say the kernel calls itself.
type identity struct{ release, version string }

// identify reads the release and the version out of a kernel-headers.tgz.
//
// The directory is named by uname -r, 5.15.146+. utsrelease.h can lack the plus sign, which comes from the state
// of the source tree when the kernel was made: Google's own driver installer patches the header to match the node.
func identify(ctx context.Context, file string) (identity, error) {
	var dir, header, version string
	err := tarball.Walk(ctx, file, tarball.Limits{Bytes: maxHeaders}, func(h *tar.Header, r io.Reader) error {
		if m := headersDir.FindStringSubmatch(h.Name + "/"); m != nil && dir == "" {
			dir = m[1]
		}
		// compile.h holds UTS_VERSION up to 6.0, utsversion.h from 6.1 on.
		if m := generated.FindString(h.Name); m == "" || h.Typeflag != tar.TypeReg {
			return nil
		}
		text, err := io.ReadAll(io.LimitReader(r, maxGenerated))
		if err != nil {
			return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read %s in %s: %w", h.Name, file, err).
				Advise("remove that file, so that it is fetched again")
		}
		if m := utsRelease.FindSubmatch(text); m != nil {
			header = string(m[1])
		}
		if m := utsVersion.FindSubmatch(text); m != nil {
			version = string(m[1])
		}
		if dir != "" && header != "" && version != "" {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return identity{}, fmt.Errorf("headers: %w", err)
	}
	release, err := agree(dir, header)
	if err != nil {
		return identity{}, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s: %w", Headers, err).
			With(cause.Text(file)...).
			Advise("the bucket serves headers that do not say which kernel they are for; another build may do")
	}
	return identity{release: release, version: version}, nil
}

// agree tells the release by the name of the headers' directory and by UTS_RELEASE.
func agree(dir, header string) (string, error) {
	switch {
	case dir == "" && header == "":
		return "", errors.New("neither usr/src/linux-headers-<release> nor include/generated/utsrelease.h is in it")
	case dir == "":
		return header, nil
	case header == "" || dir == header || dir == header+"+":
		return dir, nil
	}
	return "", fmt.Errorf("its directory is named for %s, and its utsrelease.h says %s", dir, header)
}
