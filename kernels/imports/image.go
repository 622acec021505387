// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"errors"
	"os"
	"regexp"

	"github.com/mews-farm/mews/kernels/facts"
)

// imageFile is a boot image and what it says of itself.
type imageFile struct {
	path    string
	arch    string
	release string // empty where it does not say
	version string // likewise
	config  []byte // likewise: CONFIG_IKCONFIG
}

var (
	errNoFile  = errors.New("is not a regular file")
	buildCount = regexp.MustCompile(`^#([0-9][0-9A-Za-z.~]{0,31})`)
)

// openImage reads a boot image.
func openImage(path string) (*imageFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, errNoFile
	}
	v, err := facts.Open(f, fi.Size())
	if err != nil {
		return nil, err
	}
	if machine(v.Arch) == "" {
		return nil, ErrArch
	}
	banner, err := v.Banner()
	if err != nil {
		return nil, err
	}
	im := &imageFile{path: path, arch: v.Arch}
	if releaseForm.MatchString(banner.Release) {
		im.release = banner.Release
	}
	if m := buildCount.FindStringSubmatch(banner.Version); m != nil {
		im.version = m[1]
	}
	im.config, err = v.IKConfig()
	return im, err
}
